"""Any shape and any order of calls, against the PyTorch decoder."""

import random
from typing import Any

import numpy as np
import pytest

from ogpt.errors import OgptError
from ogpt.model.torch_decoder import TorchDecoder
from tests.native.models import native, relative, small_model

SHAPES: list[dict[str, Any]] = [
    {"n_head": 5, "n_embd": 5, "vocab_size": 7},  # head_dim 1
    {"n_head": 3, "n_embd": 9, "vocab_size": 65},
    {"n_head": 1, "n_embd": 7, "vocab_size": 1, "n_positions": 9},
    {"n_head": 2, "n_embd": 192, "vocab_size": 193, "n_layer": 1},  # head_dim 96
    {"n_head": 4, "n_embd": 100, "vocab_size": 64, "n_positions": 33},
    {"n_head": 1, "n_embd": 1, "vocab_size": 3, "n_positions": 5},
    {"n_head": 2, "n_embd": 66, "vocab_size": 129, "n_positions": 1},
    {"n_head": 3, "n_embd": 51, "vocab_size": 1000, "n_positions": 17, "n_layer": 4},
    {"n_head": 2, "n_embd": 34, "vocab_size": 90, "n_positions": 150},  # pages of the cache
    {"n_head": 5, "n_embd": 320, "vocab_size": 90, "n_positions": 70, "n_layer": 1},
]


def play(shape: dict[str, Any], seed: int, calls: int) -> None:
    draw = random.Random(seed)
    model = small_model(seed, **shape)
    slots = draw.randint(1, 6)
    ours = native(model, slots=slots, threads=draw.randint(1, 3))
    theirs = TorchDecoder(model, slots)
    V, longest = ours.vocab_size, ours.n_positions
    for _ in range(calls):
        slot, n = draw.randrange(slots + 1), draw.randint(0, max(2, longest // 3))
        ids = [draw.randrange(V + (draw.random() < 0.02)) for _ in range(n)]
        some = draw.sample(range(slots), draw.randint(1, slots))
        call: tuple[Any, ...] = draw.choice(
            [
                ("extend", slot, ids, draw.choice(["none", "last", "all"])),
                ("step", some, [draw.randrange(V) for _ in some]),
                ("score", slot, ids, ids[::-1], draw.randint(0, min(3, V))),
                ("truncate", slot, draw.randint(0, longest)),
                ("copy", slot, draw.randrange(slots)),
                ("free", slot),
                ("hidden", slot),
            ]
        )
        outcomes = []
        for decoder in (ours, theirs):
            try:
                outcomes.append(getattr(decoder, call[0])(*call[1:]))
            except OgptError as error:
                outcomes.append((type(error), str(error), error.hint))
        found, expected = outcomes
        lengths = [[decoder.length(s) for s in range(slots)] for decoder in (ours, theirs)]
        assert lengths[0] == lengths[1]
        if call[0] == "score" and not isinstance(found[0], type):
            found, expected = (
                np.concatenate([one.log_probs, one.top_log_probs.ravel()]) for one in outcomes
            )
            assert np.allclose(found, expected, atol=1e-3, rtol=1e-3)
        elif isinstance(expected, np.ndarray):
            assert relative(found, expected) < 1e-4
        else:
            assert found == expected
    ours.close()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_calls_in_any_order(shape: dict[str, Any]) -> None:
    play(shape, 1, 60)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_calls_in_any_order_for_long(seed: int) -> None:
    draw = random.Random(seed)
    n_head = draw.randint(1, 6)
    shape = {
        "n_head": n_head,
        "n_embd": n_head * draw.randint(1, 70),
        "vocab_size": draw.randint(1, 400),
        "n_positions": draw.randint(1, 200),
        "n_layer": draw.randint(1, 3),
    }
    play(shape, seed, 150)
