"""Texts are tokenized and written as shards, in steps that a killed process can resume.

Every `shard_tokens` tokens the shards so far are written, then the manifest that makes them count.
A resumed run starts from the manifest and ends with the same bytes as an uninterrupted one.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.data.encoding import encode_documents
from ogpt.data.manifest import (
    SPLITS,
    Manifest,
    Shard,
    has_manifest,
    read_manifest,
    shard_names,
)
from ogpt.data.shards import check_sizes
from ogpt.data.split_reader import SplitText, TextGroup
from ogpt.errors import DataError, OutputExists
from ogpt.storage import held_names, whole_file, whole_folder
from ogpt.tokens.bpe_tokenizer import BPETokenizer

TokenIds = NDArray[Any]


def start_manifest(out: Path, inputs: dict[str, Any]) -> Manifest:
    """The manifest to start from: a new one, or that of the same work, unfinished or finished.

    Raises:
        OutputExists: `out` holds shards of other inputs, or something else.
        DamagedData: `out` holds a damaged manifest or shard.
    """
    if has_manifest(out):
        manifest = read_manifest(out)
        if manifest.inputs == inputs:
            check_sizes(out, manifest)
            return manifest
        if manifest.documents_read:
            changed = [name for name in inputs if manifest.inputs.get(name) != inputs[name]]
            raise OutputExists(
                f"{out} holds shards of other inputs: {', '.join(changed)} differ",
                hint="choose another --out, or delete the folder",
            )
    elif held_names(out):
        raise OutputExists(
            f"{out} exists and holds no shards", hint="choose another --out, or delete it"
        )
    # uint16 halves the disk and the page cache, and holds GPT-1's 40,478 entries
    dtype = "uint16" if inputs["tokenizer"]["vocab_size"] <= 1 << 16 else "uint32"
    return Manifest(inputs, dtype)


def encode_ahead(
    groups: Iterator[TextGroup], tokenizer: BPETokenizer
) -> Iterator[tuple[TextGroup, Sequence[TokenIds]]]:
    """Tokenize each group in another thread while the next one is read.

    One group ahead is enough: the Rust core releases the GIL and uses all cores by itself.
    """
    waiting: deque[tuple[TextGroup, Future[Sequence[TokenIds]]]] = deque()
    with ThreadPoolExecutor(1, "ogpt-tokenize") as worker:
        for group in groups:
            texts = [each.text for each in group.texts]
            origins = [each.origin for each in group.texts]
            waiting.append((group, worker.submit(encode_documents, tokenizer, texts, origins)))
            if len(waiting) > 1:
                earlier, ids = waiting.popleft()
                yield earlier, ids.result()
        for group, ids in waiting:
            yield group, ids.result()


class ShardWriter:
    """Collects the ids of both splits and writes them as shards.

    Args:
        out: Folder of the shards.
        manifest: What is done already.
        tokenizer: The tokenizer, a copy of which is kept with the shards.
        shard_tokens: Number of tokens after which shards are written.
    """

    def __init__(
        self, out: Path, manifest: Manifest, tokenizer: BPETokenizer, shard_tokens: int
    ) -> None:
        self.out = out
        self.manifest = manifest
        self.tokenizer = tokenizer
        self.shard_tokens = shard_tokens
        unk = tokenizer.unk_token_id
        self._unknown = -1 if unk is None else unk  # a byte-level tokenizer has none
        self.dtype = np.dtype(manifest.dtype).newbyteorder("<")
        self._clear()

    def add(self, text: SplitText, ids: TokenIds) -> None:
        """Add one text; a text without tokens (control characters alone) leaves no trace."""
        if len(ids):
            self.ids[text.split].append(ids.astype(self.dtype, copy=False))
            self.n_bytes[text.split] += text.n_bytes
            self.n_unknown[text.split] += int((ids == self._unknown).sum())
            self.n_tokens += len(ids)
        # never between the two sides of a cut document: a resumed run starts after a whole one
        if self.n_tokens >= self.shard_tokens and text.documents_read:
            self._write(text.documents_read)

    def unknown(self, split: str) -> tuple[int, int]:
        """Unknown tokens and all tokens of a split so far, those of a resumed run included."""
        written = self.manifest.splits[split]
        tokens = sum(map(len, self.ids[split]))
        return (
            self.n_unknown[split] + sum(shard.n_unknown for shard in written),
            tokens + sum(shard.n_tokens for shard in written),
        )

    def finish(self, documents_read: int, duplicates: int) -> None:
        """Write the last shards and the complete manifest.

        Raises:
            DataError: a split is empty.
        """
        for split in SPLITS:
            if not (self.manifest.splits[split] or self.ids[split]):
                raise DataError(
                    f"no text is left to {'train on' if split == 'train' else 'validate on'}: "
                    f"{documents_read:,} documents were read, {duplicates:,} of them copies",
                    hint="pass more text with --data, and other text with --valid",
                )
        self._write(documents_read)
        for leftover in self.out.glob(".*.tmp"):  # of a run that was killed while writing
            if leftover.is_file():
                leftover.unlink()
        self.manifest = replace(self.manifest, duplicates=duplicates, complete=True)
        self.manifest.write(self.out)

    def _clear(self) -> None:
        self.ids: dict[str, list[TokenIds]] = {split: [] for split in SPLITS}
        self.n_bytes = dict.fromkeys(SPLITS, 0)
        self.n_unknown = dict.fromkeys(SPLITS, 0)
        self.n_tokens = 0

    def _write(self, documents_read: int) -> None:
        """Write the shards of both splits, then the manifest that makes them count."""
        if not self.manifest.documents_read:
            self._create()
        splits = dict(self.manifest.splits)
        for split in SPLITS:
            if self.ids[split]:
                splits[split] = (*splits[split], self._write_shard(split, len(splits[split])))
        self.manifest = replace(self.manifest, splits=splits, documents_read=documents_read)
        self.manifest.write(self.out)
        self._clear()

    def _create(self) -> None:
        """Write the manifest first, which makes this a folder of shards, then the tokenizer."""
        self.manifest.write(self.out)
        with whole_folder(self.out / "tokenizer") as folder:
            self.tokenizer.save_pretrained(folder)

    def _write_shard(self, split: str, number: int) -> Shard:
        ids = self.ids[split]
        tokens = np.concatenate(ids)
        lengths = np.array([len(document) for document in ids], "<u4")
        file, documents_file = shard_names(split, number)
        return Shard(
            file=file,
            n_tokens=len(tokens),
            sha256=_write_array(self.out / file, tokens),
            documents_file=documents_file,
            n_documents=len(lengths),
            documents_sha256=_write_array(self.out / documents_file, lengths),
            n_bytes=self.n_bytes[split],
            n_unknown=self.n_unknown[split],
        )


def _write_array(path: Path, values: TokenIds) -> str:
    with whole_file(path) as temporary:
        values.tofile(temporary)
    return hashlib.sha256(values.tobytes()).hexdigest()
