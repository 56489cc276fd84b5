import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ogpt.errors import SamplingError
from ogpt.generation import processors

# few distinct values make ties common; -inf stands for what another processor ruled out
VALUES = st.one_of(
    st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0]),
    st.floats(-60, 60, width=32),
    st.just(float("-inf")),
)
LOGITS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 3), st.integers(1, 300)), elements=VALUES
).filter(lambda logits: bool((logits.max(axis=1) > -np.inf).all()))


def by_likelihood(row: np.ndarray) -> np.ndarray:
    return np.argsort(-row.astype(np.float64), kind="stable")  # equals: the lower id first


def naive_top_k(row: np.ndarray, k: int) -> np.ndarray:
    out = np.full_like(row, -np.inf)
    out[by_likelihood(row)[:k]] = row[by_likelihood(row)[:k]]
    return out


def naive_top_p(row: np.ndarray, p: float) -> np.ndarray:
    weights = np.exp(row.astype(np.float64) - row.max())
    order = by_likelihood(row)
    reached = np.cumsum(weights[order]) / weights.sum()
    out = np.full_like(row, -np.inf)
    kept = order[: int(np.searchsorted(reached, p)) + 1]
    out[kept] = row[kept]
    return out


@given(LOGITS, st.integers(1, 300))
def test_top_k_keeps_exactly_k_and_the_lower_of_equal_ids(logits: np.ndarray, k: int) -> None:
    k = min(k, logits.shape[1])
    kept = processors.top_k(logits, k)
    assert kept.dtype == np.float32
    for row, out in zip(logits, kept, strict=True):
        np.testing.assert_array_equal(out, naive_top_k(row, k))
        assert (out > -np.inf).sum() == min(k, (row > -np.inf).sum())


def test_top_k_at_the_size_of_gpt_1() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 40_478)).astype(np.float32).round(1)
    for k in (1, 2, 50, 317, 1000, 40_478):
        kept = processors.top_k(logits, k)
        for row, out in zip(logits, kept, strict=True):
            np.testing.assert_array_equal(out, naive_top_k(row, k))


def mass_kept(row: np.ndarray, out: np.ndarray) -> float:
    weights = np.exp(row.astype(np.float64) - row.max())
    return float(weights[out > -np.inf].sum() / weights.sum())


@given(LOGITS, st.floats(1e-6, 0.999))
@example(np.zeros((1, 10), np.float32), 0.5)
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits: np.ndarray, p: float) -> None:
    kept = processors.top_p(logits, p)
    for row, out in zip(logits, kept, strict=True):
        chosen = np.flatnonzero(out > -np.inf)
        assert len(chosen) >= 1
        np.testing.assert_array_equal(out[chosen], row[chosen])
        # the most likely ones, the lower of equal ids first
        assert set(chosen) == set(by_likelihood(row)[: len(chosen)])
        assert mass_kept(row, out) >= p - 1e-12  # float64 sums in another order
        fewer = naive_top_k(row, len(chosen) - 1) if len(chosen) > 1 else None
        assert fewer is None or mass_kept(row, fewer) < p + 1e-12


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9, 0.95, 0.9999])
@pytest.mark.parametrize("scale", [0.01, 1.0, 4.0, 30.0])
def test_top_p_equals_a_full_sort_at_the_size_of_gpt_1(p: float, scale: float) -> None:
    logits = (np.random.default_rng(1).normal(size=(1, 40_478)) * scale).astype(np.float32)
    np.testing.assert_array_equal(processors.top_p(logits, p)[0], naive_top_p(logits[0], p))


def test_a_planted_fault_in_top_p_is_seen() -> None:
    """The set one token short of p, a common slip, is not what the comparison accepts."""
    logits = np.log(np.array([[0.5, 0.3, 0.2]], dtype=np.float32))
    right = processors.top_p(logits, 0.6)[0]
    short = naive_top_k(logits[0], 1)
    np.testing.assert_array_equal(right > -np.inf, [True, True, False])
    assert not np.array_equal(right, short)


def test_top_p_of_one_keeps_everything() -> None:
    logits = np.array([[0.0, -80.0, 5.0]], dtype=np.float32)
    kept = processors.top_p(logits, 1.0)
    np.testing.assert_array_equal(kept, logits)
    assert kept is not logits


def test_temperature_divides_and_keeps_probabilities_up_to_it() -> None:
    logits = np.array([[1.0, 3.0, 2.0], [-1.0, -1.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(
        processors.temperature(logits, 0.5), [[-4, 0, -2], [-2, -2, 0]], rtol=1e-6
    )
    assert processors.temperature(logits, 0.5).dtype == np.float32


@pytest.mark.parametrize("value", [1e-300, 1e-40, 1e-6])
def test_a_tiny_temperature_leaves_the_most_likely_token_only(value: float) -> None:
    logits = np.array([[1.0, 3.0, 2.0]], dtype=np.float32)
    weights = np.exp(processors.temperature(logits, value))
    np.testing.assert_array_equal(weights, [[0, 1, 0]])


def test_ban_rules_out_in_every_row() -> None:
    logits = np.zeros((2, 4), dtype=np.float32)
    np.testing.assert_array_equal(processors.ban(logits, [0, 3]), [[-np.inf, 0, 0, -np.inf]] * 2)
    assert (logits == 0).all()


@pytest.mark.parametrize(
    ("process", "seen", "allowed", "hint"),
    [
        (lambda x: processors.temperature(x, 0), "temperature is 0", "above 0", "do_sample=False"),
        (lambda x: processors.temperature(x, float("nan")), "is nan", "finite", "do_sample=False"),
        (lambda x: processors.temperature(x, float("inf")), "is inf", "finite", "do_sample=False"),
        (lambda x: processors.top_k(x, 0), "top_k is 0", "1 to 4", "0 switches it off"),
        (lambda x: processors.top_k(x, 5), "top_k is 5", "1 to 4", "0 switches it off"),
        (lambda x: processors.top_p(x, 0.0), "top_p is 0.0", "above 0 and at most 1", "0.9"),
        (lambda x: processors.top_p(x, 1.5), "top_p is 1.5", "above 0 and at most 1", "0.9"),
        (lambda x: processors.top_p(x, float("nan")), "top_p is nan", "at most 1", "0.9"),
        (lambda x: processors.ban(x, [0, 1, 2, 3]), "all 4 tokens", "at least one", "ban fewer"),
    ],
)
def test_values_outside_their_range_are_refused(process, seen, allowed, hint) -> None:
    with pytest.raises(SamplingError, match=seen) as caught:
        process(np.zeros((1, 4), dtype=np.float32))
    assert allowed in str(caught.value)
    assert hint in caught.value.hint
