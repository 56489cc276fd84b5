"""What decoders in PyTorch check before they compute, and how their tensors become arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.errors import ContextTooLong, DecoderError, TokenOutOfRange


def check_slots(slots: Sequence[int], count: int) -> None:
    """Check that the slots differ and that a decoder of `count` slots has them.

    Raises:
        DecoderError: they do not, or it has not.
    """
    if len(set(slots)) != len(slots) or not all(0 <= slot < count for slot in slots):
        raise DecoderError(
            f"slots {list(slots)} were given; they must differ and lie in 0 to {count - 1}",
            hint="open the decoder with more slots, or name each slot once",
        )


def check_ids(ids: Sequence[int], vocab_size: int) -> None:
    """Check token ids.

    Raises:
        TokenOutOfRange: one is not in the vocabulary.
    """
    for place, token in enumerate(ids):
        if not 0 <= token < vocab_size:
            raise TokenOutOfRange(
                f"token id {token} at place {place}; ids go from 0 to {vocab_size - 1}",
                hint="check that tokenizer and model belong together",
            )


def check_rows(slots: Sequence[int], rows: Sequence[Sequence[int]]) -> None:
    """Check that there is a row for each slot, and a token in each.

    Raises:
        DecoderError: there is not.
    """
    counts = [len(row) for row in rows]
    if not counts or not all(counts) or len(rows) != len(slots):
        raise DecoderError(
            f"{len(rows)} rows, the shortest of {min(counts, default=0)} tokens, were given for "
            f"{len(slots)} slots; at least one token for each is needed",
            hint="pass as many tokens as slots, and no empty prompt",
        )


def check_room(taken: int, count: int, n_positions: int) -> None:
    """Check that `count` tokens fit after the positions that are taken.

    Raises:
        ContextTooLong: they do not.
    """
    if taken + count > n_positions:
        raise ContextTooLong(
            f"{taken} positions are taken and {count} tokens given; the model has "
            f"{n_positions} positions",
            hint="truncate the slot first; generate() slides by itself",
        )


def check_cut(slot: int, length: int, held: int) -> None:
    """Check the length that a slot of `held` tokens is to be rewound to.

    Raises:
        DecoderError: it holds fewer.
    """
    if not 0 <= length <= held:
        raise DecoderError(
            f"slot {slot} cannot be cut to {length} tokens; it holds {held}",
            hint=f"choose 0 to {held}",
        )


def check_targets(ids: Sequence[int], targets: Sequence[int], vocab_size: int) -> None:
    """Check that there is a target for each id, in the vocabulary.

    Raises:
        DecoderError: their numbers differ.
        TokenOutOfRange: a target is not in the vocabulary.
    """
    if len(targets) != len(ids):
        raise DecoderError(
            f"{len(targets)} targets were given for {len(ids)} ids; one for each is needed",
            hint="pass the token that follows each id",
        )
    check_ids(targets, vocab_size)


class Appended(NamedTuple):
    """What the last call appended."""

    slots: Sequence[int] = ()
    hidden: Sequence[Tensor] | Tensor = ()
    """Last hidden states (T, C) of each slot."""

    def of(self, slot: int) -> NDArray[np.floating[Any]]:
        """The hidden states of one slot, (T, C).

        Raises:
            DecoderError: nothing was appended to it.
        """
        if slot not in self.slots:
            raise DecoderError(
                f"slot {slot} was asked for hidden states; the last call appended tokens to "
                f"{list(self.slots) or 'no slot'}",
                hint="ask for them right after extend, read, step or score",
            )
        return numpy_of(self.hidden[self.slots.index(slot)])


def numpy_of(tensor: Tensor) -> NDArray[np.floating[Any]]:
    """The tensor's numbers as float32, or float64 where they are."""
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    found: NDArray[np.floating[Any]] = wide.cpu().numpy()
    return found
