"""Texts to arrays of ids: each distinct chunk of text, and each word, is encoded once.

Many times faster than the Rust library alone, and the ids are the same wherever an added token
cannot reach over white space (`chunks` says why).
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer

from ogpt.tokens.chunks import chunk_lists, has_controls, plain_words, without_surrogates

REMEMBERED = 1_000_000
"""Chunks in the table at most (about 150 MB) before it starts anew."""
_AT_ONCE = 1 << 16  # chunks looked up together

Unread = tuple[list[bytes], int, list[str]]
"""Where ids belong (a list and a place in it), and the chunks that they are of."""
Ids = NDArray[np.unsignedinteger[Any]]


class ChunkEncoder:
    """Encodes with a Rust tokenizer and a table of the chunks seen so far.

    Safe to use from several threads: entries are only ever added to a table, and a full table is
    replaced, not emptied.
    """

    def __init__(self, tokenizer: Tokenizer, remembered: int = REMEMBERED) -> None:
        self.tokenizer = tokenizer
        self.remembered = remembered
        small = tokenizer.get_vocab_size() <= 1 << 16
        self.dtype: type[np.uint16] | type[np.uint32] = np.uint16 if small else np.uint32
        self._typecode = "H" if small else "I"  # as dtype; quicker than an array of NumPy's
        added = tokenizer.get_added_tokens_decoder().values()
        self.by_chunk = all(map(_stays_in_chunk, added))
        self._added = re.compile("|".join(re.escape(token.content) for token in added), re.I)
        self._table: dict[str, bytes] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return (ChunkEncoder, (self.tokenizer, self.remembered))

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text, writable arrays of `dtype`."""
        found: list[list[bytes]] = [[] for _ in texts]
        unread: list[Unread] = []
        waiting = 0
        for parts, text in zip(found, texts, strict=True):
            if not self.by_chunk or has_controls(text):
                parts += self._encode([text])
                continue
            for chunks in chunk_lists(text):
                try:
                    parts.append(b"".join(map(self._table.__getitem__, chunks)))
                except KeyError:
                    unread.append((parts, len(parts), chunks))
                    parts.append(b"")
                    waiting += len(chunks)
                    if waiting > _AT_ONCE:
                        self._read(unread)
                        unread, waiting = [], 0
        self._read(unread)
        return [np.frombuffer(bytearray().join(parts), dtype=self.dtype) for parts in found]

    def _read(self, unread: Sequence[Unread]) -> None:
        """Put the ids of chunks in their places, learning what is new."""
        look_up = self._knowing({chunk for _, _, chunks in unread for chunk in chunks})
        for parts, place, chunks in unread:
            parts[place] = b"".join(map(look_up, chunks))

    def _knowing(self, wanted: set[str]) -> Callable[[str], bytes]:
        """A look-up that knows every chunk that is wanted."""
        table = self._table
        missing = [chunk for chunk in wanted if chunk not in table]
        if missing and len(table) + len(missing) > self.remembered:
            table, missing = {}, list(wanted)
            self._table = table
        self._learn(table, missing)
        return table.__getitem__

    def _learn(self, table: dict[str, bytes], chunks: list[str]) -> None:
        """Put chunks into the table: put together from their words where these are plain."""
        # strings alone, so that the garbage collector has nothing to look through
        spelled = {chunk: self._words_of(chunk) for chunk in chunks}
        words = {word for spelling in spelled.values() for word in spelling.split(" ")}
        unknown = [word for word in words if word not in table]
        table.update(zip(unknown, self._encode(unknown), strict=True))
        for chunk, spelling in spelled.items():
            if spelling != chunk:
                table[chunk] = b"".join(map(table.__getitem__, spelling.split(" ")))

    def _words_of(self, chunk: str) -> str:
        """The words of a chunk with a space between; itself where the Rust library must see it."""
        words = plain_words(chunk)
        return chunk if words is None or self._added.search(chunk) else " ".join(words)

    def _encode(self, texts: list[str]) -> list[bytes]:
        texts = [without_surrogates(text) for text in texts]
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [array(self._typecode, encoding.ids).tobytes() for encoding in encodings]


def _stays_in_chunk(token: AddedToken) -> bool:
    """Whether an added token matches inside one chunk, whatever surrounds the chunk.

    Not if it holds white space or takes in what surrounds it, nor perhaps if it is matched after
    normalisation, which puts spaces round ideographs.
    """
    one_chunk = token.content.split() == [token.content] and (
        token.content.isascii() or not token.normalized
    )
    return one_chunk and not (token.single_word or token.lstrip or token.rstrip)
