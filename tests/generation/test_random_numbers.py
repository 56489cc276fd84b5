import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ogpt.generation.choosing.random_numbers import gumbel, sample, uniform
from tests.markov import chi_square_limit

WORD = st.integers(0, 2**64 - 1)


@given(WORD, WORD, WORD)
def test_a_draw_is_a_pure_function_in_its_range(seed: int, number: int, draw: int) -> None:
    value = uniform(seed, number, draw)
    assert 0 <= value < 1
    assert uniform(seed, number, draw) == value


def philox(key: list[int], counter: list[int]) -> int:
    """First word of Philox4x64-10, from the paper (Salmon et al. 2011, section 3.3)."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        product0, product1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (
            (product1 >> 64) ^ c1 ^ k0,
            product1 % 2**64,
            (product0 >> 64) ^ c3 ^ k1,
            product0 % 2**64,
        )
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) % 2**64, (k1 + 0xBB67AE8584CAA73B) % 2**64
    return c0


@given(WORD, WORD, st.integers(0, 2**64 - 2))
def test_the_numbers_are_those_of_the_paper(seed: int, number: int, draw: int) -> None:
    word = philox([seed, number], [draw + 1, 0, 0, 0])  # numpy counts up before its first word
    assert uniform(seed, number, draw) == (word >> 11) / 2**53


@given(WORD, WORD, st.integers(0, 2**64 - 2))
def test_gumbel_numbers_are_words_of_counters_of_their_own(
    seed: int, number: int, draw: int
) -> None:
    word = philox([seed, number], [1, draw + 1, 0, 0])
    found = gumbel(seed, number, draw, 9)
    assert found[0] == pytest.approx(-np.log(-np.log(((word >> 12) + 0.5) / 2**52)))
    assert np.isfinite(found).all()
    assert np.array_equal(found[:4], gumbel(seed, number, draw, 4))


def test_gumbel_numbers_have_their_distribution() -> None:
    found = np.sort(gumbel(5, 0, 3, 20_000))
    expected = np.exp(-np.exp(-found))
    reached = np.arange(1, len(found) + 1) / len(found)
    assert np.abs(reached - expected).max() < 2.5 / len(found) ** 0.5  # Kolmogorov, chance 1e-5


def test_draws_are_uniform_and_differ_along_every_key() -> None:
    for draws in (
        [uniform(7, 0, i) for i in range(4000)],
        [uniform(7, i, 0) for i in range(4000)],
        [uniform(i, 0, 0) for i in range(4000)],
    ):
        assert len(set(draws)) == 4000
        counts = np.histogram(draws, bins=20, range=(0, 1))[0]
        assert (((counts - 200) ** 2) / 200).sum() < chi_square_limit(19)


def naive_sample(logits: np.ndarray, number: float) -> int:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    cumulative = np.cumsum(weights) / weights.sum()
    return int(np.searchsorted(cumulative, number, side="right"))


@pytest.mark.parametrize("vocab_size", [1, 7, 256, 257, 40_478])
def test_sampling_inverts_the_cumulative_sum(vocab_size: int) -> None:
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=vocab_size) * 2).astype(np.float32)
    for number in rng.random(300):
        assert sample(logits, number) == naive_sample(logits, number)


def test_a_planted_fault_in_sampling_is_seen() -> None:
    """A draw taken before the block's own sum, the slip of two-level sums, changes tokens."""
    logits = np.zeros(600, dtype=np.float32)
    assert sample(logits, 0.5) == naive_sample(logits, 0.5) == 300
    assert sample(logits, 0.5) != 300 - 256


@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 600),
        elements=st.one_of(st.floats(-1000, 1000, width=32), st.just(float("-inf"))),
    ).filter(lambda row: row.max() > -np.inf),
    st.one_of(st.floats(0, 1, exclude_max=True), st.just(1 - 2**-53), st.just(0.0)),
)
def test_what_is_ruled_out_is_never_picked(logits: np.ndarray, number: float) -> None:
    token_id = sample(logits, number)
    assert np.exp(float(logits[token_id]) - float(logits.max())) > 0


def test_sampled_frequencies_follow_the_probabilities() -> None:
    logits = np.log(np.array([0.4, 0.3, 0.15, 0.1, 0.05], dtype=np.float32))
    drawn = [sample(logits, uniform(3, 0, i)) for i in range(10_000)]
    counts = np.bincount(drawn, minlength=5)
    expected = 10_000 * np.exp(logits.astype(np.float64))
    assert (((counts - expected) ** 2) / expected).sum() < chi_square_limit(4)
    wrong = 10_000 * np.array([0.36, 0.3, 0.19, 0.1, 0.05])  # the test would see such a fault
    assert (((counts - wrong) ** 2) / wrong).sum() > chi_square_limit(4)
