"""Real text and the real vocabulary for the tests of this room."""

import functools
import gzip
import json
from pathlib import Path
from pydoc_data.topics import topics

import pytest

from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.merge_learning import learn_merges
from ogpt.tokens.word_counting import count_words

SHARED = Path(__file__).parents[3] / "shared" / "data"
VOCABULARY = SHARED / "gpt1_vocab"
BOOKS = SHARED / "books" / "books_valid.jsonl.gz"
GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizer_bert_4.57.6.json"

needs_vocabulary = pytest.mark.skipif(not VOCABULARY.exists(), reason="GPT-1's vocabulary absent")
needs_books = pytest.mark.skipif(not BOOKS.exists(), reason="the books are absent")

PYTHON_DOCS = [topics[name] for name in sorted(topics)]


@functools.cache
def learned() -> OpenAIGPTTokenizerFast:
    """A tokenizer learned on Python's documentation: there in every checkout."""
    vocab, merges = learn_merges(count_words(PYTHON_DOCS), 1_000)
    return OpenAIGPTTokenizerFast(vocab=vocab, merges=merges)


@functools.cache
def gpt1() -> OpenAIGPTTokenizerFast:
    return OpenAIGPTTokenizerFast.from_pretrained(VOCABULARY)


@functools.cache
def books() -> list[str]:
    with gzip.open(BOOKS, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]
