"""Casts between precisions are those of PyTorch, bit for bit."""

import numpy as np
import pytest
import torch

from ogpt.errors import WeightsError
from ogpt.model.tensors import array_of
from ogpt.weights.arrays import Array
from ogpt.weights.precision import DTYPES, cast, is_finite


def values() -> torch.Tensor:
    bits = torch.from_numpy(np.random.default_rng(3).integers(-(2**31), 2**31, 20_000))
    every = bits.to(torch.int32).view(torch.float32)
    return every[every.abs() < 6e4]


@pytest.mark.parametrize("after", DTYPES)
@pytest.mark.parametrize("before", DTYPES)
def test_as_torch(before: str, after: str) -> None:
    tensor = values().to(getattr(torch, before))
    wanted = array_of(tensor.to(getattr(torch, after)))
    found = cast("w", array_of(tensor), after)
    assert found.dtype == after
    assert found.data.dtype == wanted.data.dtype
    np.testing.assert_array_equal(found.data, wanted.data)


def test_a_truncating_cast_would_be_seen() -> None:
    array = array_of(values())
    truncated = (array.data.view(np.uint32) >> 16).astype(np.uint16)
    assert (cast("w", array, "bfloat16").data != truncated).mean() > 0.4


def test_none_is_as_it_is() -> None:
    array = Array("float16", np.ones(3, np.float16))
    assert cast("w", array, None) is array
    assert cast("w", array, "float16") is array


@pytest.mark.parametrize(
    ("value", "before", "after"),
    [(7e4, "float32", "float16"), (1e39, "float64", "float32"), (3.4e38, "float32", "bfloat16")],
)
def test_too_large(value: float, before: str, after: str) -> None:
    array = Array(before, np.array([1, -value], before))
    if after == "bfloat16":
        array = Array(before, np.array([1, np.finfo("f4").max], before))
    with pytest.raises(WeightsError, match=rf"h\.0\.w holds .*too large for {after}") as caught:
        cast("h.0.w", array, after)
    assert "65504" in caught.value.hint


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number(dtype: str, value: float) -> None:
    good = torch.ones(3, dtype=getattr(torch, dtype))
    bad = good.clone()
    bad[1] = value
    assert is_finite(array_of(good))
    assert not is_finite(array_of(bad))
