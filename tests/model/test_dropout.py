import math

import pytest
import torch

from ogpt.model.attention import attend
from ogpt.model.dropout import draw_seed, dropout, keep_mask


def seed(value: int) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.int64)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_that_survives(p: float) -> None:
    n = 1_000_000
    kept = keep_mask(torch.Size([n]), p, seed(7), 3).float().mean().item()
    assert abs(kept - (1 - p)) < 5 * math.sqrt(p * (1 - p) / n)


def test_neighbours_sites_seeds_and_rows_are_independent() -> None:
    shape = torch.Size([1024, 1024])
    mask = keep_mask(shape, 0.5, seed(1), 0).float() - 0.5
    limit = 5 * 0.25 / 1024  # five standard deviations of a mean of 2**20 products
    others = {
        "next column": mask.roll(1, 1),
        "next row": mask.roll(1, 0),
        "next site": keep_mask(shape, 0.5, seed(1), 1).float() - 0.5,
        "next seed": keep_mask(shape, 0.5, seed(2), 0).float() - 0.5,
        "next layer": keep_mask(shape, 0.5, seed(1 + 2**20), 0).float() - 0.5,
    }
    for name, other in others.items():
        assert abs((mask * other).mean().item()) < limit, name


def test_a_weak_hash_would_be_caught() -> None:
    shape = torch.Size([1024, 1024])
    weak = (torch.arange(shape.numel()).view(shape) * 2654435761 % 2**32 >= 2**31).float() - 0.5
    assert abs((weak * weak.roll(1, 1)).mean().item()) > 5 * 0.25 / 1024


def test_dropout_scales_and_without_seed_is_the_identity() -> None:
    x = torch.ones(1000)
    assert dropout(x, 0.3, None, 0) is x
    assert dropout(x, 0.0, seed(1), 0) is x
    assert set(dropout(x, 0.5, seed(1), 0).tolist()) == {0.0, 2.0}


def test_seed_comes_from_torchs_generator() -> None:
    torch.manual_seed(3)
    first = draw_seed(torch.device("cpu"))
    torch.manual_seed(3)
    assert first == draw_seed(torch.device("cpu"))


@pytest.mark.parametrize("length", [5, 128, 300])
def test_blocked_attention_with_dropout_is_right_on_average(length: int) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 2, length, 8)
    exact = attend(query, key, value, None)
    draws = [attend(query, key, value, None, 0.2, seed(s), 0) for s in range(400)]
    mean = torch.stack(draws).mean(0)
    spread = torch.stack(draws).std(0) / math.sqrt(len(draws))
    assert ((mean - exact).abs() / (spread + 1e-3)).max() < 6


def test_blocked_attention_honours_a_mask() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 200, 8)
    allowed = torch.ones(200, 200, dtype=torch.bool).tril().expand(2, 1, 200, 200).clone()
    allowed[1, :, :, 0] = False
    allowed[1, :, 0, 0] = True
    tiny_p = 1e-9  # takes the path with dropout, drops nothing
    for mask in (None, allowed):
        blocked = attend(query, key, value, mask, tiny_p, seed(1), 0)
        torch.testing.assert_close(blocked, attend(query, key, value, mask), atol=1e-5, rtol=1e-5)
    padding = torch.ones(2, 1, 1, 200, dtype=torch.bool)
    blocked = attend(query, key, value, padding, tiny_p, seed(1), 0)
    torch.testing.assert_close(blocked, attend(query, key, value, padding), atol=1e-5, rtol=1e-5)
