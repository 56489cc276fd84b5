"""Attention of one query, as decoding asks for, against the formula in float64."""

import pytest
import torch

from ogpt.model.attention import attend

KEYS = 37


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 4e-3)])
def test_one_query(dtype: torch.dtype, tolerance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 3, 1, 16, generator=generator).to(dtype)
    key, value = torch.randn(2, 2, 3, KEYS, 16, generator=generator).to(dtype)
    allowed = torch.arange(KEYS)[None, None, None] < torch.tensor([20, KEYS])[:, None, None, None]

    scores = query.double() @ key.double().transpose(-1, -2) / 4.0
    expected = scores.masked_fill(~allowed, float("-inf")).softmax(-1) @ value.double()
    found = attend(query, key, value, allowed)
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), expected, atol=tolerance, rtol=tolerance)

    everything = torch.ones(1, 1, 1, 1, dtype=torch.bool)  # the fault to catch: hidden keys seen
    wrong = attend(query, key, value, everything)
    assert (wrong[0].double() - expected[0]).abs().max() > 10 * tolerance
