"""Dropout: the masks are PyTorch's, and so is a training pass with the same seed."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from ogpt.model import pooling as torch_pooling
from ogpt.model import transformer as torch_transformer
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.dropout import keep_mask as torch_keep_mask
from ogpt.tf import pooling, transformer
from ogpt.tf.dropout import draw_seed, dropout, keep_mask
from tests.model.small import draw_ids, small
from tests.tf.twins import TOLERANCE, gap, tf_small, twin

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
@pytest.mark.parametrize("site", [0, -1, 3, 5 * 2**20 + 131])
def test_masks_are_those_of_pytorch(site: int, seed: int, jit_compile: bool) -> None:
    expected = torch_keep_mask(torch.Size((7, 9)), 0.3, torch.tensor(seed), site)
    traced = tf.function(lambda one: keep_mask((7, 9), 0.3, one, site), jit_compile=jit_compile)
    assert np.array_equal(traced(tf.constant(seed, tf.int64)), expected)


def test_the_rate_and_the_scale() -> None:
    out = dropout(tf.ones((100, 1000)), 0.25, tf.constant(7, tf.int64), 0).numpy()
    assert np.allclose(out[out != 0], 4 / 3)
    assert abs((out == 0).mean() - 0.25) < 0.005
    x = tf.ones(3)
    assert dropout(x, 0.25, None, 0) is x
    assert dropout(x, 0.0, tf.constant(7, tf.int64), 0) is x


def test_seeds() -> None:
    generator = keras.random.SeedGenerator(1)
    drawn = [int(draw_seed(generator)) for _ in range(4)]
    assert len(set(drawn)) == 4
    again = keras.random.SeedGenerator(1)
    assert [int(draw_seed(again)) for _ in range(4)] == drawn


def test_a_training_pass_is_that_of_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"embd_pdrop": 0.2, "attn_pdrop": 0.3, "resid_pdrop": 0.1}
    rates |= {"summary_first_dropout": 0.4, "summary_last_dropout": 0.5}
    model = small(OpenAIGPTDoubleHeadsModel, **rates)
    other = twin(model)
    for room in (torch_transformer, torch_pooling):
        monkeypatch.setattr(room, "draw_seed", lambda device: torch.tensor(12345))
    for room in (transformer, pooling):
        monkeypatch.setattr(room, "draw_seed", lambda generator: tf.constant(12345, tf.int64))
    ids = draw_ids(2, 3, 8)
    still = other(ids.numpy()).logits
    found = other(ids.numpy(), training=True)
    with torch.no_grad():
        expected = model.train()(ids)
    assert gap(found.logits, expected.logits) < TOLERANCE
    assert gap(found.mc_logits, expected.mc_logits) < TOLERANCE
    assert gap(found.logits, still) > 0.01


def test_passes_differ_and_repeat_with_the_seed() -> None:
    def passes() -> list[Any]:
        keras.utils.set_random_seed(3)
        model = tf_small()
        ids = draw_ids(2, 8).numpy()
        return [model(ids, training=True).logits.numpy() for _ in range(2)]

    one, two = passes(), passes()
    assert np.array_equal(one, two)
    assert not np.array_equal(one[0], one[1])
