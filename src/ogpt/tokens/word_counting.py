"""How often each word occurs in any amount of text, as the bert path splits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ogpt import notices
from ogpt.tokens.chunks import chunk_lists, plain_words, without_controls, without_surrogates
from ogpt.tokens.pipeline import bert_normalizer, bert_pre_tokenizer

TABLE_LIMIT = 2_000_000
"""Different chunks counted at once, about 300 MB."""


def count_words(texts: Iterable[str], *, limit: int = TABLE_LIMIT) -> dict[str, int]:
    """Count the words of all texts; each word is split and lower-cased once per distinct chunk.

    Memory is bounded: when the table holds more than `limit` different white-space separated
    chunks, the rarest are dropped (a notice says so, once) until half the places are free. On
    text of more than about 200 MB the counts of rare words are therefore lower bounds; merges,
    which come from frequent words, hardly change.

    Args:
        texts: any number of texts, read once.
        limit: different chunks kept, at least 2.
    """
    chunks: Counter[str] = Counter()
    pruned = False
    for text in texts:
        for part in chunk_lists(without_controls(text)):
            chunks.update(part)
            if len(chunks) > limit:
                if not pruned:
                    notices.tell("rare-words-dropped", limit=limit)
                    pruned = True
                _drop_rarest(chunks, limit // 2)
    return _words_of(chunks)


def _drop_rarest(chunks: Counter[str], keep: int) -> None:
    """Drop the rarest chunks, equally rare ones together, until at most `keep` are left."""
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


def _words_of(chunks: Counter[str]) -> dict[str, int]:
    normalizer, pre_tokenizer = bert_normalizer(), bert_pre_tokenizer()
    words: dict[str, int] = {}
    for chunk, count in chunks.items():
        found = plain_words(chunk)
        if found is None:
            normal = normalizer.normalize_str(without_surrogates(chunk))
            found = [word for word, _ in pre_tokenizer.pre_tokenize_str(normal)]
        for word in found:
            words[word] = words.get(word, 0) + count
    return words
