"""The n-gram models against a slow version written from the formulas, with planted faults."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pytest

from ogpt.errors import DataError, TokenOutOfRange
from ogpt.evaluation import ngrams
from ogpt.evaluation.ngrams import FALLBACK_DISCOUNTS, NgramModel, ngram_losses

VOCAB = 7


def text(length: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Ids with some order in them: the next one depends on the last two, most of the time."""
    draw = np.random.default_rng(seed)
    ids = [1, 2]
    while len(ids) < length:
        follows = (ids[-1] + 2 * ids[-2]) % (VOCAB - 1)
        ids.append(follows if draw.random() < 0.6 else int(draw.zipf(1.7)) % (VOCAB - 1))
    return np.array(ids, np.uint16)


def every_context(order: int, first: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    ids = range(first, VOCAB)
    return np.array(list(itertools.product(ids, repeat=order - 1)), np.int64).reshape(
        len(ids) ** (order - 1), order - 1
    )


class ByHand:
    """Modified Kneser-Ney with dictionaries, one n-gram at a time; `fault` plants an error."""

    def __init__(self, ids: list[int], order: int, fault: str = "") -> None:
        self.order = order
        self.fault = fault
        self.counts = {order: Counter(tuple(ids[i : i + order]) for i in range(len(ids)))}
        self.counts[order] = Counter(
            {g: c for g, c in self.counts[order].items() if len(g) == order}
        )
        for n in range(order - 1, 0, -1):
            self.counts[n] = Counter()
            for gram, count in self.counts[n + 1].items():
                self.counts[n][gram[1:]] += count if fault == "true counts below" else 1
        self.discounts = {n: self.estimate(self.counts[n]) for n in self.counts}

    def estimate(self, counts: Counter[tuple[int, ...]]) -> tuple[float, float, float]:
        n = [0.0] + [float(sum(c == k for c in counts.values())) for k in (1, 2, 3, 4)]
        if not (n[1] and n[2] and n[3]):
            return FALLBACK_DISCOUNTS
        y = n[1] / (n[1] + 2 * n[2])
        found = (1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
        if self.fault == "one discount":
            return (found[0],) * 3
        return found if min(found) > 0 else FALLBACK_DISCOUNTS

    def probability(self, context: tuple[int, ...], token: int) -> float:
        n = len(context) + 1
        below = self.probability(context[1:], token) if n > 1 else 1 / VOCAB
        following = {g[-1]: c for g, c in self.counts[n].items() if g[:-1] == context}
        if not following:
            return below
        total = sum(following.values())
        discount = {t: self.discounts[n][min(c, 3) - 1] for t, c in following.items()}
        kept = following.get(token, 0) - discount.get(token, 0.0)
        return kept / total + sum(discount.values()) / total * below

    def loss(self, ids: list[int]) -> float:
        logs = []
        for i in range(1, len(ids)):
            context = tuple(ids[max(0, i - self.order + 1) : i])
            if self.fault == "context late by one":
                context = tuple(ids[max(0, i - self.order) : i - 1])
            logs.append(np.log(self.probability(context, ids[i])))
        return -float(np.mean(logs))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("length", [12, 400])
def test_every_probability_equals_the_one_by_hand(order: int, length: int) -> None:
    ids = text(length)
    model = NgramModel(ids, order, VOCAB)
    slow = ByHand(ids.tolist(), order)
    contexts = every_context(order, first=0)
    for token in range(VOCAB):
        ours = model.probabilities(contexts, np.full(len(contexts), token))
        theirs = [slow.probability(tuple(row), token) for row in contexts.tolist()]
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_distributions_sum_to_one_and_every_token_has_a_chance(order: int) -> None:
    model = NgramModel(text(400), order, VOCAB)  # the last id of the vocabulary never occurs
    for context in every_context(order, first=-1):
        if -1 in context[1:]:
            continue  # only the start of a context can be missing
        chances = model.probabilities(np.tile(context, (VOCAB, 1)), np.arange(VOCAB))
        assert chances.sum() == pytest.approx(1, abs=1e-12)
        assert chances.min() > 0


def test_losses_equal_those_by_hand_and_get_better_with_order() -> None:
    train, valid = text(400), text(100, seed=1)
    losses = ngram_losses(train, valid, VOCAB)
    assert losses.tokens == 99
    for order, loss in enumerate((losses.unigram, losses.bigram, losses.trigram), start=1):
        assert loss == pytest.approx(ByHand(train.tolist(), order).loss(valid.tolist()), rel=1e-12)
    assert losses.trigram < losses.bigram < losses.unigram


@pytest.mark.parametrize("fault", ["true counts below", "one discount", "context late by one"])
def test_a_planted_fault_is_seen(fault: str) -> None:
    train, valid = text(400), text(100, seed=1)
    wrong = ByHand(train.tolist(), 3, fault).loss(valid.tolist())
    assert abs(ngram_losses(train, valid, VOCAB).trigram - wrong) > 1e-4


def test_the_start_of_the_text_uses_the_lower_orders() -> None:
    model = NgramModel(text(400), 3, VOCAB)
    slow = ByHand(text(400).tolist(), 3)
    assert model.loss(np.array([3, 4])) == pytest.approx(-np.log(slow.probability((3,), 4)))


def test_negative_discounts_are_replaced() -> None:
    # two once, one twice, nine thrice: the formula gives D(2) = 2 - 3 * 0.5 * 9 < 0
    counts = np.array([1, 1, 2] + [3] * 9)
    np.testing.assert_array_equal(ngrams._discounts(counts), FALLBACK_DISCOUNTS)


def test_a_stream_is_read_by_slices_and_progress_is_reported() -> None:
    class Slices:
        def __init__(self, ids: np.ndarray[Any, Any]) -> None:
            self.ids = ids

        def __len__(self) -> int:
            return len(self.ids)

        def __getitem__(self, part: slice) -> np.ndarray[Any, Any]:
            return self.ids[part]

    events: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def reporter(kind: str, /, **fields: Any) -> None:
        events[kind].append(fields)

    train, valid = text(400), text(100, seed=1)
    losses = ngram_losses(Slices(train), Slices(valid), VOCAB, reporter)
    assert losses == ngram_losses(train, valid, VOCAB)
    assert [event["done"] for event in events["progress"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("train", "valid", "message"),
    [
        (2, 9, "training text has 2 tokens; n-gram models need 3 or more"),
        (9, 1, "validation text has 1 tokens; n-gram models need 2 or more"),
    ],
)
def test_too_little_text_is_an_error(train: int, valid: int, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        ngram_losses(text(9)[:train], text(9)[:valid], VOCAB)
    assert caught.value.hint == "pass more text"


def test_an_id_outside_the_vocabulary_is_an_error() -> None:
    with pytest.raises(
        TokenOutOfRange, match=r"validation text holds the token id 7; .* 0 to 6"
    ) as e:
        ngram_losses(text(9), np.array([1, 7]), VOCAB)
    assert "tokenizer" in e.value.hint
    with pytest.raises(TokenOutOfRange, match="training text holds the token id -1"):
        ngram_losses(np.array([1, -1, 2]), text(9), VOCAB)


def test_a_vocabulary_too_large_for_one_key_is_an_error() -> None:
    assert ngrams.LARGEST_VOCABULARY**3 < 2**63 <= (ngrams.LARGEST_VOCABULARY + 1) ** 3
    with pytest.raises(DataError, match="2097152 entries; allowed: 1 to 2097151") as caught:
        ngram_losses(text(9), text(9), ngrams.LARGEST_VOCABULARY + 1)
    assert "smaller vocabulary" in caught.value.hint
