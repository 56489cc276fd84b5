"""Texts to arrays of ids by EnglishWords: each distinct chunk, and each word, is encoded once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from threading import Lock

import numpy as np
from tokenizers import Tokenizer

from ogpt.tokens.chunk_encoder import Ids
from ogpt.tokens.english_words import EnglishWords

REMEMBERED = 500_000
"""Chunks in the table at most (some 100 MB) before it starts anew."""
_AT_ONCE = 1 << 18  # chunks looked up together


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
        self._lock = Lock()
        self._begin()

    def __reduce__(self) -> tuple[object, ...]:
        return (EnglishEncoder, (self.words, self.bpe, self.remembered))

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text, writable arrays of `dtype`; one thread at a time."""
        found: list[list[bytes]] = [[] for _ in texts]
        pending: list[tuple[int, list[str]]] = []
        waiting = 0
        with self._lock:
            for index, text in enumerate(texts):
                for group in self._groups(text):
                    pending.append((index, group))
                    waiting += len(group)
                    if waiting >= _AT_ONCE:
                        self._look_up(pending, found)
                        pending, waiting = [], 0
            self._look_up(pending, found)
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

    def _look_up(self, pending: list[tuple[int, list[str]]], found: list[list[bytes]]) -> None:
        self._learn(set(chain.from_iterable(chunks for _, chunks in pending)))
        if self._dependent:
            pending = [(index, self._apart(chunks)) for index, chunks in pending]
        for index, chunks in pending:
            found[index].append(b"".join(map(self._table.__getitem__, chunks)))

    def _apart(self, chunks: list[str]) -> list[str]:
        """The chunks, joined where one must be read with its neighbours; all in the table."""
        if self._dependent.isdisjoint(chunks):
            return chunks
        apart = self.words.read_apart(chunks, self._dependent.__contains__)
        self._learn(set(apart), forget=False)
        return apart

    def _learn(self, chunks: set[str], *, forget: bool = True) -> None:
        """Put chunks into the table."""
        missing = [chunk for chunk in chunks if chunk not in self._table]
        if forget and missing and len(self._table) + len(missing) > self.remembered:
            self._begin()
            missing = list(chunks)
        found = {chunk: self.words.read(chunk) for chunk in missing}
        self._learn_words(chain.from_iterable(words for words, _ in found.values()))
        for chunk, (words, depends) in found.items():
            self._table[chunk] = b"".join(map(self._word_table.__getitem__, words))
            if depends:
                self._dependent.add(chunk)

    def _learn_words(self, words: Iterable[str]) -> None:
        missing = list(set(words) - self._word_table.keys())
        encoded = self.bpe.encode_batch_fast(missing, add_special_tokens=False)
        for word, encoding in zip(missing, encoded, strict=True):
            self._word_table[word] = np.array(encoding.ids, self.dtype).tobytes()

    def _begin(self) -> None:
        self._table: dict[str, bytes] = {}
        self._word_table: dict[str, bytes] = {}
        self._dependent: set[str] = set()
