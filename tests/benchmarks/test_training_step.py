"""Training contenders do the same work, and faults in it are found."""

from __future__ import annotations

import warnings

import pytest
import torch.nn.functional as F

from benchmarks import contenders, training_step
from ogpt.notices import OgptNotice

TINY = contenders.Setup(
    {"n_layer": 4, "n_head": 2, "n_embd": 64, "n_positions": 32, "vocab_size": 211},
    batch=2,
    pdrop=0.0,
    threads=1,
    compiled=False,
)


def two_steps(name: str) -> list[tuple[float, float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OgptNotice)  # that bfloat16 is emulated, where it is
        step = contenders.CONTENDERS[name](TINY)
    return [step(), step()]


@pytest.fixture(scope="module")
def ours() -> list[tuple[float, float]]:
    return two_steps("ogpt")


def test_ours_and_the_plain_loop_do_the_same_work(ours):
    assert not training_step.differ(ours, two_steps("plain PyTorch"))


real_attention = F.scaled_dot_product_attention


FAULTS = {
    "another activation": ("gelu", lambda x, approximate: F.relu(x)),
    "no scale": (
        "scaled_dot_product_attention",
        lambda *qkv, dropout_p, is_causal: real_attention(*qkv, is_causal=True, scale=1.0),
    ),
    "no mask": (
        "scaled_dot_product_attention",
        lambda *qkv, dropout_p, is_causal: real_attention(*qkv),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_other_work_is_noticed(ours, fault, monkeypatch):
    name, wrong = FAULTS[fault]
    monkeypatch.setattr(F, name, wrong)
    assert training_step.differ(ours, two_steps("plain PyTorch"))
