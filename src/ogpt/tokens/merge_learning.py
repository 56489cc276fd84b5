"""Learning merges: join the most frequent pair of neighbours, again and again (Sennrich, 2016).

While learning, a symbol is one character of a Python string, chr(its id in the vocabulary). A word
is then a short string, a merge is `str.replace`, and a pair is a string of length two. Each merge
touches only the words that hold the pair, found through an index from pair to words.
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
from ogpt.tokens.vocabulary import END_OF_WORD, UNK_TOKEN

ALPHABET_LIMIT = 1_000
LEAST_COUNT = 2


def learn_merges(
    word_counts: Mapping[str, int],
    vocab_size: int,
    reporter: Reporter = silent,
    *,
    alphabet_limit: int = ALPHABET_LIMIT,
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn a vocabulary of `vocab_size` entries from words and how often each occurs.

    The vocabulary is laid out as GPT-1's: `<unk>` is 0, then the characters in the order of
    their code points, the same characters ending a word (`</w>`), and the merges in order. The
    result depends on the counts alone: of the most frequent pairs, the one with the lower left id,
    then the lower right id, is joined first. A word is encoded exactly as it stood when learning
    ended: what a stretch of text becomes does not depend on its surroundings as long as no merge
    crosses its ends, so no two merges make the same symbol.

    Args:
        word_counts: words as the pre-tokenisation gives them, lower-cased; counts from 1.
        vocab_size: entries in all.
        reporter: receives `progress` events.
        alphabet_limit: characters kept, the most frequent; the others will be read as unknown.

    Returns:
        The vocabulary (token to id) and the merges, both in order of rank. Fewer entries than
        asked, with a notice, where no pair occurs twice any more.

    Raises:
        TokenizerError: no words, or a vocab_size that does not hold the characters.
    """
    alphabet = _alphabet(word_counts, alphabet_limit)
    _check_size(vocab_size, 1 + 2 * len(alphabet))
    tokens = [UNK_TOKEN, *alphabet, *(char + END_OF_WORD for char in alphabet)]
    words, counts = _as_symbols(word_counts, alphabet)
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
    if len(merges) < total:
        notices.tell("fewer-merges", entries=len(tokens), asked=vocab_size)
    return {token: index for index, token in enumerate(tokens)}, merges


def _alphabet(word_counts: Mapping[str, int], limit: int) -> list[str]:
    """The `limit` most frequent characters, in the order of their code points."""
    frequency: Counter[str] = Counter()
    for word, count in word_counts.items():
        for char in word:
            frequency[char] += count
    by_frequency = sorted(frequency, key=lambda char: (-frequency[char], char))
    if len(by_frequency) > limit:
        notices.tell("characters-left-out", count=len(by_frequency) - limit)
    return sorted(by_frequency[:limit])


def _check_size(vocab_size: int, least: int) -> None:
    if least == 1:
        raise TokenizerError(
            "there are no words to learn a vocabulary from",
            hint="give a source that holds text",
        )
    if not least <= vocab_size <= sys.maxunicode:
        raise TokenizerError(
            f"vocab_size is {vocab_size}; allowed: {least} (<unk> and every character of the text, "
            f"inside and at the end of a word) to {sys.maxunicode}",
            hint=f"ask for at least {least} entries, or give text with fewer different characters",
        )


def _as_symbols(word_counts: Mapping[str, int], alphabet: list[str]) -> tuple[list[str], list[int]]:
    """Words as strings of chr(id), cut where a character is outside the alphabet."""
    inside = {ord(char): chr(1 + index) for index, char in enumerate(alphabet)}
    ending = {char: chr(1 + len(alphabet) + index) for index, char in enumerate(alphabet)}
    unknown = chr(0)
    words: list[str] = []
    counts: list[int] = []
    table = _Unknown(inside)
    for word, count in word_counts.items():
        symbols = word[:-1].translate(table) + ending.get(word[-1], unknown)
        for piece in symbols.split(unknown):
            if len(piece) > 1:  # a single symbol has no neighbours
                words.append(piece)
                counts.append(count)
    return words, counts


class _Unknown(dict[int, str]):
    """A table for str.translate that gives chr(0) for the characters it does not know."""

    def __missing__(self, key: int) -> str:
        return chr(0)


def _best_pairs(
    words: list[str], counts: list[int], tokens: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield the best pair, then join it in all words and append it to `tokens`; and again.

    The heap holds (-count, pair) as counted when the pair last grew; counts only fall afterwards,
    so an entry that is out of date is put back with its true count when it comes up.
    """
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
            continue  # text that spells the unknown token is not the unknown token
        yield left, right
        joined = chr(len(tokens))
        tokens.append(left + right)
        grown: set[str] = set()
        for index in words_with.pop(pair):
            old, count = words[index], counts[index]
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
    """How often each pair occurs, and in which words."""
    pair_counts: dict[str, int] = {}
    words_with: dict[str, set[int]] = {}
    for index, word in enumerate(words):
        for i in range(len(word) - 1):
            pair = word[i : i + 2]
            pair_counts[pair] = pair_counts.get(pair, 0) + counts[index]
            words_with.setdefault(pair, set()).add(index)
    return pair_counts, words_with
