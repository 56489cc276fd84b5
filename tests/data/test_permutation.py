"""The computed shuffle is a bijection, depends on its key alone, and looks random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ogpt.data.permutation import draw, permute


@given(n=st.integers(1, 3_000), seed=st.integers(0, 2**63), epoch=st.integers(0, 10**6))
def test_it_is_a_bijection(n: int, seed: int, epoch: int) -> None:
    assert sorted(permute(np.arange(n), n, seed, epoch).tolist()) == list(range(n))


@given(n=st.integers(1, 2**40), numbers=st.lists(st.integers(0, 2**40), min_size=1, max_size=20))
def test_a_part_is_the_same_as_in_the_whole(n: int, numbers: list[int]) -> None:
    asked = np.array([number % n for number in numbers])
    together = permute(asked, n, "key")
    alone = [int(permute(asked[i : i + 1], n, "key")[0]) for i in range(len(asked))]
    assert together.tolist() == alone
    assert 0 <= together.min() <= together.max() < n


def test_keys_differ() -> None:
    orders = {tuple(permute(np.arange(50), 50, "order", 0, epoch).tolist()) for epoch in range(100)}
    assert len(orders) == 100


def test_order_is_pinned_so_that_runs_resume_across_versions() -> None:
    assert permute(np.arange(10), 10, "order", 0, 0).tolist() == [9, 1, 7, 5, 4, 3, 2, 6, 8, 0]
    assert [draw(512, "offset", 7, epoch) for epoch in range(4)] == [192, 325, 507, 24]


@pytest.mark.parametrize("n", [10, 64])
def test_every_place_is_as_likely(n: int) -> None:
    # chi-square of where 0 goes, over 100 n keys: mean n - 1, deviation sqrt(2 (n - 1))
    counts = np.zeros(n)
    for key in range(100 * n):
        counts[permute(np.zeros(1, np.int64), n, key)[0]] += 1
    expected = counts.sum() / n
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi_square - (n - 1)) < 5 * (2 * (n - 1)) ** 0.5


def test_neighbours_are_torn_apart() -> None:
    order = permute(np.arange(10_000), 10_000, "key")
    correlation = np.corrcoef(order[:-1], order[1:])[0, 1]
    assert abs(correlation) < 0.05  # five deviations of 1 / sqrt(n)
