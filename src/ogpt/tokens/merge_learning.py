"""Train byte-pair encoding: repeatedly merge the most frequent pair (Sennrich et al., 2016).

During training, a symbol is one character of a Python string, chr(its id in the vocabulary). A word
is then a short string, a pair is a string of length 2, and a merge is `str.replace`, which is fast.
Each merge visits only the words that contain the pair, through an index from pairs to words. In
long words it visits only the places of the pair (`ogpt.tokens.long_word`).
"""

from __future__ import annotations

import heapq
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping

from ogpt import notices
from ogpt.errors import TokenizerError
from ogpt.reporting import Reporter, silent
from ogpt.tokens.byte_words import BYTE_LETTERS
from ogpt.tokens.long_word import LONG, LongWord
from ogpt.tokens.vocabulary import END_OF_WORD, UNK_TOKEN

ALPHABET_LIMIT = 1_000
"""Number of characters that come before merges; each takes 2 entries. GPT-1 has 478 such entries.
Rarer characters get the entries that merges leave free."""

LEAST_COUNT = 2
"""Occurrences of a pair that is merged: merging a unique pair shortens no other text."""


def learn_merges(
    word_counts: Mapping[str, int],
    vocab_size: int,
    reporter: Reporter = silent,
    *,
    alphabet_limit: int | None = None,
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Train a vocabulary of `vocab_size` entries on words and their counts.

    The layout is that of GPT-1's vocabulary: `<unk>` is 0, then the characters in the order of
    their code points, the same characters at the end of a word (`</w>`), and the merges in order.

    The result depends only on the counts: among equally frequent pairs, the one with the lower left
    id, then the lower right id, is merged first. A word is encoded exactly as it was at the end of
    training. How a piece of text is encoded does not depend on its surroundings unless a merge
    crosses its ends, so no two merges make the same symbol.

    Args:
        word_counts: Lower-case words from the pre-tokenization, with counts from 1.
        vocab_size: Number of entries of the vocabulary.
        reporter: Receives `progress` events.
        alphabet_limit: Number of characters to keep, the most frequent; others become `<unk>`.
            None keeps ALPHABET_LIMIT, and more while no pair is left to merge and entries are free.

    Returns:
        The vocabulary (token -> id) and the merges, both in order of rank. If no pair occurs twice
        any more, there are fewer entries than requested, with the notice `fewer-merges`.

    Raises:
        TokenizerError: there are no words, or vocab_size is too small for the characters.
    """
    characters = _by_frequency(word_counts)
    kept = min(len(characters), ALPHABET_LIMIT if alphabet_limit is None else alphabet_limit)
    _check_size(
        vocab_size,
        1 + 2 * kept,
        "<unk> and every character of the text, inside and at the end of a word",
    )
    while True:
        alphabet = sorted(characters[:kept])
        tokens = [UNK_TOKEN, *alphabet, *(char + END_OF_WORD for char in alphabet)]
        vocab, merges = _grow(tokens, *_as_symbols(word_counts, alphabet), vocab_size, reporter)
        more = min(len(characters) - kept, (vocab_size - len(vocab)) // 2)
        if not more or alphabet_limit is not None:
            break
        kept += more
    if kept < len(characters):
        notices.tell("characters-left-out", count=len(characters) - kept)
    _notice_fewer(vocab, vocab_size)
    return vocab, merges


def learn_byte_merges(
    word_counts: Mapping[str, int], vocab_size: int, reporter: Reporter = silent
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Train a byte-level vocabulary: the 256 bytes in GPT-2's order, then the merges in order.

    Args:
        word_counts: Pieces in byte letters (see `ogpt.tokens.byte_words`), with counts from 1.
        vocab_size: Number of entries of the vocabulary, 256 or more.
        reporter: Receives `progress` events.

    Returns:
        The vocabulary and the merges, as `learn_merges` does.

    Raises:
        TokenizerError: there is no text, or vocab_size is below 256.
    """
    least = len(BYTE_LETTERS)
    _check_size(vocab_size, least if word_counts else 1, "every byte")
    table = {ord(letter): chr(index) for index, letter in enumerate(BYTE_LETTERS)}
    words = [word.translate(table) for word in word_counts]
    counts = list(word_counts.values())
    vocab, merges = _grow(list(BYTE_LETTERS), words, counts, vocab_size, reporter)
    _notice_fewer(vocab, vocab_size)
    return vocab, merges


def _grow(
    tokens: list[str], words: list[str], counts: list[int], vocab_size: int, reporter: Reporter
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Merge pairs until `tokens` has vocab_size entries."""
    merges: list[tuple[str, str]] = []
    total = vocab_size - len(tokens)
    reported = 0.0
    for left, right in _best_pairs(words, counts, tokens):
        if len(merges) == total:
            break
        merges.append((left, right))
        if time.monotonic() - reported > 0.1:
            reported = time.monotonic()
            reporter(
                "progress", task="learning merges", done=len(merges), total=total, unit="merges"
            )
    reporter("progress", task="learning merges", done=len(merges), total=total, unit="merges")
    return {token: index for index, token in enumerate(tokens)}, merges


def _notice_fewer(vocab: Mapping[str, int], vocab_size: int) -> None:
    if len(vocab) < vocab_size:
        notices.tell("fewer-merges", entries=len(vocab), asked=vocab_size)


def _by_frequency(word_counts: Mapping[str, int]) -> list[str]:
    """Return the characters of the words, the most frequent first."""
    frequency: Counter[str] = Counter()
    for word, count in word_counts.items():
        for char in word:
            frequency[char] += count
    return sorted(frequency, key=lambda char: (-frequency[char], char))


def _check_size(vocab_size: int, least: int, entries: str) -> None:
    if least == 1:
        raise TokenizerError(
            "there are no words to train a vocabulary on",
            hint="pass a source that contains text",
        )
    if not least <= vocab_size <= sys.maxunicode:
        raise TokenizerError(
            f"vocab_size is {vocab_size}; allowed: {least} ({entries}) to {sys.maxunicode}",
            hint=f"pass at least {least}, or text with fewer distinct characters",
        )


def _as_symbols(word_counts: Mapping[str, int], alphabet: list[str]) -> tuple[list[str], list[int]]:
    """Convert words to strings of chr(id), split at characters outside the alphabet."""
    inside = {ord(char): chr(1 + index) for index, char in enumerate(alphabet)}
    ending = {char: chr(1 + len(alphabet) + index) for index, char in enumerate(alphabet)}
    unknown = chr(0)
    words: list[str] = []
    counts: list[int] = []
    table = _Unknown(inside)
    for word, count in word_counts.items():
        symbols = word[:-1].translate(table) + ending.get(word[-1], unknown)
        for piece in symbols.split(unknown):
            if len(piece) > 1:  # a single symbol has no pairs
                words.append(piece)
                counts.append(count)
    return words, counts


class _Unknown(dict[int, str]):
    """A table for str.translate that maps unknown characters to chr(0)."""

    def __missing__(self, key: int) -> str:
        return chr(0)


def _best_pairs(
    words: list[str], counts: list[int], tokens: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield the most frequent pair, merge it in all words, append it to `tokens`, and repeat.

    The heap has (-count, pair) from when the count last grew. Counts only fall afterwards, so an
    outdated entry never comes too late: when it is popped, it is pushed back with its true count.
    """
    long_words = {index: LongWord(word) for index, word in enumerate(words) if len(word) >= LONG}
    pair_counts, words_with = _index(words, counts)
    heap = [(-count, pair) for pair, count in pair_counts.items() if count >= LEAST_COUNT]
    heapq.heapify(heap)
    while heap:
        negative, pair = heapq.heappop(heap)
        count = pair_counts[pair]
        if count != -negative:
            if count >= LEAST_COUNT:
                heapq.heappush(heap, (-count, pair))
            continue
        left, right = tokens[ord(pair[0])], tokens[ord(pair[1])]
        if left + right == UNK_TOKEN:
            continue  # text that spells <unk> must not get its id
        yield left, right
        joined = chr(len(tokens))
        tokens.append(left + right)
        grown: set[str] = set()
        for index in words_with.pop(pair):
            old, count = words[index], counts[index]
            if index in long_words:
                for neighbours, change in long_words[index].merge(pair, joined).items():
                    pair_counts[neighbours] = pair_counts.get(neighbours, 0) + change * count
                    if joined in neighbours:
                        words_with.setdefault(neighbours, set()).add(index)
                        grown.add(neighbours)
                continue
            new = old.replace(pair, joined)
            words[index] = new
            for i in range(len(old) - 1):
                pair_counts[old[i : i + 2]] -= count
            for i in range(len(new) - 1):
                neighbours = new[i : i + 2]
                pair_counts[neighbours] = pair_counts.get(neighbours, 0) + count
                if joined in neighbours:
                    words_with.setdefault(neighbours, set()).add(index)
                    grown.add(neighbours)
        del pair_counts[pair]
        for neighbours in grown:
            if pair_counts[neighbours] >= LEAST_COUNT:
                heapq.heappush(heap, (-pair_counts[neighbours], neighbours))


def _index(words: list[str], counts: list[int]) -> tuple[dict[str, int], dict[str, set[int]]]:
    """Count each pair, and list the words that contain it."""
    pair_counts: dict[str, int] = {}
    words_with: dict[str, set[int]] = {}
    for index, word in enumerate(words):
        for i in range(len(word) - 1):
            pair = word[i : i + 2]
            pair_counts[pair] = pair_counts.get(pair, 0) + counts[index]
            words_with.setdefault(pair, set()).add(index)
    return pair_counts, words_with
