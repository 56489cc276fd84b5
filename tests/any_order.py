"""Random calls of two decoders of one model."""

import random
from typing import Any

import numpy as np

from ogpt.errors import OgptError
from ogpt.generation.protocol.decoder import Decoder, Part, Want


def play(ours: Decoder, theirs: Decoder, draw: random.Random, calls: int, limit: float) -> None:
    """Both must give equal answers within a relative limit, equal errors and equal lengths."""
    slots, V, longest = ours.slots, ours.vocab_size, ours.n_positions

    def ids() -> list[int]:
        most = max(2, longest // 3)
        return [token() for _ in range(draw.randint(0, most))]

    def token() -> int:
        return draw.randrange(V + (draw.random() < 0.02))

    def wanted() -> Want:
        return draw.choice(["none", "last", "all"])

    for _ in range(calls):
        slot, some = draw.randrange(slots + 1), draw.sample(range(slots), draw.randint(1, slots))
        given = ids()
        call: tuple[Any, ...] = draw.choice(
            [
                ("run", [Part(slot, given, wanted())]),
                ("run", [Part(slot, [token()]) for slot in some]),
                ("run", [Part(one, ids() or [0], wanted()) for one in [*some, slot][-3:]]),
                ("run", [Part(one, draw.choice([[token()], ids()]), wanted()) for one in some]),
                ("score", slot, given, given[::-1], draw.randint(0, min(3, V))),
                ("truncate", slot, draw.randint(0, longest)),
                ("copy", slot, draw.randrange(slots)),
                ("free", slot),
            ]
        )
        hidden = draw.random() < 0.3
        found, expected = (outcome(decoder, call, hidden) for decoder in (ours, theirs))
        held, theirs_held = ([one.length(s) for s in range(slots)] for one in (ours, theirs))
        assert held == theirs_held, call
        if not isinstance(expected, list):
            assert found == expected, call
            continue
        for one, other in zip(found, expected, strict=True):
            assert one.shape == other.shape, call
            if other.size:
                unit = np.abs(other).max()
                if call[0] == "score":  # log-probabilities, which may be 0
                    unit = 10 * max(1, unit)
                assert np.abs(one - other).max() < limit * unit, call


def outcome(decoder: Decoder, call: tuple[Any, ...], hidden: bool) -> Any:
    """The arrays that a call returns; or its error, in a form that compares."""
    try:
        if call[0] == "run":
            computed = decoder.run(call[1], hidden=hidden)
            return [computed.logits, *(computed.hidden or ())]
        found = getattr(decoder, call[0])(*call[1:])
    except OgptError as error:
        return type(error), str(error), error.hint
    return [found.log_probs, found.top_log_probs] if call[0] == "score" else found
