"""Shards: a prepared corpus on disk, read through memory maps, so it may be larger than memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.data.manifest import Manifest, Shard, read_manifest, remake
from ogpt.errors import DamagedData
from ogpt.storage import sha256_of

OPEN_FILES = 128  # each memory map holds a file descriptor; a process has about 1,000

Tokens = NDArray[np.unsignedinteger[Any]]


class TokenStream:
    """The tokens of one split, as one sequence over all its shard files.

    Args:
        folder: Folder of the shards.
        shards: The files, in order.
        dtype: uint16 or uint32.
        vocab_size: Entries of the vocabulary; every id must be below it.
    """

    def __init__(self, folder: Path, shards: Sequence[Shard], dtype: str, vocab_size: int) -> None:
        self.folder = folder
        self.shards = tuple(shards)
        self.dtype: np.dtype[np.unsignedinteger[Any]] = np.dtype(dtype).newbyteorder("<")
        self.vocab_size = vocab_size
        self.n_documents = sum(shard.n_documents for shard in shards)
        self.n_bytes = sum(shard.n_bytes for shard in shards)
        """UTF-8 bytes of the original text."""
        self.n_unknown = sum(shard.n_unknown for shard in shards)
        """Tokens that are `<unk>`."""
        self._starts = [0, *accumulate(shard.n_tokens for shard in shards)]
        self._map: Callable[[int], Tokens] = lru_cache(OPEN_FILES)(self._open)

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, span: slice) -> Tokens:
        """The tokens from span.start to span.stop, limited to the stream as any slice is.

        Raises:
            DamagedData: a shard holds an id outside the vocabulary, or cannot be read.
        """
        start, stop, _ = span.indices(len(self))
        parts = []
        while start < stop:
            number = bisect_right(self._starts, start) - 1
            end = min(stop, self._starts[number + 1])
            parts.append(self._read(number, start, end))
            start = end
        return np.concatenate(parts) if parts else np.empty(0, self.dtype)

    @cached_property
    def document_starts(self) -> NDArray[np.int64]:
        """(n_documents,) index of each document's first token."""
        lengths = [np.fromfile(self.folder / shard.documents_file, "<u4") for shard in self.shards]
        ends = np.cumsum(np.concatenate(lengths or [np.empty(0, "<u4")]), dtype=np.int64)
        if len(ends) and ends[-1] != len(self):
            raise DamagedData(
                f"the documents in {self.folder} have {ends[-1]:,} tokens together, its shards "
                f"{len(self):,}; they must be equal",
                hint=remake(self.folder),
            )
        return np.concatenate([np.zeros(1, np.int64), ends])[: self.n_documents]

    def _read(self, number: int, start: int, end: int) -> Tokens:
        first = self._starts[number]
        tokens = self._map(number)[start - first : end - first]
        if int(tokens.max()) >= self.vocab_size:
            raise DamagedData(
                f"{self.folder / self.shards[number].file} holds token {int(tokens.max())}; "
                f"allowed: 0 to {self.vocab_size - 1}",
                hint=remake(self.folder),
            )
        return tokens

    def _open(self, number: int) -> Tokens:
        shard = self.shards[number]
        path = self.folder / shard.file
        try:
            return np.memmap(path, self.dtype, "r", shape=(shard.n_tokens,))
        except (OSError, ValueError) as error:  # deleted or truncated since the folder was opened
            raise DamagedData(
                f"{path} cannot be read: {error}", hint=remake(path.parent)
            ) from error


class Shards:
    """A finished folder of shards.

    Args:
        folder: The folder.
        manifest: Its manifest.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.vocab_size = manifest.vocab_size
        self.fingerprint = manifest.fingerprint
        """Fingerprint of the tokenizer, which says what text an id is."""
        self.tokenizer = folder / "tokenizer"
        """The copy of the tokenizer that made the shards."""
        self.train = self._stream("train")
        self.valid = self._stream("valid")

    @classmethod
    def open(cls, folder: str | Path) -> Shards:
        """Open a folder that `prepare` finished; check the manifest and the size of every file.

        Raises:
            SourceNotFound: the folder has no manifest.
            DamagedData: the manifest or a shard is damaged or missing, or work is unfinished.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        if not manifest.complete:
            raise DamagedData(
                f"the shards in {folder} are unfinished: {manifest.documents_read:,} documents "
                "are done",
                hint="run the same `ogpt prepare` command again; it resumes",
            )
        check_sizes(folder, manifest)
        return cls(folder, manifest)

    def verify(self) -> None:
        """Read every file and compare its sha256 with the manifest's.

        Raises:
            DamagedData: a file was altered.
        """
        for shards in self.manifest.splits.values():
            for shard in shards:
                for name, expected in (
                    (shard.file, shard.sha256),
                    (shard.documents_file, shard.documents_sha256),
                ):
                    seen = sha256_of(self.folder / name)
                    if seen != expected:
                        raise DamagedData(
                            f"{self.folder / name} was altered: its sha256 is {seen}, the "
                            f"manifest has {expected}",
                            hint=remake(self.folder),
                        )

    def _stream(self, split: str) -> TokenStream:
        manifest = self.manifest
        return TokenStream(self.folder, manifest.splits[split], manifest.dtype, self.vocab_size)


def check_sizes(folder: Path, manifest: Manifest) -> None:
    """Check that the shards of the manifest exist, each in its size.

    Raises:
        DamagedData: a file is missing or has another size.
    """
    width = np.dtype(manifest.dtype).itemsize
    for shards in manifest.splits.values():
        for shard in shards:
            for name, expected in (
                (shard.file, shard.n_tokens * width),
                (shard.documents_file, shard.n_documents * 4),
            ):
                path = folder / name
                seen = path.stat().st_size if path.is_file() else None
                if seen != expected:
                    raise DamagedData(
                        f"{path} is missing"
                        if seen is None
                        else f"{path} has {seen:,} bytes; the manifest says {expected:,}",
                        hint=remake(folder),
                    )
