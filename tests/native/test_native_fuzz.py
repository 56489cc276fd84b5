"""Any shape and any order of calls, against the PyTorch decoder."""

import random
from typing import Any

import pytest

from ogpt.model.decoder.torch_decoder import TorchDecoder
from tests.any_order import play
from tests.native.models import native, small_model

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


def play_both(shape: dict[str, Any], seed: int, calls: int) -> None:
    draw = random.Random(seed)
    model = small_model(seed, **shape)
    slots = draw.randint(1, 6)
    ours = native(model, slots=slots, threads=draw.randint(1, 3))
    play(ours, TorchDecoder(model, slots), draw, calls, 1e-4)
    ours.close()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_calls_in_any_order(shape: dict[str, Any]) -> None:
    play_both(shape, 1, 60)


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
    play_both(shape, seed, 150)
