"""On the whole validation set every path equals its literal description; faults are found."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from transformers import OpenAIGPTTokenizer as TransformersTokenizer

from ogpt.tokens import english_words
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.english_words import EnglishWords
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.tokens.oracle import Bpe, bert_words, hf_spacy_words, openai_words
from tests.tokens.real import VOCABULARY, books, gpt1, needs_books, needs_vocabulary

pytestmark = [needs_vocabulary, needs_books]
PART = 60_000  # characters of each book in the fast tests
Words = Callable[[str], list[str]]

HARD_LINES = (
    "Mr. Smith of the U.S.A. said “I can't’ve gone”—at 10a.m. … o'clock, e.g.—then:-)",
    "It’s â€™all&amp;sundry ﬁne； ｆｕｌｌ Cafe\u0301\u2028two\r\nthree\x85four \x0c five",
    "a '' b ' ' c :- ) d ( : e ; ) f 'Tis C ++ 1 a.m . x o ' clock",
    "CAN'T WON'T ΟΔΟΣ İstanbul ΣΑΣ. Ph.D.s, (U.K.) D.C.-based <b>&eacute;</b>",
    "&eacute; after <b> stays as it is",
    "' ''p ( :>s <3 . < a .'' <.< ' 's 10 am 10am",  # special cases of spaCy side by side
)


@functools.cache
def bpe() -> Bpe:
    return Bpe.open(VOCABULARY)


@functools.cache
def transformers_fast() -> Any:
    tokenizer = TransformersTokenizer(vocab=gpt1().get_vocab(), merges=gpt1().merges)
    tokenizer.model_max_length = 10**9  # no warning about long texts
    return tokenizer


def slow(order: Any) -> OpenAIGPTTokenizer:
    return OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer=order)


def parts(limit: int | None) -> list[str]:
    """The beginnings of the books, and lines that hold what books seldom do."""
    return [*(book[:limit] for book in books()), "\n".join(HARD_LINES)]


def lines(limit: int | None) -> list[str]:
    return [line for part in parts(limit) for line in part.split("\n")]


def lines_of_books(limit: int | None) -> list[str]:
    return [line for book in books() for line in book[:limit].split("\n")]


def literal(words: Words) -> Callable[[Sequence[str]], list[list[int]]]:
    return lambda texts: [bpe().ids(words(text)) for text in texts]


def different(
    ours: BPETokenizer, expected: Callable[[Sequence[str]], list[list[int]]], texts: Sequence[str]
) -> list[str]:
    """The texts whose ids differ, in batches or when the tokenizer is called."""
    arrays = ours.encode_batch_arrays(texts)
    called = ours(list(texts))["input_ids"]
    return [
        text
        for text, array, ids, right in zip(texts, arrays, called, expected(texts), strict=True)
        if not (array.tolist() == ids == right)
    ]


EXPECTED = {
    "openai": lambda texts: literal(openai_words)(texts),
    "hf-spacy": lambda texts: literal(hf_spacy_words)(texts),
    "bert": lambda texts: transformers_fast()(list(texts))["input_ids"],
}
AMOUNTS = [pytest.param(PART, id="parts"), pytest.param(None, id="all", marks=pytest.mark.slow)]


@pytest.mark.parametrize("limit", AMOUNTS)
@pytest.mark.parametrize("order", EXPECTED)
def test_whole_books(order: str, limit: int | None) -> None:
    assert different(slow(order), EXPECTED[order], parts(limit)) == []


@pytest.mark.parametrize("limit", AMOUNTS)
@pytest.mark.parametrize("order", EXPECTED)
def test_line_by_line(order: str, limit: int | None) -> None:
    assert different(slow(order), EXPECTED[order], lines(limit)) == []


@pytest.mark.parametrize("limit", AMOUNTS)
def test_fast_class(limit: int | None) -> None:
    for texts in (parts(limit), lines(limit)):
        assert different(gpt1(), EXPECTED["bert"], texts) == []


@pytest.mark.parametrize("limit", AMOUNTS)
def test_bert_as_described(limit: int | None) -> None:
    """Python's Unicode table is the Rust library's on every word of the books.

    Elsewhere the two part: str.lower() makes the last sigma of a word a final one.
    """
    assert different(gpt1(), literal(bert_words), lines_of_books(limit)) == []
    assert different(gpt1(), literal(bert_words), ["ΟΔΟΣ"])


# ---- planted faults


def without_line_breaks(self: EnglishWords, text: str) -> Any:
    return (chunk[chunk[0] == "\n" :] for chunk in with_line_breaks(self, text))


with_line_breaks = EnglishWords.lines

FAULTS: dict[str, tuple[Any, str, Any]] = {
    "text is not standardised": (english_words, "_parts", str.split),
    "mojibake stays": (english_words.Fixer, "__call__", lambda self, text: text),
    "a line break is no word": (EnglishWords, "lines", without_line_breaks),
    "chunks are read alone": (
        EnglishWords,
        "read_apart",
        lambda self, chunks, depends: list(chunks),
    ),
    "no special case": (english_words.EnglishRules, "split", lambda self, line: line.split()),
    "words keep their case": (english_words, "_lower", " ".join),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_shows(fault: str, monkeypatch) -> None:
    monkeypatch.setattr(*FAULTS[fault])
    assert different(slow("openai"), EXPECTED["openai"], [*HARD_LINES, "\n".join(HARD_LINES)])


@pytest.mark.parametrize(("order", "other"), [("openai", "hf-spacy"), ("hf-spacy", "openai")])
def test_the_other_order_shows(order: str, other: str) -> None:
    """Lower case before or after spaCy."""
    assert different(slow(order), EXPECTED[other], lines(2_000))
    assert different(slow("bert"), EXPECTED[order], lines(2_000))
