"""The readable surface meets its targets on the validation books; broken rules do not."""

from __future__ import annotations

import functools

import pytest

from benchmarks.readable import CASES, DECISIONS, IDS, Score, paragraphs, score, signs
from ogpt.tokens import surface_rules
from ogpt.tokens.surface_place import OPENS, Joint, Place
from ogpt.tokens.surface_quotes import Quotes
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.tokens.real import VOCABULARY, books, needs_books, needs_vocabulary

LINES = 250  # of each book
GUARDED = 0.995
"""The share of right decisions that no change of the rules may lose: the target is far below."""


@functools.cache
def tokenizer(pre_tokenizer: str) -> OpenAIGPTTokenizer:
    return OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer=pre_tokenizer)


def scored(name: str, sign: str = "") -> Score:
    """The score of the first lines of each book that have the sign."""
    case = dict(CASES[name])
    lines = [[line for line in text.split("\n") if sign in line][:LINES] for text in books()]
    return score(map("\n".join, lines), tokenizer(case.pop("pre_tokenizer")), **case)


@needs_vocabulary
@needs_books
@pytest.mark.parametrize("name", CASES)
def test_books_read_as_printed(name: str) -> None:
    found = scored(name)
    assert found.decisions > 10_000
    assert found.share_of_decisions >= GUARDED > DECISIONS
    assert found.share_of_ids >= IDS
    assert found.unknown < found.sentences * (0.6 if name == "bert" else 0.01)
    assert found.changed < found.sentences * 0.01


@needs_vocabulary
@needs_books
@pytest.mark.parametrize("name", ["openai", "bert, plain quotes"])
def test_forgetting_closing_quotes_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    joint = Quotes.joint

    def opening(self: Quotes, place: Place) -> Joint:
        return OPENS if place.word == '"' else joint(self, place)

    monkeypatch.setattr(Quotes, "joint", opening)
    assert scored(name, sign="“").share_of_decisions < DECISIONS


@needs_vocabulary
@needs_books
def test_forgetting_titles_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface_rules, "ABBREVIATIONS", frozenset())
    assert scored("openai", sign="Mr").share_of_ids < IDS


def test_sentences_of_a_line() -> None:
    text = "Mr. Low came. “Why?” he said. “Go.” Then… he went.\n\n\nThe end"
    assert list(paragraphs(text)) == [
        ["Mr. Low came.", "“Why?” he said.", "“Go.”", "Then… he went."],
        ["The end"],
    ]


def test_signs_and_spaces() -> None:
    assert signs("a b.\nc") == ("ab.c", [True, True, False, True])
