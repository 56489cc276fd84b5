"""Inputs without attention_mask, as in PyTorch: packed texts, and pad tokens at their start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import ops

from ogpt.model import unmasked as of_torch
from ogpt.notices import collecting
from ogpt.tf import transformer
from ogpt.tf.unmasked import same_text
from tests.model.small import Kind, draw_ids, small
from tests.tf.twins import TOLERANCE, TWINS, as_numpy, gap, gaps, tf_small, twin

pytestmark = pytest.mark.slow

IDS = draw_ids(2, 7)
PACKED = torch.tensor([[0, 1, 2, 0, 1, 2, 3], [0, 0, 1, 2, 3, 4, 0]])
ROWS = [
    [[0, 1, 2, 3], [0, 1, 0, 1]],
    [[0, 0, 0, 0], [0, 1, 2, 3]],
    [[3, 0, 1, 2]],  # does not start at 0
    [[0, 2, 0, 1]],  # leaves one out
    [[0, 1, 1, 2]],  # the same twice
    [[0, 1, 2, 3]],
    [[0]],
]


@pytest.mark.parametrize("rows", ROWS, ids=str)
def test_which_tokens_are_of_one_text(rows: list[list[int]]) -> None:
    expected, found = of_torch.same_text(torch.tensor(rows)), same_text(tf.constant(rows))
    traced = tf.function(same_text)(tf.constant(rows)).numpy()
    if expected is None:
        assert found is None
        assert traced.all()
    else:
        assert np.array_equal(found, expected)
        assert np.array_equal(traced, expected)


@pytest.mark.parametrize("kind", TWINS)
def test_packed_texts_are_those_of_pytorch(kind: Kind) -> None:
    model = small(kind)
    given = {"input_ids": IDS, "position_ids": PACKED, "output_hidden_states": True}
    assert max(gaps(model, twin(model), given, as_numpy(given)).values()) < TOLERANCE


@pytest.mark.parametrize("jit_compile", [False, True])
def test_packed_texts_in_one_graph(jit_compile: bool) -> None:
    """The values are unknown when it is traced: the same graph serves packed rows and others."""
    model, other = small(), tf_small()
    spec = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[spec, spec], jit_compile=jit_compile)
    def run(ids: tf.Tensor, places: tf.Tensor) -> Any:
        return other(ids, position_ids=places).logits

    for length in (7, 5):
        for places in (PACKED[:, :length], torch.arange(length).expand(2, -1)):
            with torch.no_grad():
                expected = model(IDS[:, :length], position_ids=places).logits
            given = (IDS[:, :length].int().numpy(), places.int().numpy())
            assert gap(run(*map(tf.constant, given)), expected) < TOLERANCE


def blind_to_restarts(positions: Any) -> Any:
    return None


def one_late(positions: Any) -> Any:
    """The first token of a text is counted with the text before."""
    text = ops.cumsum(ops.cast(ops.equal(positions, 0), "int32"), axis=-1)
    text = ops.concatenate([text[:, :1], text[:, :-1]], axis=-1)
    return ops.equal(text[:, :, None], text[:, None])


@pytest.mark.parametrize("fault", [blind_to_restarts, one_late])
def test_a_planted_fault_is_caught(fault: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = small(), {"input_ids": IDS, "position_ids": PACKED}
    monkeypatch.setattr(transformer, "same_text", fault)
    far = gaps(model, twin(model), given, as_numpy(given)).values()
    assert np.isfinite(list(far)).all()
    assert max(far) > 10 * TOLERANCE


def test_a_mask_and_other_implementations_go_before_positions() -> None:
    whole = np.ones((2, 7))
    for changes in ({}, {"parity": "transformers-4"}):
        other = tf_small(**changes)
        plain = other(IDS.numpy(), position_ids=PACKED.numpy(), attention_mask=whole).logits
        found = other(IDS.numpy(), position_ids=PACKED.numpy()).logits
        assert (gap(found, plain) < TOLERANCE) == bool(changes)


@pytest.mark.parametrize("kind", TWINS)
def test_pad_tokens_at_the_start(kind: Kind) -> None:
    ids = torch.tensor([[3, 3, 5, 3], [5, 6, 7, 8], [3, 3, 3, 3]])
    model, other = small(kind, pad_token_id=3), tf_small(kind, pad_token_id=3)
    with collecting() as expected:
        model(ids)
    with collecting() as found:
        other(ids.numpy())
    assert [one.message for one in found] == [one.message for one in expected] != []
    with collecting() as notices:
        other(ids.numpy(), attention_mask=torch.ones_like(ids).numpy())
        other(ids[1:].numpy())  # none, and nothing but pad tokens
        other(inputs_embeds=np.zeros((1, 2, 16), np.float32))
        tf_small(kind, pad_token_id=3, eos_token_id=[3, 4])(ids.numpy())  # may be text
        tf.function(lambda given: other(given)[0])(tf.constant(ids.numpy()))
    assert not notices
