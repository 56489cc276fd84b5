"""Texts to arrays of ids by EnglishWords: each distinct chunk, and each word, is encoded once."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from threading import Lock

import numpy as np
from tokenizers import Tokenizer

from ogpt.tokens.chunk_encoder import Ids, Unread
from ogpt.tokens.english_words import EnglishWords

REMEMBERED = 500_000
"""Chunks in the table at most (some 100 MB) before it starts anew."""
_AT_ONCE = 1 << 16  # chunks looked up together


class EnglishEncoder:
    """Encodes with a table of the chunks seen so far.

    Args:
        words: Text to words.
        bpe: A word to ids: a Tokenizer of the BPE model alone.
        remembered: As REMEMBERED.
    """

    def __init__(self, words: EnglishWords, bpe: Tokenizer, remembered: int = REMEMBERED) -> None:
        self.words = words
        self.bpe = bpe
        self.remembered = remembered
        small = bpe.get_vocab_size() <= 1 << 16
        self.dtype: type[np.uint16] | type[np.uint32] = np.uint16 if small else np.uint32
        self._typecode = "H" if small else "I"  # as dtype; quicker than an array of NumPy's
        self._lock = Lock()
        self._begin()

    def __reduce__(self) -> tuple[object, ...]:
        return (EnglishEncoder, (self.words, self.bpe, self.remembered))

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text, writable arrays of `dtype`; one thread at a time."""
        found: list[list[bytes]] = [[] for _ in texts]
        unread: list[Unread] = []
        waiting = 0
        with self._lock:
            for parts, text in zip(found, texts, strict=True):
                for chunks in self._groups(text):
                    try:
                        parts.append(b"".join(map(self._table.__getitem__, chunks)))
                    except KeyError:  # something new, or something that depends on its neighbours
                        unread.append((parts, len(parts), chunks))
                        parts.append(b"")
                        waiting += len(chunks)
                        if waiting >= _AT_ONCE:
                            self._read(unread)
                            unread, waiting = [], 0
            self._read(unread)
        return [np.frombuffer(bytearray().join(parts), self.dtype) for parts in found]

    def _groups(self, text: str) -> Iterator[list[str]]:
        """The chunks of whole lines, many at once."""
        group: list[str] = []
        for line in self.words.lines(text):
            group += line
            if len(group) >= _AT_ONCE:
                yield group
                group = []
        if group:
            yield group

    def _read(self, unread: Sequence[Unread]) -> None:
        """Put the ids of chunks in their places, learning what is new."""
        self._learn(set(chain.from_iterable(chunks for _, _, chunks in unread)))
        for parts, place, chunks in unread:
            if self._dependent.keys().isdisjoint(chunks):
                parts[place] = b"".join(map(self._table.__getitem__, chunks))
            else:
                apart = self.words.read_apart(chunks, self._dependent.__contains__)
                parts[place] = b"".join(map(self._ids_of, apart))

    def _ids_of(self, chunk: str) -> bytes:
        """The ids of a chunk, or of neighbours joined by a space."""
        known = self._table.get(chunk) or self._dependent.get(chunk)
        if known is None:
            words, _ = self.words.read(chunk)
            self._learn_words([words])
            known = self._dependent[chunk] = self._joined(words)
        return known

    def _learn(self, chunks: set[str]) -> None:
        """Put chunks into the tables."""
        missing = [one for one in chunks if one not in self._table and one not in self._dependent]
        if missing and len(self._table) + len(self._dependent) + len(missing) > self.remembered:
            self._begin()
            missing = list(chunks)
        dependent = set()
        found = {}  # of strings alone, so that the garbage collector has nothing to look through
        for chunk in missing:
            found[chunk], depends = self.words.read(chunk)
            if depends:
                dependent.add(chunk)
        self._learn_words(found.values())
        for chunk, words in found.items():
            (self._dependent if chunk in dependent else self._table)[chunk] = self._joined(words)

    def _learn_words(self, texts: Iterable[str]) -> None:
        """Encode the words of texts that have a space between two."""
        words = set(chain.from_iterable(text.split(" ") for text in texts))
        missing = [word for word in words if word not in self._word_table]
        encoded = self.bpe.encode_batch_fast(missing, add_special_tokens=False)
        for word, encoding in zip(missing, encoded, strict=True):
            self._word_table[word] = array(self._typecode, encoding.ids).tobytes()

    def _joined(self, words: str) -> bytes:
        return b"".join(map(self._word_table.__getitem__, words.split(" ")))

    def _begin(self) -> None:
        self._table: dict[str, bytes] = {}
        self._dependent: dict[str, bytes] = {}  # read here as if they stood alone
        self._word_table: dict[str, bytes] = {}
