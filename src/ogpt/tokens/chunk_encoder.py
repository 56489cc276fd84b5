"""Texts to arrays of ids: each distinct chunk of text, and each word, is encoded once.

Many times faster than the Rust library alone, and the ids are the same wherever an added token
cannot reach over white space (`chunks` says why).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer

from ogpt.tokens.chunks import chunk_lists, has_controls, plain_words, without_surrogates

REMEMBERED = 1_000_000
"""Chunks in the table at most (about 150 MB) before it starts anew."""
_AT_ONCE = 1 << 22  # characters

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
        added = tokenizer.get_added_tokens_decoder().values()
        self.by_chunk = all(map(_stays_in_chunk, added))
        self._added = re.compile("|".join(re.escape(token.content) for token in added), re.I)
        self._table: dict[str, bytes] = {}

    def __reduce__(self) -> tuple[object, ...]:
        return (ChunkEncoder, (self.tokenizer, self.remembered))

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text, writable arrays of `dtype`."""
        found: list[list[bytes]] = [[] for _ in texts]
        pending: list[tuple[int, list[str]]] = []
        waiting = 0
        for index, text in enumerate(texts):
            if not self.by_chunk or has_controls(text):
                found[index].extend(self._encode([text]))
                continue
            for part in chunk_lists(text):
                pending.append((index, part))
                waiting += len(text)
                if waiting > _AT_ONCE:
                    self._look_up(pending, found)
                    pending, waiting = [], 0
        self._look_up(pending, found)
        return [np.frombuffer(bytearray().join(parts), dtype=self.dtype) for parts in found]

    def _look_up(self, pending: list[tuple[int, list[str]]], found: list[list[bytes]]) -> None:
        look_up = self._knowing([part for _, part in pending])
        for index, part in pending:
            found[index].append(b"".join(map(look_up, part)))

    def _knowing(self, parts: list[list[str]]) -> Callable[[str], bytes]:
        """A look-up that knows every chunk of `parts`."""
        table = self._table
        wanted = set().union(*parts)
        missing = [chunk for chunk in wanted if chunk not in table]
        if missing and len(table) + len(missing) > self.remembered:
            table, missing = {}, list(wanted)
            self._table = table
        self._learn(table, missing)
        return table.__getitem__

    def _learn(self, table: dict[str, bytes], chunks: list[str]) -> None:
        """Put chunks into the table: put together from their words where these are plain."""
        parts = {chunk: self._parts(chunk) for chunk in chunks}
        unknown = [part for part in set().union(*parts.values()) if part not in table]
        table.update(zip(unknown, self._encode(unknown), strict=True))
        for chunk, words in parts.items():
            table[chunk] = b"".join([table[word] for word in words])

    def _parts(self, chunk: str) -> list[str]:
        words = plain_words(chunk)
        return [chunk] if words is None or self._added.search(chunk) else words

    def _encode(self, texts: list[str]) -> list[bytes]:
        texts = [without_surrogates(text) for text in texts]
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(encoding.ids, dtype=self.dtype).tobytes() for encoding in encodings]


def _stays_in_chunk(token: AddedToken) -> bool:
    """Whether an added token matches inside one chunk, whatever surrounds the chunk.

    Not if it holds white space or takes in what surrounds it, nor perhaps if it is matched after
    normalisation, which puts spaces round ideographs.
    """
    one_chunk = token.content.split() == [token.content] and (
        token.content.isascii() or not token.normalized
    )
    return one_chunk and not (token.single_word or token.lstrip or token.rstrip)
