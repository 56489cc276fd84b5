"""Encode texts to arrays of ids, encoding each distinct chunk of text and each word only once.

This is many times faster than the Rust library alone, because words repeat. The ids are the same as
long as no added token spans white space (see tokens/chunks.py).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer

from ogpt.tokens.chunks import chunk_lists, has_controls, plain_words, without_surrogates

REMEMBERED = 1_000_000
"""Maximum number of chunks in the table (about 150 MB); a full table is cleared."""
AT_ONCE = 1 << 16
"""Unknown chunks per call of the Rust library, which encodes such a batch in parallel."""

Unread = tuple[list[bytes], int, list[str]]
"""Chunks that are not encoded yet, and where their ids go: a list and an index in it."""
Ids = NDArray[np.unsignedinteger[Any]]

IdType = type[np.uint16] | type[np.uint32]


def dtype_of_ids(n_ids: int) -> IdType:
    """Return the smaller of uint16 and uint32 that represents all ids of a vocabulary."""
    return np.uint16 if n_ids <= 1 << 16 else np.uint32


def ids_as_bytes(ids: list[int], dtype: IdType) -> bytes:
    """Convert ids to the bytes of an array, which are compact in a table and fast to join."""
    return array("H" if dtype is np.uint16 else "I", ids).tobytes()  # faster to fill than numpy's


class ChunkEncoder:
    """Encodes with a Rust tokenizer and a table of the chunks seen so far.

    It is thread-safe: entries are only added to a table, and a full table is replaced, not cleared
    in place, so that another thread can finish with the old one.
    """

    def __init__(self, tokenizer: Tokenizer, remembered: int = REMEMBERED) -> None:
        self.tokenizer = tokenizer
        self.remembered = remembered
        self.dtype = dtype_of_ids(tokenizer.get_vocab_size())
        added = tokenizer.get_added_tokens_decoder().values()
        self.by_chunk = all(map(_stays_in_chunk, added))
        self._added = re.compile("|".join(re.escape(token.content) for token in added), re.I)
        self._table: dict[str, bytes] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.tokenizer, self.remembered))

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text as writable arrays of `dtype`."""
        found: list[list[bytes]] = [[] for _ in texts]
        unread: list[Unread] = []
        waiting = 0
        for parts, text in zip(found, texts, strict=True):
            lists = self._chunks(text)
            if lists is None:
                parts += self._encode([text])
                continue
            for chunks in lists:
                try:
                    parts.append(b"".join(map(self._table.__getitem__, chunks)))
                except KeyError:
                    unread.append((parts, len(parts), chunks))
                    parts.append(b"")
                    waiting += len(chunks)
                    if waiting > AT_ONCE:
                        self._read(unread)
                        unread, waiting = [], 0
        self._read(unread)
        return [np.frombuffer(bytearray().join(parts), dtype=self.dtype) for parts in found]

    def _chunks(self, text: str) -> Iterable[list[str]] | None:
        """Return the chunks of a text in several lists; None if they depend on each other."""
        return None if not self.by_chunk or has_controls(text) else chunk_lists(text)

    def _read(self, unread: Sequence[Unread]) -> None:
        """Fill in the ids of unread chunks, adding new ones to the table."""
        look_up = self._knowing({chunk for _, _, chunks in unread for chunk in chunks})
        for parts, place, chunks in unread:
            parts[place] = b"".join(map(look_up, chunks))

    def _knowing(self, wanted: set[str]) -> Callable[[str], bytes]:
        """Return a lookup function that has all wanted chunks."""
        table = self._table
        missing = [chunk for chunk in wanted if chunk not in table]
        if missing and len(table) + len(missing) > self.remembered:
            table, missing = {}, list(wanted)
            self._table = table
        self._learn(table, missing)
        return table.__getitem__

    def _learn(self, table: dict[str, bytes], chunks: list[str]) -> None:
        """Add chunks to the table; ids of a plain chunk are those of its words, encoded once."""
        # plain strings, not lists of words: the garbage collector would traverse millions of lists
        spelled = {chunk: self._words_of(chunk) for chunk in chunks}
        words = {word for spelling in spelled.values() for word in spelling.split(" ")}
        unknown = [word for word in words if word not in table]
        table.update(zip(unknown, self._encode(unknown), strict=True))
        for chunk, spelling in spelled.items():
            if spelling != chunk:
                table[chunk] = b"".join(map(table.__getitem__, spelling.split(" ")))

    def _words_of(self, chunk: str) -> str:
        """Return the words of a chunk joined by spaces, or the chunk if only Rust can split it."""
        words = plain_words(chunk)
        return chunk if words is None or self._added.search(chunk) else " ".join(words)

    def _encode(self, texts: list[str]) -> list[bytes]:
        texts = [without_surrogates(text) for text in texts]
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [ids_as_bytes(encoding.ids, self.dtype) for encoding in encodings]


def _stays_in_chunk(token: AddedToken) -> bool:
    """Return whether an added token always matches inside one chunk.

    It does not if it contains white space or strips its surroundings. It might not if it is matched
    after normalization, which puts spaces around ideographs.
    """
    one_chunk = token.content.split() == [token.content] and (
        token.content.isascii() or not token.normalized
    )
    return one_chunk and not (token.single_word or token.lstrip or token.rstrip)
