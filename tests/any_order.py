"""Random calls of two decoders of one model."""

import random
from typing import Any

import numpy as np

from ogpt.errors import OgptError
from ogpt.generation.protocol.decoder import Decoder


def play(ours: Decoder, theirs: Decoder, draw: random.Random, calls: int, limit: float) -> None:
    """Both must give equal answers within a relative limit, equal errors and equal lengths."""
    slots, V, longest = ours.slots, ours.vocab_size, ours.n_positions

    def ids() -> list[int]:
        most = max(2, longest // 3)
        return [draw.randrange(V + (draw.random() < 0.02)) for _ in range(draw.randint(0, most))]

    for _ in range(calls):
        slot, some = draw.randrange(slots + 1), draw.sample(range(slots), draw.randint(1, slots))
        given = ids()
        call: tuple[Any, ...] = draw.choice(
            [
                ("extend", slot, given, draw.choice(["none", "last", "all"])),
                ("read", some, [ids() or [0] for _ in some] if draw.random() < 0.8 else [given]),
                ("step", some, [draw.randrange(V + (draw.random() < 0.02)) for _ in some]),
                ("score", slot, given, given[::-1], draw.randint(0, min(3, V))),
                ("truncate", slot, draw.randint(0, longest)),
                ("copy", slot, draw.randrange(slots)),
                ("free", slot),
                ("hidden", slot),
            ]
        )
        found, expected = (outcome(decoder, call) for decoder in (ours, theirs))
        held, theirs_held = ([one.length(s) for s in range(slots)] for one in (ours, theirs))
        assert held == theirs_held, call
        if isinstance(expected, np.ndarray):
            scored = call[0] == "score"  # log-probabilities, which may be 0
            unit = 10 * max(1, np.abs(expected).max()) if scored else np.abs(expected).max()
            assert np.abs(found - expected).max() < limit * unit, call
        else:
            assert found == expected, call


def outcome(decoder: Decoder, call: tuple[Any, ...]) -> Any:
    """What a call gives, all numbers of scores in one array; or its error, as one compares it."""
    try:
        found = getattr(decoder, call[0])(*call[1:])
    except OgptError as error:
        return type(error), str(error), error.hint
    if call[0] == "score":
        return np.concatenate([found.log_probs, found.top_log_probs.ravel()])
    return found
