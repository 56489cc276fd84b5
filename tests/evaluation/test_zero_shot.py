"""The paper's zero-shot heuristics: which texts are scored, and what their means decide."""

from __future__ import annotations

import numpy as np
import pytest

from ogpt.evaluation.zero_shot import (
    Candidate,
    acceptability,
    acceptable,
    answers,
    best_threshold,
    most_probable,
    normalized,
    referents,
    sentiment,
)
from ogpt.tasks.example import Example
from ogpt.tasks.readers.pronouns import PronounCase


def test_the_threshold_agrees_best() -> None:
    values = np.array([-4.0, -3.0, -2.0, -1.0])
    assert best_threshold(values, np.array([0, 0, 1, 1])) == -2.5
    assert best_threshold(values, np.ones(4, np.int64)) == -np.inf
    assert best_threshold(values, np.zeros(4, np.int64)) == np.inf


def test_a_sentence_is_judged_by_the_threshold_of_the_other_half() -> None:
    means, gold = np.array([-10.0, -1.0, -5.0, -14.0]), np.array([1, 1, 0, 0])
    # rows 1, 2 choose -3, which rejects 0 and 3; rows 0, 3 choose -12, which accepts 1 and 2
    assert acceptable(means, gold).tolist() == [0, 1, 1, 0]


def test_sentences_of_both_classes_in_turn() -> None:
    means, gold = np.array([-1.0, -9.0] * 4), np.array([1, 0] * 4)
    assert acceptable(means, gold).tolist() == gold.tolist()


@pytest.mark.parametrize("gold", [[0, 0], [1, 1], [0, 1], [1, 0]])
def test_two_sentences_are_enough(gold: list[int]) -> None:
    assert len(acceptable(np.array([-1.0, -2.0]), np.array(gold))) == 2


def test_a_sentence_is_scored_alone() -> None:
    assert acceptability(Example(("She goes.",), "acceptable")) == [Candidate("", "She goes.")]


def test_very_is_appended_and_two_words_compared() -> None:
    assert sentiment(Example(("a good film",))) == [
        Candidate("a good film very", " negative"),
        Candidate("a good film very", " positive"),
    ]


def test_answers_follow_document_and_question() -> None:
    assert answers(Example(("document", "question", "a", "b"))) == [
        Candidate("document question", " a"),
        Candidate("document question", " b"),
    ]
    assert answers(Example(("", "question", "a"))) == [Candidate("question", " a")]


def test_referents_are_substituted_and_only_the_rest_counts() -> None:
    case = PronounCase(
        "It did not fit because", "was too large.", ("the case", "the trophy"), 1, ""
    )
    assert referents(case) == [
        Candidate("It did not fit because the case", " was too large."),
        Candidate("It did not fit because the trophy", " was too large."),
    ]
    first = case._replace(before="", after="'s too large.")
    assert referents(first)[0] == Candidate("the case", "'s too large.")


def test_the_most_probable_candidate_is_chosen() -> None:
    assert most_probable(np.array([[-1.0, -2.0], [-2.0, -1.0]])).tolist() == [0, 1]


def test_scores_lie_between_chance_and_the_best_known() -> None:
    assert normalized(0.5, 0.5, 0.9) == 0
    assert normalized(0.9, 0.5, 0.9) == 1
