"""Short forms of `Decoder.run` for tests of one text, or of one token each."""

from collections.abc import Sequence

import numpy as np

from ogpt.generation.protocol.decoder import Decoder, Part, Want


def extend(decoder: Decoder, slot: int, ids: Sequence[int], want: Want = "last") -> np.ndarray:
    """The last logits (V,), or with "all" or "none" as many rows (T, V) or (0, V)."""
    logits = decoder.run([Part(slot, ids, want)]).logits
    return logits[0] if want == "last" else logits


def read(decoder: Decoder, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> np.ndarray:
    """The last logits of each prompt, (len(slots), V)."""
    return decoder.run([Part(*each) for each in zip(slots, prompts, strict=True)]).logits


def step(decoder: Decoder, slots: Sequence[int], ids: Sequence[int]) -> np.ndarray:
    """The logits after one token in each slot, (len(slots), V)."""
    return read(decoder, slots, [[token] for token in ids])


def states(decoder: Decoder, slot: int, ids: Sequence[int]) -> np.ndarray:
    """The last hidden states of the ids, (T, C)."""
    (found,) = decoder.run([Part(slot, ids)], hidden=True).hidden or ()
    return found
