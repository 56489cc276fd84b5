"""The paper's zero-shot heuristics, on scorers whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.choice import open_decoder
from ogpt.errors import ContextTooLong, DataError
from ogpt.evaluation.zero_shot import (
    acceptability,
    answers,
    best_threshold,
    decoder_scorer,
    normalized,
    referents,
    sentiment,
)
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import collecting
from ogpt.tasks.example import Example
from ogpt.tasks.readers.pronouns import PronounCase
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from tests.markov import StandInTokenizer, log_softmax


def test_the_threshold_agrees_best() -> None:
    values = np.array([-4.0, -3.0, -2.0, -1.0])
    assert best_threshold(values, np.array([False, False, True, True])) == -2.5
    assert best_threshold(values, np.array([True] * 4)) == -np.inf
    assert best_threshold(values, np.array([False] * 4)) == np.inf


def test_a_sentence_is_judged_by_the_threshold_of_the_other_half() -> None:
    means = {"a": -1.0, "b": -10.0, "c": -5.0, "d": -14.0}
    rows = [Example((text,), label) for text, label in zip("abcd", "1100", strict=True)]
    # rows a, c choose -3, which rejects b and d; rows b, d choose -12, which accepts a and c
    found = acceptability(lambda _, text: [means[text]], rows, "1")
    assert found.tolist() == [True, False, True, False]


def test_very_is_appended_and_two_words_compared() -> None:
    def score(context: str, word: str) -> Sequence[float]:
        assert context.endswith(" very")
        return [-1.0 if ("good" in context) == (word == "positive") else -2.0]

    rows = [Example(("a good film",)), Example(("a bad film",))]
    assert sentiment(score, rows).tolist() == [1, 0]


def test_answers_compare_means_not_sums() -> None:
    log_probs = {"long": [-1.0, -1.0, -1.0], "short": [-2.0]}
    seen = []

    def score(context: str, choice: str) -> Sequence[float]:
        seen.append(context)
        return log_probs[choice]

    rows = [Example(("document", "question", "short", "long")), Example(("", "question", "short"))]
    assert answers(score, rows).tolist() == [1, 0]
    assert seen == ["document question"] * 2 + ["question"]


def test_referents_are_substituted_and_only_the_rest_counts() -> None:
    seen = []

    def score(context: str, rest: str) -> Sequence[float]:
        seen.append((context, rest))
        return [-1.0 if "trophy" in context else -2.0]

    case = PronounCase(
        before="It did not fit because ",
        after=" was too large.",
        candidates=("the case", "the trophy"),
        label=1,
        place="",
    )
    assert referents(score, [case]).tolist() == [1]
    assert seen == [
        ("It did not fit because the case", " was too large."),
        ("It did not fit because the trophy", " was too large."),
    ]


def test_scores_lie_between_chance_and_the_best_known() -> None:
    assert normalized(0.5, 0.5, 0.9) == 0
    assert normalized(0.9, 0.5, 0.9) == 1


@pytest.mark.parametrize("log_probs", [[], [float("nan")], [-float("inf")]])
def test_what_cannot_be_compared_is_an_error(log_probs: list[float]) -> None:
    with pytest.raises(DataError, match=r"dev\.tsv:3: the mean log-probability of 'positive'"):
        sentiment(lambda *_: log_probs, [Example(("a film",), place="dev.tsv:3")], ["positive"])


def test_one_sentence_has_no_other_half() -> None:
    with pytest.raises(DataError, match="there are 1 sentences"):
        acceptability(lambda *_: [-1.0], [Example(("one",), "1")], "1")


def test_a_decoder_gives_the_log_probabilities_of_the_continuation(tmp_path: Path) -> None:
    vocab = {piece: i for i, piece in enumerate(StandInTokenizer().pieces)}
    OpenAIGPTTokenizerFast(vocab=vocab, merges=[]).save_pretrained(tmp_path)
    config = OpenAIGPTConfig(vocab_size=len(vocab), n_positions=12, n_embd=16, n_layer=2, n_head=2)
    torch.manual_seed(0)
    OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(tmp_path)
    model = OpenAIGPTLMHeadModel.from_pretrained(tmp_path)

    def naive(ids: list[int], first: int) -> list[float]:
        with torch.no_grad():
            logits = model(torch.tensor([ids[:-1]])).logits[0].numpy()
        pairs = zip(logits, ids[1:], strict=True)
        return [float(log_softmax(row)[token]) for row, token in pairs][first - 1 :]

    before, ids = tokenizer.encode("bad cab"), tokenizer.encode("dad.")
    with closing(open_decoder(tmp_path, threads=1)) as decoder:
        score = decoder_scorer(decoder, tokenizer)
        expected = naive([*before, *ids], len(before))
        np.testing.assert_allclose(score("bad cab", "dad."), expected, atol=1e-5)
        np.testing.assert_allclose(score("", "dad."), naive(ids, 1), atol=1e-5)
        assert score("bad cab", "") == []
        long = "bad cab " * 4
        cut = tokenizer.encode(long)[-(12 - len(ids) + 1) :]
        with collecting() as notices:
            found = score(long, "dad.")
        np.testing.assert_allclose(found, naive([*cut, *ids], len(cut)), atol=1e-5)
        assert [notice.kind for notice in notices] == ["prefix-cut"]
        with pytest.raises(ContextTooLong):
            score("bad", long)
