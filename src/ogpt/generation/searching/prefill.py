"""What all searches share: prompts that fit, and are read to their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ogpt.errors import ContextTooLong, DecoderError
from ogpt.generation.protocol.decoder import Computed, Decoder, Part

Open = Callable[[int, int, bool], Computed]
"""Given (slot, number of the prompt, whether hidden states are wanted), appends that prompt to the
slot, which is empty, and returns its last logits (1, V): for prompts that are more than their ids,
such as embeddings."""


def check_room(decoder: Decoder, prompts: Sequence[Sequence[int]], slots: int, more: int) -> None:
    """Check that every prompt finds its slots, and room to go on in each.

    Args:
        decoder: Where the prompts are to be read.
        prompts: Token ids.
        slots: Slots that each prompt needs.
        more: Most tokens that are read after it.

    Raises:
        DecoderError: too few slots.
        ContextTooLong: a prompt and its continuation outgrow the positions.
    """
    if decoder.slots < len(prompts) * slots:
        raise DecoderError(
            f"the decoder has {decoder.slots} slots; {len(prompts)} prompts with {slots} "
            f"continuations each need {len(prompts) * slots}",
            hint="open the decoder with more slots, or give fewer prompts at a time",
        )
    check_length(decoder.n_positions, prompts, more)


def check_length(n_positions: int, prompts: Sequence[Sequence[int]], more: int) -> None:
    """Check that every prompt leaves room for `more` tokens.

    Raises:
        ContextTooLong: one does not.
    """
    longest = max(map(len, prompts), default=0)
    if longest + more > n_positions:
        raise ContextTooLong(
            f"a prompt has {longest} tokens and up to {more} new ones are read after it; the model "
            f"has {n_positions} positions, and this search does not slide",
            hint="shorten the prompt or lower max_new_tokens",
        )


def read(
    decoder: Decoder,
    slots: Sequence[int],
    prompts: Sequence[Sequence[int]],
    numbers: Sequence[int],
    open_prompt: Open | None,
    hidden: bool = False,
) -> Computed:
    """Read each prompt into its empty slot; the logits (N, V) of what follows.

    Args:
        decoder: Where the slots are.
        slots: All different.
        prompts: Token ids.
        numbers: Of the prompts, as `open_prompt` knows them.
        open_prompt: Reads a prompt in place of the decoder.
        hidden: Return hidden states too.
    """
    if open_prompt is None:
        parts = [Part(*each) for each in zip(slots, prompts, strict=True)]
        return decoder.run(parts, hidden=hidden)
    found = [open_prompt(*each, hidden) for each in zip(slots, numbers, strict=True)]
    return Computed(
        np.concatenate([one.logits for one in found]),
        tuple(states for one in found for states in one.hidden or ()) if hidden else None,
    )
