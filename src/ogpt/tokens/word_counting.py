"""Count the words of any amount of text in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from ogpt import notices
from ogpt.tokens.bert_words import BertWords
from ogpt.tokens.chunks import LONGEST_WORD, plain_words
from ogpt.tokens.english_words import EnglishWords
from ogpt.tokens.rust_words import RustWords

TABLE_LIMIT = 2_000_000
"""Maximum number of distinct chunks in memory (about 300 MB)."""
_LONG = LONGEST_WORD // 4  # characters: each has at most 4 bytes in UTF-8


def count_words(
    texts: Iterable[str],
    words: RustWords | EnglishWords | None = None,
    *,
    limit: int = TABLE_LIMIT,
) -> dict[str, int]:
    """Count the words of all texts. Only distinct chunks are split into words.

    When the table has more than `limit` distinct chunks, the rarest are dropped until half of it is
    free, with one notice `rare-words-dropped`. For more than about 200 MB of text, the counts of
    rare words are therefore lower bounds. Merges come from frequent words and hardly change.

    Args:
        texts: Any number of texts, read once.
        words: Splits text into words; None uses BERT's rules. The effect of neighbours on a chunk
            of EnglishWords (about 1 in a million) is ignored.
        limit: Maximum number of distinct chunks, at least 2.

    Raises:
        TokenizerError: the text that was read last has a word longer than LONGEST_WORD.
    """
    chunks_of, words_of = _splitting(words or BertWords())
    chunks: Counter[str] = Counter()
    pruned = False
    for text in texts:
        for part in chunks_of(text):
            if len(text) > _LONG:  # words that are too long are refused now, not after all texts
                list(map(words_of, (chunk for chunk in part if len(chunk) > _LONG)))
            chunks.update(part)
            if len(chunks) > limit:
                if not pruned:
                    notices.tell("rare-words-dropped", limit=limit)
                    pruned = True
                _drop_rarest(chunks, limit // 2)
    return _total(chunks, words_of)


def _splitting(
    words: RustWords | EnglishWords,
) -> tuple[Callable[[str], Iterable[list[str]]], Callable[[str], list[str]]]:
    """Return what splits a text into chunks, and a chunk into words."""
    if isinstance(words, EnglishWords):
        return words.lines, lambda chunk: words.read(chunk)[0].split(" ")
    return words.chunks, _bert_words_of(words) if isinstance(words, BertWords) else words


def _drop_rarest(chunks: Counter[str], keep: int) -> None:
    """Drop the rarest chunks until at most `keep` are left; equally rare ones go together."""
    places = Counter(chunks.values())
    left = len(chunks)
    threshold = 0
    for count in sorted(places):
        if left <= keep:
            break
        left -= places[count]
        threshold = count
    rare = [chunk for chunk, count in chunks.items() if count <= threshold]
    for chunk in rare:
        del chunks[chunk]


def _total(chunks: Counter[str], words_of: Callable[[str], list[str]]) -> dict[str, int]:
    words: dict[str, int] = {}
    for chunk, count in chunks.items():
        for word in words_of(chunk):
            words[word] = words.get(word, 0) + count
    return words


def _bert_words_of(bert_words: BertWords) -> Callable[[str], list[str]]:
    def words_of(chunk: str) -> list[str]:
        bert_words.check(chunk)
        words = plain_words(chunk)
        return bert_words(chunk) if words is None else words

    return words_of
