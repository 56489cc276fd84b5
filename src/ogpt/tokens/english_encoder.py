"""Encode texts to arrays of ids with EnglishWords; distinct chunks and words only once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from threading import Lock

import numpy as np
from tokenizers import Tokenizer

from ogpt.tokens.chunk_encoder import AT_ONCE, Ids, Unread, dtype_of_ids, ids_as_bytes
from ogpt.tokens.english_words import EnglishWords

REMEMBERED = 500_000
"""Maximum number of chunks in the tables (about 100 MB); full tables are cleared."""


class EnglishEncoder:
    """Encodes with tables of the chunks and words seen so far.

    Args:
        words: Splits text into words.
        bpe: Encodes a word: a Tokenizer with only the BPE model.
        remembered: Maximum number of chunks in the tables.
    """

    def __init__(self, words: EnglishWords, bpe: Tokenizer, remembered: int = REMEMBERED) -> None:
        self.words = words
        self.bpe = bpe
        self.remembered = remembered
        self.dtype = dtype_of_ids(bpe.get_vocab_size())
        self._lock = Lock()
        self._begin()

    def __reduce__(self) -> tuple[object, ...]:
        return (EnglishEncoder, (self.words, self.bpe, self.remembered))

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text as writable arrays of `dtype`; one thread at a time."""
        found: list[list[bytes]] = [[] for _ in texts]
        unread: list[Unread] = []
        waiting = 0
        with self._lock:
            for parts, text in zip(found, texts, strict=True):
                for chunks in self._groups(text):
                    try:
                        parts.append(b"".join(map(self._table.__getitem__, chunks)))
                    except KeyError:  # a new chunk, or one that depends on its neighbours
                        unread.append((parts, len(parts), chunks))
                        parts.append(b"")
                        waiting += len(chunks)
                        if waiting >= AT_ONCE:
                            self._read(unread)
                            unread, waiting = [], 0
            self._read(unread)
        return [np.frombuffer(bytearray().join(parts), self.dtype) for parts in found]

    def _groups(self, text: str) -> Iterator[list[str]]:
        """Yield the chunks of many whole lines at once."""
        group: list[str] = []
        for line in self.words.lines(text):
            group += line
            if len(group) >= AT_ONCE:
                yield group
                group = []
        if group:
            yield group

    def _read(self, unread: Sequence[Unread]) -> None:
        """Fill in the ids of unread chunks, adding new ones to the tables."""
        self._learn(set(chain.from_iterable(chunks for _, _, chunks in unread)))
        for parts, place, chunks in unread:
            if self._dependent.keys().isdisjoint(chunks):
                parts[place] = b"".join(map(self._table.__getitem__, chunks))
            else:
                apart = self.words.read_apart(chunks, self._dependent.__contains__)
                parts[place] = b"".join(map(self._ids_of, apart))

    def _ids_of(self, chunk: str) -> bytes:
        """Return the ids of a chunk, or of neighbours joined by spaces."""
        known = self._table.get(chunk) or self._dependent.get(chunk)
        if known is None:
            words, _ = self.words.read(chunk)
            self._learn_words([words])
            known = self._dependent[chunk] = self._joined(words)
        return known

    def _learn(self, chunks: set[str]) -> None:
        """Add chunks to the tables."""
        missing = [one for one in chunks if one not in self._table and one not in self._dependent]
        if missing and len(self._table) + len(self._dependent) + len(missing) > self.remembered:
            self._begin()
            missing = list(chunks)
        dependent = set()
        found = {}  # plain strings: the garbage collector would traverse millions of lists
        for chunk in missing:
            found[chunk], depends = self.words.read(chunk)
            if depends:
                dependent.add(chunk)
        self._learn_words(found.values())
        for chunk, words in found.items():
            (self._dependent if chunk in dependent else self._table)[chunk] = self._joined(words)

    def _learn_words(self, texts: Iterable[str]) -> None:
        """Encode the words of texts, which single spaces separate."""
        words = set(chain.from_iterable(text.split(" ") for text in texts))
        missing = [word for word in words if word not in self._word_table]
        encoded = self.bpe.encode_batch_fast(missing, add_special_tokens=False)
        for word, encoding in zip(missing, encoded, strict=True):
            self._word_table[word] = ids_as_bytes(encoding.ids, self.dtype)

    def _joined(self, words: str) -> bytes:
        return b"".join(map(self._word_table.__getitem__, words.split(" ")))

    def _begin(self) -> None:
        self._table: dict[str, bytes] = {}
        self._dependent: dict[str, bytes] = {}  # ids as if each chunk stood alone
        self._word_table: dict[str, bytes] = {}
