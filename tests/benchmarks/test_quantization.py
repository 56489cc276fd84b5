"""Weights and sums of the quantization benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import quantization
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.weights.arrays import Array
from ogpt.weights.model_weights import folder_config, open_weights
from tests.decoding.calls import extend


@pytest.mark.parametrize("change", [quantization.with_outliers, quantization.with_shears])
def test_weights_are_changed_and_the_function_is_not(tmp_path, change):
    quantization.stand_in(tmp_path)
    config = folder_config(tmp_path)
    weights = {name: array.data for name, array in open_weights(tmp_path).items()}
    kept = {name: data.copy() for name, data in weights.items()}
    changed = change(weights, config)
    found = [
        NativeDecoder(config, {n: Array("float32", data) for n, data in each.items()})
        for each in (weights, changed)
    ]
    one, other = (extend(decoder, 0, [1, 2, 3, 4], "all") for decoder in found)
    np.testing.assert_allclose(one, other, atol=1e-5)
    assert all(np.array_equal(weights[name], kept[name]) for name in kept)
    name = "transformer.h.0.attn.c_attn.weight"
    columns = (changed[name] != weights[name]).any(0).nonzero()[0]
    assert len(columns) == quantization.CHANNELS
    assert columns.min() >= 2 * config.n_embd  # values, not queries or keys
    assert np.abs(changed[name]).max() > 5 * np.abs(weights[name]).max()


def test_sums_over_tokens_are_those_of_the_probabilities():
    draw = np.random.default_rng(0)
    one, other = (quantization.log_softmax(draw.normal(size=(5, 7))) for _ in range(2))
    np.testing.assert_allclose(np.exp(one).sum(1), 1)
    found = quantization.Sums()
    for rows in (slice(2), slice(2, 5)):
        reference = quantization.Reference.of(one[rows])
        found.add(other[rows], reference, [3, 0, 6, 1, 1][rows])
    assert found.loss == pytest.approx(-other[range(5), [3, 0, 6, 1, 1]].sum())
    assert found.divergence == pytest.approx((np.exp(one) * (one - other)).sum())
    assert found.same == (one.argmax(1) == other.argmax(1)).sum()
