"""Penalties and bans against transformers' processors of the same name."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import transformers.generation.logits_process as lp
from hypothesis import given
from hypothesis import strategies as st

from ogpt.generation.choosing import processors

V = 13
TEXTS = st.lists(st.integers(0, V - 1), min_size=1, max_size=20)
DTYPES = st.sampled_from([np.float32, np.float64])
BIASES = st.dictionaries(
    st.lists(st.integers(0, V - 1), min_size=1, max_size=3).map(tuple),
    st.sampled_from([-4.0, -0.5, 0.25, 8.0, float("-inf")]),  # exact in transformers' float32
    min_size=1,
    max_size=12,
)


def row(seed: int, dtype: type) -> np.ndarray:
    """Logits of both signs, some of them ruled out already."""
    rng = np.random.default_rng(seed)
    logits = (rng.normal(size=V) * 4).astype(dtype)
    logits[rng.random(V) < 0.1] = -np.inf
    logits[0] = 0.0
    return logits


def theirs(processor: lp.LogitsProcessor, ids: list[int], logits: np.ndarray) -> np.ndarray:
    text = torch.tensor([ids], dtype=torch.int64)
    return processor(text, torch.tensor(logits)[None])[0].numpy()


def equal(ours: np.ndarray, other: np.ndarray) -> bool:
    assert not np.isnan(ours).any()
    tolerance = 1e-6 if ours.dtype == np.float32 else 1e-12
    return np.allclose(ours, other, rtol=tolerance, atol=0)


def check(
    ours: Callable[[np.ndarray], np.ndarray],
    processor: lp.LogitsProcessor,
    ids: list[int],
    logits: np.ndarray,
) -> None:
    given_to = logits.copy()
    found = ours(given_to)
    assert found.dtype == logits.dtype
    np.testing.assert_array_equal(given_to, logits)
    assert equal(found, theirs(processor, ids, logits))


@given(TEXTS, st.sampled_from([0.5, 1.2, 2.0]), st.integers(0, 99), DTYPES)
def test_repetition_penalty(ids: list[int], penalty: float, seed: int, dtype: type) -> None:
    processor = lp.RepetitionPenaltyLogitsProcessor(penalty)
    check(
        lambda x: processors.repetition_penalty(x, ids, penalty), processor, ids, row(seed, dtype)
    )


@given(TEXTS, st.integers(1, 5), st.integers(0, 99), DTYPES)
def test_no_repeat_ngram(ids: list[int], size: int, seed: int, dtype: type) -> None:
    """Among them texts shorter than the n-gram, and n-grams that overlap."""
    processor = lp.NoRepeatNGramLogitsProcessor(size)
    few = [token_id % 3 for token_id in ids]
    check(lambda x: processors.no_repeat_ngram(x, few, size), processor, few, row(seed, dtype))


@given(TEXTS, BIASES, st.integers(0, 99), DTYPES)
def test_sequence_bias(ids: list[int], bias: dict, seed: int, dtype: type) -> None:
    processor = lp.SequenceBiasLogitsProcessor(bias)
    few = [token_id % 4 for token_id in ids]
    check(lambda x: processors.sequence_bias(x, few, bias), processor, few, row(seed, dtype))


@given(TEXTS, BIASES, st.integers(0, 99), DTYPES)
def test_bad_words(ids: list[int], words: dict, seed: int, dtype: type) -> None:
    given_words = [[token_id % 4 for token_id in word] for word in words]
    processor = lp.NoBadWordsLogitsProcessor(given_words)
    few = [token_id % 4 for token_id in ids]
    check(lambda x: processors.bad_words(x, few, given_words), processor, few, row(seed, dtype))


@given(st.lists(st.integers(0, V - 1), min_size=1), st.integers(0, 99), DTYPES)
def test_ban_and_force(ids: list[int], seed: int, dtype: type) -> None:
    logits = row(seed, dtype)
    check(lambda x: processors.ban(x, ids), lp.SuppressTokensLogitsProcessor(ids), [1], logits)
    forced = lp.ForcedEOSTokenLogitsProcessor(2, ids)
    check(lambda x: processors.force(x, ids), forced, [1], logits)


@given(st.lists(st.integers(0, V - 1), max_size=20), DTYPES)
def test_frequency_and_presence_penalty(written: list[int], dtype: type) -> None:
    """By the definition: mu[j] - c[j] * frequency - (c[j] > 0) * presence."""
    logits = row(3, dtype)
    found = processors.frequency_and_presence_penalty(logits, written, 0.7, -1.1)
    expected = [
        logit - written.count(token_id) * 0.7 - (token_id in written) * -1.1
        for token_id, logit in enumerate(logits.tolist())
    ]
    assert found.dtype == dtype
    np.testing.assert_array_equal(logits, row(3, dtype))
    np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_a_text_nothing_is_punished(dtype: type) -> None:
    logits = row(0, dtype)
    for found in (
        processors.repetition_penalty(logits, [], 2.0),
        processors.no_repeat_ngram(logits, [], 1),
        processors.frequency_and_presence_penalty(logits, [], 2.0, 2.0),
        processors.bad_words(logits, [], [[1, 2]]),
        processors.sequence_bias(logits, [], {(1, 2): 1.0}),
        processors.ban(logits, []),
    ):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, logits)


# ---- planted faults: what the comparisons above would see


def test_a_negative_logit_divided_is_seen() -> None:
    logits, ids = row(0, np.float64), [1, 2, 3, 4, 5]
    faulty = logits.copy()
    faulty[ids] /= 2.0  # as in the paper
    right = lp.RepetitionPenaltyLogitsProcessor(2.0)
    assert not equal(faulty, theirs(right, ids, logits))


def test_an_ngram_off_by_one_is_seen() -> None:
    logits, ids = row(0, np.float64), [1, 2, 3, 4, 2, 5, 1, 2]
    right = theirs(lp.NoRepeatNGramLogitsProcessor(3), ids, logits)  # not 1 2 3 again
    assert equal(processors.no_repeat_ngram(logits, ids, 3), right)
    for text, size in ((ids, 2), (ids, 4), (ids[:-1], 3)):
        assert not equal(processors.no_repeat_ngram(logits, text, size), right)


def test_a_prefix_at_the_wrong_place_is_seen() -> None:
    logits, ids = row(0, np.float64), [1, 2, 3]
    right = theirs(lp.SequenceBiasLogitsProcessor({(2, 3, 4): 1.0}), ids, logits)
    assert equal(processors.sequence_bias(logits, ids, {(2, 3, 4): 1.0}), right)
    assert not equal(processors.sequence_bias(logits, ids[:-1], {(2, 3, 4): 1.0}), right)
    banned = theirs(lp.NoBadWordsLogitsProcessor([[3, 4]]), ids, logits)
    assert equal(processors.bad_words(logits, ids, [[3, 4]]), banned)
    assert not equal(processors.bad_words(logits, ids[:-1], [[3, 4]]), banned)


@given(TEXTS, st.sets(st.integers(0, V - 1), min_size=1), st.integers(0, 99), DTYPES)
def test_allowed_tokens(ids: list[int], allowed: set[int], seed: int, dtype: type) -> None:
    processor = lp.PrefixConstrainedLogitsProcessor(lambda row, text: sorted(allowed), 1)
    logits = row(seed, dtype)
    if np.isneginf(logits[sorted(allowed)]).all():  # there transformers brings them back
        assert np.isneginf(processors.allow(logits, sorted(allowed))).all()
        return
    check(lambda x: processors.allow(x, sorted(allowed)), processor, ids, logits)
