"""Counting words chunk by chunk equals running the whole text through the Rust library."""

import tracemalloc
from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpt import notices
from ogpt.tokens import chunks
from ogpt.tokens.chunks import chunk_lists, plain_words, without_surrogates
from ogpt.tokens.rust_bpe import bert_normalizer, bert_pre_tokenizer
from ogpt.tokens.word_counting import count_words
from tests.tokens.real import PYTHON_DOCS

any_text = st.text(st.characters(exclude_categories=()))
spaced_text = st.text(
    st.sampled_from("aB.é日\u0301\ud800\x00 \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u2028")
)


def rust_words(text: str) -> Counter[str]:
    normal = bert_normalizer().normalize_str(without_surrogates(text))
    return Counter(word for word, _ in bert_pre_tokenizer().pre_tokenize_str(normal))


@settings(max_examples=500, deadline=None)
@given(st.lists(any_text | spaced_text, max_size=4))
def test_equals_the_rust_library(texts: list[str]) -> None:
    assert count_words(texts) == sum(map(rust_words, texts), Counter())


def test_equals_the_rust_library_on_real_text() -> None:
    texts = PYTHON_DOCS[::4]
    assert count_words(texts) == sum(map(rust_words, texts), Counter())


@settings(max_examples=500, deadline=None)
@given(st.text(st.sampled_from([*map(chr, range(33, 127)), *"‘’“”—…"]), min_size=1))
def test_plain_words_are_the_rust_librarys(chunk: str) -> None:
    words = plain_words(chunk)
    assert words is not None
    assert Counter(words) == rust_words(chunk)


@pytest.mark.parametrize(
    "chunk", ["caf\xe9", "a\x7f", "\x00b", "\u65e5", "\u0130", "a\xad", "\ufffd"]
)
def test_other_chunks_are_not_plain(chunk: str) -> None:
    assert plain_words(chunk) is None


def test_a_long_text_is_cut_at_spaces(monkeypatch) -> None:
    monkeypatch.setattr(chunks, "_PART", 10)
    text = "one two\nthree   four five-six\tseven" + "x" * 30 + " end"
    parts = list(chunk_lists(text))
    assert len(parts) > 2
    assert list(chain.from_iterable(parts)) == text.split()
    assert list(chunk_lists("x" * 30)) == [["x" * 30]]


def test_memory_is_bounded() -> None:
    """The rarest go first, so the words that are left keep nearly all their count."""
    texts = (f"the cat number{number} the end" for number in range(20_000))
    tracemalloc.start()
    with notices.collecting() as told:
        words = count_words(texts, limit=1_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert words["the"] == 40_000
    assert words["cat"] == words["end"] == 20_000
    assert len(words) <= 1_000
    assert [(notice.kind, notice.fields) for notice in told] == [
        ("rare-words-dropped", {"limit": 1_000})
    ]
    assert peak < 1_000_000
