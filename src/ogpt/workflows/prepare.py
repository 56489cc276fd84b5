"""`ogpt prepare`: text becomes shards of token ids, so that training need not tokenise.

One thread reads, hashes and writes while another tokenises. Every shard_tokens tokens the shards
so far and the manifest are written, whole or not at all; a killed run goes on from there and ends
with the same bytes as one that was left alone.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.config.pretrain_settings import DataSettings
from ogpt.data.documents import Document, documents
from ogpt.data.duplicates import HeldOut, Seen, find_held_out, hash_text
from ogpt.data.manifest import NAME, SPLITS, Manifest, Shard, read_manifest, shard_names
from ogpt.data.shards import Shards, check_sizes
from ogpt.data.sources import Source, Specs, open_sources
from ogpt.errors import DataError, OutputExists
from ogpt.notices import tell
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import only_writer, whole_file, whole_folder
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.open_tokenizer import open_tokenizer

SHARD_TOKENS = 1 << 24
BATCH_CHARACTERS = 1 << 22  # tokenised at once: enough for all cores, a second or so of work

Ids = NDArray[Any]


class Piece(NamedTuple):
    """Text for one split: a document, or one side of the document that is cut in two."""

    text: str
    split: str
    n_bytes: int
    documents_read: int
    """Documents read up to the end of this piece; 0: the other side of the cut follows."""


class Batch(NamedTuple):
    """Pieces that are tokenised together."""

    pieces: list[Piece]
    position: int
    """Bytes of all sources read so far."""


def prepare(
    data: Specs,
    tokenizer: str | Path | BPETokenizer,
    out: str | Path,
    *,
    valid: Specs = (),
    settings: DataSettings | None = None,
    shard_tokens: int = SHARD_TOKENS,
    reporter: Reporter = silent,
) -> Shards:
    """Tokenise text into a folder of shards, or go on with one that is unfinished.

    Exact copies of a document are left out. Memory does not grow with the size of the text, but
    by 8 bytes for each document.

    Args:
        data: sources of the training text (see `open_sources`).
        tokenizer: a tokenizer or the folder of one.
        out: the folder to make; if it holds the finished shards of the same inputs, they are used.
        valid: sources of the validation text; without them, settings.valid_fraction of the
            documents are held out, chosen by a hash of their content.
        settings: encoding and valid_fraction.
        shard_tokens: tokens after which shards are written; each file holds about as many.
        reporter: told how many bytes of the sources are done.

    Raises:
        DataError: sources that cannot be read, or too little text.
        OutputExists: `out` holds something else, or another process writes into it.
        StorageError: the disk is full or refuses; run again, what is done is kept.
    """
    settings = settings or DataSettings()
    out = Path(out)
    if isinstance(tokenizer, str | Path):
        tokenizer = open_tokenizer(tokenizer)
    valid_sources = open_sources(valid, settings.encoding) if valid else []
    train_sources = open_sources(data, settings.encoding)
    inputs = {
        "data": [source.describe() for source in train_sources],
        "valid": [source.describe() for source in valid_sources],
        "encoding": settings.encoding,
        "valid_fraction": None if valid else settings.valid_fraction,
        "tokenizer": {
            "fingerprint": tokenizer.fingerprint,
            "vocab_size": len(tokenizer),
            "pre_tokenizer": tokenizer.pre_tokenizer,
        },
        "shard_tokens": shard_tokens,
    }
    with only_writer(out):
        return _prepare(out, inputs, tokenizer, train_sources, valid_sources, settings, reporter)


def _prepare(
    out: Path,
    inputs: dict[str, Any],
    tokenizer: BPETokenizer,
    train_sources: Sequence[Source],
    valid_sources: Sequence[Source],
    settings: DataSettings,
    reporter: Reporter,
) -> Shards:
    manifest = _begin(out, inputs)
    if manifest.complete:
        reporter("message", text=f"{out} holds the shards of this text already")
        return Shards.open(out)
    held_out = None
    if not valid_sources:
        held_out = find_held_out(documents(train_sources), settings.valid_fraction)
        if held_out:
            tell("no-held-out-text", bytes=held_out.n_bytes)

    # validation text first: of a text on both sides, the copy for training is the one left out
    sources = [*valid_sources, *train_sources]
    reader = _Reader(sources, len(valid_sources), settings.valid_fraction, held_out)
    writer = _Writer(out, manifest, tokenizer, inputs["shard_tokens"])
    progress = Progress(reporter, "tokenising", sum(source.size for source in sources))
    for batch, ids in _encode(reader.batches(manifest.documents_read), tokenizer):
        for piece, piece_ids in zip(batch.pieces, ids, strict=True):
            writer.add(piece, piece_ids)
        progress(batch.position)
    writer.finish(reader.documents_read, reader.duplicates)
    progress(progress.total)
    if reader.duplicates:
        copies = f"{reader.duplicates:,} of {reader.documents_read:,} documents"
        reporter("message", text=f"{copies} were exact copies of others and are left out")
    shards = Shards.open(out)
    for split, stream in (("train", shards.train), ("valid", shards.valid)):
        held = f"{len(stream):,} tokens of {stream.n_documents:,} documents"
        reporter("message", text=f"{split}: {held}")
    return shards


def _begin(out: Path, inputs: dict[str, Any]) -> Manifest:
    """The manifest to go on from: a new one, or that of the same work begun or done before."""
    if (out / NAME).exists():
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
    elif any(not entry.name.startswith(".") for entry in out.iterdir()):
        raise OutputExists(
            f"{out} is there and holds no shards", hint="choose another --out, or delete it"
        )
    dtype = "uint16" if inputs["tokenizer"]["vocab_size"] <= 1 << 16 else "uint32"
    return Manifest(inputs, dtype)


class _Reader:
    """Reads documents, leaves copies out and says for which split the others are."""

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

    def batches(self, done: int) -> Iterator[Batch]:
        """Read all documents; the first `done` are only remembered, to know their copies."""
        group: list[tuple[Document, bytes]] = []
        characters = 0
        for document in documents(self.sources):
            group.append((document, document.text.encode()))
            characters += len(document.text)
            if characters >= BATCH_CHARACTERS:
                yield self._batch(group, done)
                group, characters = [], 0
        if group:
            yield self._batch(group, done)

    def _batch(self, group: Sequence[tuple[Document, bytes]], done: int) -> Batch:
        hashes = [hash_text(content) for _, content in group]
        new = self._seen.add(np.array([entry.digest for entry in hashes], np.uint64))
        self.duplicates += len(group) - int(new.sum())
        pieces: list[Piece] = []
        for (document, content), entry, is_new in zip(group, hashes, new.tolist(), strict=True):
            number = self.documents_read
            self.documents_read += 1
            if is_new and number >= done:
                pieces += self._pieces(document, content, entry.share, number)
        last = group[-1][0]
        return Batch(pieces, self._before[last.source] + last.position)

    def _pieces(self, document: Document, content: bytes, share: float, number: int) -> list[Piece]:
        if self.n_valid_sources:
            held_out = document.source < self.n_valid_sources
        elif self.held_out is None:
            held_out = share < self.fraction
        elif number == self.held_out.document:
            at = self.held_out.cut(document.text)
            begin, end = document.text[:at], document.text[at:]
            return [
                Piece(begin, "train", len(begin.encode()), 0),
                Piece(end, "valid", len(end.encode()), number + 1),
            ]
        else:
            held_out = number > self.held_out.document
        return [Piece(document.text, SPLITS[held_out], len(content), number + 1)]


def _encode(
    batches: Iterator[Batch], tokenizer: BPETokenizer
) -> Iterator[tuple[Batch, Sequence[Ids]]]:
    """Tokenise each batch in another thread while the next one is read."""
    waiting: deque[tuple[Batch, Future[Sequence[Ids]]]] = deque()
    with ThreadPoolExecutor(1, "ogpt-tokenise") as worker:
        for batch in batches:
            texts = [piece.text for piece in batch.pieces]
            waiting.append((batch, worker.submit(tokenizer.encode_batch_arrays, texts)))
            if len(waiting) > 1:
                earlier, ids = waiting.popleft()
                yield earlier, ids.result()
        for batch, ids in waiting:
            yield batch, ids.result()


class _Writer:
    """Collects the ids of both splits and writes them as shards."""

    def __init__(
        self, out: Path, manifest: Manifest, tokenizer: BPETokenizer, shard_tokens: int
    ) -> None:
        self.out = out
        self.manifest = manifest
        self.tokenizer = tokenizer
        self.shard_tokens = shard_tokens
        self.dtype = np.dtype(manifest.dtype).newbyteorder("<")
        self._begin()

    def add(self, piece: Piece, ids: Ids) -> None:
        """Take one piece; a piece without tokens (control characters alone) leaves no trace."""
        if len(ids):
            self.ids[piece.split].append(ids.astype(self.dtype, copy=False))
            self.n_bytes[piece.split] += piece.n_bytes
            self.n_tokens += len(ids)
        if self.n_tokens >= self.shard_tokens and piece.documents_read:
            self._write(piece.documents_read)

    def finish(self, documents_read: int, duplicates: int) -> None:
        """Write what is left and the finished manifest."""
        for split in SPLITS:
            if not (self.manifest.splits[split] or self.ids[split]):
                raise DataError(
                    f"no text is left to {'train on' if split == 'train' else 'validate on'}: "
                    f"{documents_read:,} documents were read, {duplicates:,} of them copies",
                    hint="give more text with --data, and other text with --valid",
                )
        self._write(documents_read)
        for leftover in self.out.glob(".*.tmp"):  # of a run that was killed while writing
            if leftover.is_file():
                leftover.unlink()
        self.manifest = replace(self.manifest, duplicates=duplicates, complete=True)
        self.manifest.write(self.out)

    def _begin(self) -> None:
        self.ids: dict[str, list[Ids]] = {split: [] for split in SPLITS}
        self.n_bytes = dict.fromkeys(SPLITS, 0)
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
        self._begin()

    def _create(self) -> None:
        """Write the manifest that tells the folder from others, then the tokenizer."""
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
        )


def _write_array(path: Path, values: Ids) -> str:
    with whole_file(path) as temporary:
        values.tofile(temporary)
    return hashlib.sha256(values.tobytes()).hexdigest()
