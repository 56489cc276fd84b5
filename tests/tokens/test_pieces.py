"""Pieces of text that stand for themselves, and what is forgotten while they are read."""

from __future__ import annotations

import pytest

from ogpt.tokens.bert_words import BertWords
from ogpt.tokens.english_words import EnglishWords
from tests.tokens.any_text import described, tokenizer
from tests.tokens.four import fresh


def test_what_is_forgotten_between_two_parts_of_a_chunk() -> None:
    assert EnglishWords("openai", remembered=1)("n:o)") == EnglishWords("openai")("n:o)")


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_bert_pieces_of_no_words(text: str) -> None:
    assert fresh("bert").tokenize(text) == []


def test_bert_pieces_of_letters_that_are_taken_apart() -> None:
    assert tokenizer("bert").tokenize("한") == described(BertWords(), "한") == ["ᄒ", "ᅡ", "ᆫ</w>"]
