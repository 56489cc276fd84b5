"""Documents are split into training and validation text, without exact copies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from ogpt.data.documents import Document, documents
from ogpt.data.duplicates import HeldOut, Seen, hash_text
from ogpt.data.manifest import SPLITS
from ogpt.data.sources import Source

GROUP_CHARACTERS = 1 << 22  # tokenized at once: about a second of work for all cores


class SplitText(NamedTuple):
    """Text of one split: a document, or one side of the document that is cut in two."""

    text: str
    split: str
    n_bytes: int
    documents_read: int
    """Documents read up to the end of this text; 0: the other side of the cut follows."""
    origin: str
    """File, and line or row where there is one."""


class TextGroup(NamedTuple):
    """Texts that are tokenized together."""

    texts: list[SplitText]
    position: int
    """Bytes of all sources read so far."""


class SplitReader:
    """Reads documents in groups, leaves copies out and assigns each other one to a split.

    Args:
        sources: Sources of the text; the validation sources come first.
        n_valid_sources: Number of validation sources; 0: a part of the text is held out.
        fraction: Share of the documents that is held out, chosen by a hash of their content.
        held_out: Where to cut the text, if the hash leaves one split empty.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        n_valid_sources: int,
        fraction: float,
        held_out: HeldOut | None,
    ) -> None:
        self.sources = sources
        self.n_valid_sources = n_valid_sources
        self.fraction = fraction
        self.held_out = held_out
        self.documents_read = 0
        self.duplicates = 0
        self._seen = Seen()
        self._before = [0, *accumulate(source.size for source in sources)]

    def groups(self, done: int) -> Iterator[TextGroup]:
        """Read all documents; the first `done` are only hashed, to recognize their copies."""
        group: list[tuple[Document, bytes]] = []
        characters = 0
        for document in documents(self.sources):
            group.append((document, document.text.encode()))
            characters += len(document.text)
            if characters >= GROUP_CHARACTERS:
                yield self._group(group, done)
                group, characters = [], 0
        if group:
            yield self._group(group, done)

    def share_read(self, split: str, position: int) -> float:
        """Share of a split's text, 0 to 1, that lies before a position in the sources.

        Of a text with one document cut in two it is 0: the size of either side is not known.
        """
        if self.held_out is not None:
            return 0.0
        start, end = 0, self._before[-1]
        if self.n_valid_sources:
            border = self._before[self.n_valid_sources]
            start, end = (border, end) if split == "train" else (0, border)
        return min(max(0.0, (position - start) / (end - start)), 1.0)

    def _group(self, group: Sequence[tuple[Document, bytes]], done: int) -> TextGroup:
        hashes = [hash_text(content) for _, content in group]
        new = self._seen.add(np.array([entry.digest for entry in hashes], np.uint64))
        self.duplicates += len(group) - int(new.sum())
        texts: list[SplitText] = []
        for (document, content), entry, is_new in zip(group, hashes, new.tolist(), strict=True):
            number = self.documents_read
            self.documents_read += 1
            if is_new and number >= done:
                texts += self._split(document, content, entry.share, number)
        last = group[-1][0]
        return TextGroup(texts, self._before[last.source] + last.position)

    def _split(
        self, document: Document, content: bytes, share: float, number: int
    ) -> list[SplitText]:
        if self.n_valid_sources:
            held_out = document.source < self.n_valid_sources
        elif self.held_out is None:
            held_out = share < self.fraction
        elif number == self.held_out.document:
            at = self.held_out.cut(document.text)
            start, end = document.text[:at], document.text[at:]
            return [
                SplitText(start, "train", len(start.encode()), 0, document.origin),
                SplitText(end, "valid", len(end.encode()), number + 1, document.origin),
            ]
        else:
            held_out = number > self.held_out.document
        split = SPLITS[held_out]
        return [SplitText(document.text, split, len(content), number + 1, document.origin)]
