"""Merges equal those of a learner that counts everything again, in every process."""

import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpt import notices
from ogpt.errors import TokenizerError
from ogpt.tokens import merge_learning
from ogpt.tokens.long_word import LongWord
from ogpt.tokens.merge_learning import learn_merges
from ogpt.tokens.word_counting import count_words
from tests.tokens.real import PYTHON_DOCS, learned


def naive_merges(
    word_counts: dict[str, int], vocab_size: int, alphabet_limit: int = 1_000
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Sennrich's algorithm as published, all pairs counted again before every merge."""
    frequency = Counter[str]()
    for word, count in word_counts.items():
        frequency.update({char: count * word.count(char) for char in set(word)})
    kept = sorted(sorted(frequency, key=lambda c: (-frequency[c], c))[:alphabet_limit])
    vocab = {
        token: i for i, token in enumerate(["<unk>", *kept, *(char + "</w>" for char in kept)])
    }
    words = [([*word[:-1], word[-1] + "</w>"], count) for word, count in word_counts.items()]
    merges: list[tuple[str, str]] = []
    while len(vocab) < vocab_size:
        pairs = Counter[tuple[str, str]]()
        for symbols, count in words:
            for left, right in pairwise(symbols):
                if left in vocab and right in vocab:
                    pairs[left, right] += count
        if not pairs or max(pairs.values()) < 2:
            break
        left, right = min(pairs, key=lambda pair: (-pairs[pair], vocab[pair[0]], vocab[pair[1]]))
        merges.append((left, right))
        assert left + right not in vocab
        vocab[left + right] = len(vocab)
        words = [(merged(symbols, left, right), count) for symbols, count in words]
    return vocab, merges


def merged(symbols: list[str], left: str, right: str) -> list[str]:
    """The symbols with every neighbouring left and right joined, from the left."""
    result: list[str] = []
    for symbol in symbols:
        if symbol == right and result and result[-1] == left:
            result[-1] = "\0" + left + right  # marked: not joined again in this round
        else:
            result.append(symbol)
    return [symbol.removeprefix("\0") for symbol in result]


def encoded(word: str, merges: list[tuple[str, str]]) -> list[str]:
    """Byte-pair encoding as published: the merges one after the other."""
    symbols = [*word[:-1], word[-1] + "</w>"]
    for left, right in merges:
        symbols = merged(symbols, left, right)
    return symbols


word_counts = st.dictionaries(
    st.text("abcd", min_size=1, max_size=12), st.integers(1, 5), min_size=1, max_size=12
)


@settings(max_examples=300, deadline=None)
@given(word_counts, st.integers(9, 60))
def test_equals_the_naive_learner(counts: dict[str, int], size: int) -> None:
    with notices.collecting():
        assert learn_merges(counts, size) == naive_merges(counts, size)


@settings(max_examples=100, deadline=None)
@given(word_counts, st.integers(7, 60))
def test_equals_the_naive_learner_with_characters_left_out(
    counts: dict[str, int], size: int
) -> None:
    with notices.collecting():
        ours = learn_merges(counts, size, alphabet_limit=3)
        assert ours == naive_merges(counts, size, alphabet_limit=3)


def test_overlapping_pairs() -> None:
    """ "aaaaa" holds the pair a+a four times but joins it twice."""
    counts = {"aaaaa": 3, "baaab": 2}
    with notices.collecting():
        assert learn_merges(counts, 40) == naive_merges(counts, 40)


def test_words_are_encoded_as_learned() -> None:
    words = count_words(PYTHON_DOCS)
    tokenizer = learned()
    merges = tokenizer.merges
    for word in sorted(words)[::20]:
        if set(word) <= set(tokenizer.get_vocab()):
            assert tokenizer.tokenize(word) == encoded(word, merges)


def test_the_layout_is_gpt1s() -> None:
    vocab, merges = learn_merges({"ab": 3, "b": 1}, 6)
    assert list(vocab) == ["<unk>", "a", "b", "a</w>", "b</w>", "ab</w>"]
    assert list(vocab.values()) == list(range(6))
    assert merges == [("a", "b</w>")]


def test_no_merge_makes_the_unknown_token() -> None:
    with notices.collecting():
        vocab, merges = learn_merges({"<unk>x": 5, "<unk>y": 5}, 40)
    assert vocab["<unk>"] == 0
    assert len(vocab) == 1 + 2 * 7 + len(merges)
    assert ("<unk", ">") not in merges


def test_the_same_in_every_process() -> None:
    """Hash seeds change the order of sets and the Rust library's counting order."""
    program = (
        "import hashlib, json\n"
        "from pydoc_data.topics import topics\n"
        "from ogpt.tokens.word_counting import count_words\n"
        "from ogpt.tokens.merge_learning import learn_merges\n"
        "learned = learn_merges(count_words(topics.values()), 600)\n"
        "print(hashlib.sha256(json.dumps(learned).encode()).hexdigest())\n"
    )
    results = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "12345")
    }
    assert len(results) == 1


def test_the_order_of_words_does_not_matter() -> None:
    words = count_words(PYTHON_DOCS)
    backwards = dict(reversed(words.items()))
    assert learn_merges(words, 400) == learn_merges(backwards, 400)


def test_too_few_pairs_is_told() -> None:
    with notices.collecting() as told:
        vocab, _ = learn_merges({"abab": 1}, 100)
    assert [(notice.kind, notice.fields) for notice in told] == [
        ("fewer-merges", {"entries": len(vocab), "asked": 100})
    ]


def test_characters_left_out_are_told() -> None:
    with notices.collecting() as told:
        vocab, _ = learn_merges({"aabbc": 2}, 6, alphabet_limit=2)
    assert (told[0].kind, told[0].fields) == ("characters-left-out", {"count": 1})
    assert "c" not in vocab


@pytest.mark.parametrize("size", [6, 0x110000])
def test_a_size_that_cannot_be(size: int) -> None:
    with pytest.raises(TokenizerError, match=f"vocab_size is {size}; allowed: 7 ") as caught:
        learn_merges({"abc": 2}, size)
    assert "at least 7" in caught.value.hint


def test_no_words() -> None:
    with pytest.raises(TokenizerError, match="no words") as caught:
        learn_merges({}, 100)
    assert "contains text" in caught.value.hint


def test_progress_ends_at_the_total() -> None:
    events = []
    learn_merges({"abab": 5}, 6, lambda kind, **fields: events.append((kind, fields)))
    assert events[-1] == (
        "progress",
        {"task": "learning merges", "done": 1, "total": 1, "unit": "merges"},
    )


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text("ab", min_size=1, max_size=60), st.integers(1, 3), min_size=1),
    st.integers(5, 80),
)
def test_long_words_are_learned_from_as_short_ones(counts: dict[str, int], size: int) -> None:
    """They are kept as linked lists; the merges, in runs too, are those of str.replace."""
    with notices.collecting(), pytest.MonkeyPatch.context() as patch:
        usual = learn_merges(counts, size)
        patch.setattr(merge_learning, "LONG", 2)
        assert learn_merges(counts, size) == usual


def test_a_long_word_visits_only_the_places_of_a_pair() -> None:
    """Work is counted, not timed: places visited in all merges of a word of 20,000 symbols."""
    word = LongWord("".join(chr(ord("a") + i * i % 23) for i in range(20_000)))
    changes = word.merge("ab", "X")
    assert sum(map(abs, changes.values())) <= 6 * 20_000 / 23
    assert word.merge("ab", "X") == {}


def test_the_alphabet_grows_while_entries_are_free() -> None:
    """No word of one ideograph has a pair to merge; rare ones must not be unknown for that."""
    counts = {chr(0x4E00 + i): 3_000 - i for i in range(2_500)}
    vocab, merges = learn_merges(counts, 5_001)
    assert (len(vocab), merges) == (5_001, [])
    assert set(counts) <= set(vocab)
    with notices.collecting() as told:
        vocab, _ = learn_merges(counts, 4_000)
    assert len(vocab) == 3_999, "two entries a character"
    assert [(notice.kind, notice.fields.get("count")) for notice in told] == [
        ("characters-left-out", 501),
        ("fewer-merges", None),
    ]
