"""Exact duplicates and the split into training and validation text, by hashes of the content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.data.documents import Document

Digests = NDArray[np.uint64]


class Seen:
    """The digests of all documents so far, in 8 bytes each (16 while two runs are merged).

    Two documents with equal digests of 64 bits count as copies. Among 100 million documents, the
    chance of one such mistake is 1 in 3,700. A Python set would take several times as much memory.
    """

    def __init__(self) -> None:
        self._runs: list[Digests] = []  # each sorted, each over twice as long as the next

    def add(self, digests: Digests) -> NDArray[np.bool_]:
        """Add digests (N,); return which of them are new, (N,), the first of several equal ones."""
        values, first = np.unique(digests, return_index=True)
        known = np.zeros(len(values), bool)
        for run in self._runs:
            known |= run[np.searchsorted(run, values).clip(max=len(run) - 1)] == values
        new = np.zeros(len(digests), bool)
        new[first[~known]] = True
        if not known.all():
            self._runs.append(values[~known])
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            merged = np.concatenate([self._runs.pop(), self._runs.pop()])
            merged.sort(kind="stable")  # merges sorted runs in linear time
            self._runs.append(merged)
        return new


class Hash(NamedTuple):
    """What follows from the content of a document."""

    digest: int
    """64 bits; equal for copies."""
    share: float
    """Uniform in [0, 1): documents below valid_fraction are held out. The split is a function of
    the content, so text that is added later does not move documents between the splits."""


def hash_text(content: bytes) -> Hash:
    """Hash a document's UTF-8 bytes; the same on every machine."""
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return Hash(int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little") / 2**64)


class HeldOut(NamedTuple):
    """Where the validation text starts, in a text with too few documents to choose from."""

    document: int
    """The document in which it starts; all later ones are held out."""
    share: float
    """Share of that document that is held out, at its end."""
    n_bytes: int
    """Approximate size of the validation text."""

    def cut(self, text: str) -> int:
        """Index of the first character of the document that is held out.

        The cut is after a paragraph, a line or a word, whichever is near; otherwise before the last
        word.
        """
        wanted = round(len(text) * (1 - self.share))
        for mark in ("\n\n", "\n", " "):
            at = text.find(mark, wanted, (wanted + len(text)) // 2)
            if at != -1:
                return at + len(mark)
        return text.rstrip().rfind(" ") + 1


def find_held_out(documents: Iterable[Document], fraction: float) -> HeldOut | None:
    """None if the hash gives both splits a document; otherwise where to cut the text.

    Reading ends as soon as both splits have a document, after some dozens of them. Only a text with
    fewer documents is read whole.
    """
    seen = Seen()
    sizes: list[tuple[int, int]] = []
    sides = set()
    for number, document in enumerate(documents):
        content = document.text.encode()
        digest, share = hash_text(content)
        sides.add(share < fraction)
        if len(sides) == 2:
            return None
        if seen.add(np.array([digest], np.uint64))[0]:
            sizes.append((number, len(content)))
    wanted = fraction * sum(size for _, size in sizes)
    left = wanted
    for number, size in reversed(sizes):
        if size >= left:
            return HeldOut(number, left / size, round(wanted))
        left -= size
    return None
