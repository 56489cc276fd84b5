"""Several tokens of all texts in one call of a decoder that samples on its device.

Logits then stay on the device. A call chooses the same number of tokens for each of its texts;
tokens after the end of a text are discarded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from ogpt.generation.protocol.decoder import Decoder, DeviceSampler
from ogpt.generation.searching.text import DrawnText

_RUN = 8  # tokens of a call: waiting texts start in between, and what ends early wastes no more

Drawn = tuple[list[int], list[float]]
"""Ids and log-probabilities of the new tokens of one text."""


def draw(decoder: Decoder, slots: Sequence[int], texts: Sequence[DrawnText]) -> list[Drawn]:
    """At most `_RUN` new tokens of each text, in the slot of each; none if a slot is full."""
    room = min(decoder.n_positions - decoder.length(slot) for slot in slots)
    if room == 0:
        return []
    steps = min(_RUN, room, max(text.left for text in texts))
    newest = [text.newest for text in texts]
    numbers = np.stack([text.numbers(steps) for text in texts], axis=1)
    draws = [text.draw for text in texts]
    found = cast(DeviceSampler, decoder).write(slots, newest, draws, numbers)
    return list(zip(found.ids.T.tolist(), found.log_probs.T.tolist(), strict=True))
