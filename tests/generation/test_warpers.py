"""Temperature and filters against transformers' warpers, and against a full sort."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import transformers.generation.logits_process as lp
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ogpt.generation.choosing import warpers
from ogpt.generation.protocol.logits import top_k

# few distinct values make ties common; -inf stands for what a rule ruled out
VALUES = st.one_of(
    st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]),
    st.floats(-60, 60, width=32),
    st.just(float("-inf")),
)
LOGITS = hnp.arrays(np.float32, st.integers(1, 300), elements=VALUES).filter(
    lambda logits: bool(logits.max() > -np.inf)
)
MASS = st.floats(1e-6, 0.999)


def by_likelihood(row: np.ndarray) -> np.ndarray:
    return np.argsort(-row.astype(np.float64), kind="stable")  # equals: the lower id first


def naive_top_p(row: np.ndarray, p: float) -> np.ndarray:
    weights = np.exp(row.astype(np.float64) - row.max())
    order = by_likelihood(row)
    reached = np.cumsum(weights[order]) / weights.sum()
    return np.sort(order[: int(np.searchsorted(reached, p)) + 1])


def mass_of(row: np.ndarray, ids: np.ndarray) -> float:
    weights = np.exp(row.astype(np.float64) - row.max())
    return float(weights[ids].sum() / weights.sum())


@given(LOGITS, st.integers(1, 300))
def test_top_k_keeps_exactly_k_and_the_lower_of_equal_ids(row: np.ndarray, k: int) -> None:
    np.testing.assert_array_equal(top_k(row, k), np.sort(by_likelihood(row)[:k]))


def test_top_k_at_the_size_of_gpt_1() -> None:
    row = np.random.default_rng(0).normal(size=40_478).astype(np.float32).round(1)
    for k in (1, 2, 50, 317, 1000, 40_477, 40_478, 50_000):
        np.testing.assert_array_equal(top_k(row, k), np.sort(by_likelihood(row)[:k]))


@given(LOGITS, MASS)
@example(np.zeros(10, np.float32), 0.5)
@example(np.array([0, 0.5, 1e-8], np.float32), 0.5)  # 1e-8 is lost in the distance to 0.5
def test_top_p_keeps_the_smallest_set_that_reaches_p(row: np.ndarray, p: float) -> None:
    kept = warpers.top_p(row, p)
    # the most likely ones, the lower of equal ids first
    np.testing.assert_array_equal(kept, np.sort(by_likelihood(row)[: len(kept)]))
    assert len(kept) >= 1
    assert mass_of(row, kept) >= p - 1e-12  # float64 sums in another order
    fewer = by_likelihood(row)[: len(kept) - 1]
    assert mass_of(row, fewer) < p + 1e-12


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.95, 0.9999])
@pytest.mark.parametrize("scale", [0.01, 1.0, 4.0, 30.0])
def test_top_p_equals_a_full_sort_at_the_size_of_gpt_1(p: float, scale: float) -> None:
    row = (np.random.default_rng(1).normal(size=40_478) * scale).astype(np.float32)
    np.testing.assert_array_equal(warpers.top_p(row, p), naive_top_p(row, p))


@given(LOGITS, MASS, st.integers(1, 5))
def test_typical_p_keeps_the_nearest_to_the_entropy(row: np.ndarray, p: float, least: int) -> None:
    kept = warpers.typical_p(row, p, least)
    shifted = row.astype(np.float64) - row.max()
    weights = np.exp(shifted)
    log_probs = shifted - np.log(weights.sum())
    possible = weights > 0
    entropy = -(weights[possible] / weights.sum() * log_probs[possible]).sum()
    distance = np.abs(-log_probs - entropy)
    left = np.setdiff1d(np.arange(len(row)), kept)
    slack = 1e-4  # float32 distances against float64 ones
    assert len(kept) >= min(least, len(row))
    assert mass_of(row, kept) >= p - 1e-6
    finite = distance[kept][np.isfinite(distance[kept])]
    assert not len(left) or distance[left].min() >= finite.max() - slack
    nearer = kept[distance[kept] < finite.max() - slack]
    assert mass_of(row, nearer) < p + 1e-6 or len(nearer) < least


WARPERS: dict[str, tuple[Callable, Callable, list[float]]] = {
    "top_k": (
        lambda row, k, least: top_k(row, max(int(k), least)),
        lambda k, least: lp.TopKLogitsWarper(int(k), min_tokens_to_keep=least),
        [1, 3, 49, 50, 80],
    ),
    "top_p": (
        warpers.top_p,
        lambda p, least: lp.TopPLogitsWarper(p, min_tokens_to_keep=least),
        [1e-9, 0.05, 0.5, 0.9, 0.999],
    ),
    "min_p": (
        warpers.min_p,
        lambda p, least: lp.MinPLogitsWarper(p, min_tokens_to_keep=least),
        [1e-9, 0.05, 0.3, 1.0],
    ),
    "typical_p": (
        warpers.typical_p,
        lambda p, least: lp.TypicalLogitsWarper(p, min_tokens_to_keep=least),
        [1e-9, 0.05, 0.5, 0.9, 0.999],
    ),
}


def theirs(warper: lp.LogitsProcessor, row: np.ndarray) -> np.ndarray:
    scores = warper(torch.zeros(1, 1, dtype=torch.int64), torch.tensor(row)[None])[0]
    return np.flatnonzero(scores.numpy() > -np.inf)


def possible(row: np.ndarray, ids: np.ndarray) -> np.ndarray:
    return ids[row[ids] > -np.inf]


def rows(dtype: type) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    found = [(rng.normal(size=50) * scale).astype(dtype) for scale in (0.1, 1, 3, 10) * 5]
    found[3][rng.random(50) < 0.5] = -np.inf
    only = np.full(50, -np.inf, dtype)
    only[17] = -3
    return [*found, only]


@pytest.mark.parametrize("least", [1, 2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", WARPERS)
def test_filters_keep_what_transformers_keeps(name: str, dtype: type, least: int) -> None:
    ours, warper, values = WARPERS[name]
    for row in rows(dtype):
        for value in values:
            given_to = row.copy()
            kept = possible(row, ours(given_to, value, least))
            np.testing.assert_array_equal(kept, theirs(warper(value, least), row))
            np.testing.assert_array_equal(given_to, row)


@pytest.mark.parametrize("name", ["top_p", "min_p", "typical_p"])
def test_filters_keep_what_transformers_keeps_at_the_size_of_gpt_1(name: str) -> None:
    ours, warper, _ = WARPERS[name]
    for scale in (0.5, 3.0):
        row = np.random.default_rng(2).normal(size=40_478) * scale
        for value in (0.1, 0.9):
            np.testing.assert_array_equal(ours(row, value, 1), theirs(warper(value, 1), row))


def faulty_typical(row: np.ndarray, p: float) -> np.ndarray:
    log_probs = row - np.log(np.exp(row).sum())
    distance = np.abs(-log_probs - (np.exp(log_probs) * log_probs).sum())  # the sign of entropy
    return np.sort(warpers._nearest(distance, np.exp(log_probs), p))


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("top_k", lambda row: top_k(row, 4)),
        ("top_p", lambda row: np.sort(by_likelihood(row)[: len(naive_top_p(row, 0.5)) - 1])),
        ("min_p", lambda row: np.flatnonzero(np.exp(row) / np.exp(row).sum() >= 0.3)),
        ("typical_p", lambda row: faulty_typical(row, 0.5)),
    ],
)
def test_planted_faults_are_seen(name: str, fault: Callable) -> None:
    """One token more or less, a threshold without the largest probability, a wrong sign."""
    warper = WARPERS[name][1]
    value = {"top_k": 3, "min_p": 0.3}.get(name, 0.5)
    differ = [
        not np.array_equal(fault(row), theirs(warper(value, 1), row))
        for row in rows(np.float64)[1::4]
    ]
    assert all(differ)


def test_temperature_divides() -> None:
    for dtype in (np.float32, np.float64):
        row = (np.random.default_rng(0).normal(size=50) * 5).astype(dtype)
        found = warpers.temperature(row, 0.7)
        scores = lp.TemperatureLogitsWarper(0.7)(torch.zeros(1, 1), torch.tensor(row)[None])[0]
        assert found.dtype == dtype
        np.testing.assert_allclose(found, scores, rtol=1e-6 if dtype == np.float32 else 1e-15)
        assert not np.allclose(found, row * 0.7)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [1e-320, 1e-300, 1e-40, 1e-38, 1e-6])
def test_a_tiny_temperature_leaves_the_most_likely_token_only(value: float, dtype: type) -> None:
    for row in ([1.0, 3.0, 2.0], [-1.0, 3.0, -np.inf], [-9.0, -1.0, -2.0], [-1.0, 0.0, -1.0]):
        scores = warpers.temperature(np.array(row, dtype=dtype), value)
        np.testing.assert_array_equal(np.exp(scores - scores.max()), [0, 1, 0])
