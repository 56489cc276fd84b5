"""`ogpt prepare`: text becomes shards of token ids, so that training need not tokenize."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ogpt.config.pretrain_settings import DataSettings
from ogpt.data.documents import documents
from ogpt.data.duplicates import find_held_out
from ogpt.data.shard_writer import ShardWriter, encode_ahead, start_manifest
from ogpt.data.shards import Shards
from ogpt.data.sources import Source, Specs, open_sources, text_field_input
from ogpt.data.split_reader import SplitReader
from ogpt.data.unknown import notice_unknown, notice_unknown_of, notice_unknown_so_far
from ogpt.notices import tell
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import only_writer, path_of
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.open_tokenizer import open_tokenizer

SHARD_TOKENS = 1 << 24


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
    """Tokenize text into a folder of shards, or resume one that is unfinished.

    Exact copies of a document are skipped. Memory grows by 8 bytes per document, not with the
    size of the text. A killed run resumes with the same call, and ends with the same bytes as an
    uninterrupted one.

    Args:
        data: Sources of the training text (see `ogpt.data.sources.open_sources`).
        tokenizer: A tokenizer or the folder of one.
        out: The folder to make. If it holds the finished shards of the same inputs, they are used.
        valid: Sources of the validation text. Without them, settings.valid_fraction of the
            documents are held out, chosen by a hash of their content.
        settings: Encoding, text_field and valid_fraction.
        shard_tokens: Number of tokens after which shards are written: about the size of a file.
        reporter: Receives progress events.

    Raises:
        DataError: sources that cannot be read, or too little text.
        OutputExists: `out` holds something else, or another process writes into it.
        StorageError: the disk is full or refuses; run again, what is done is kept.
    """
    settings = settings or DataSettings()
    out = path_of(out, "out")
    if isinstance(tokenizer, str | Path):
        tokenizer = open_tokenizer(tokenizer)
    reading: dict[str, Any] = {"text_field": settings.text_field, "out": out}
    valid_sources = open_sources(valid, settings.encoding, **reading) if valid else []
    train_sources = open_sources(data, settings.encoding, **reading)
    inputs = {
        "data": [source.description for source in train_sources],
        "valid": [source.description for source in valid_sources],
        "encoding": settings.encoding,
        **text_field_input(settings.text_field),
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
    manifest = start_manifest(out, inputs)
    if manifest.complete:
        reporter("message", text=f"{out} already holds the shards of this text")
        shards = Shards.open(out)
        notice_unknown_of(shards)
        return shards
    noticed = notice_unknown(tokenizer, train_sources, "the training text")
    if valid_sources:
        noticed |= notice_unknown(tokenizer, valid_sources, "the validation text")
    held_out = None
    if not valid_sources:
        held_out = find_held_out(documents(train_sources), settings.valid_fraction)
        if held_out:
            tell("few-documents", bytes=held_out.n_bytes)

    # Validation text first: of a text in both splits, the copy for training is skipped. The other
    # way round, the model would be tested on what it was trained on.
    sources = [*valid_sources, *train_sources]
    reader = SplitReader(sources, len(valid_sources), settings.valid_fraction, held_out)
    writer = ShardWriter(out, manifest, tokenizer, inputs["shard_tokens"])
    progress = Progress(reporter, "tokenizing", sum(source.size for source in sources))
    for group, ids in encode_ahead(reader.groups(manifest.documents_read), tokenizer):
        for text, text_ids in zip(group.texts, ids, strict=True):
            writer.add(text, text_ids)
        progress(group.position)
        for split, what in (("train", "the training text"), ("valid", "the validation text")):
            if not noticed:  # --strict stops here, not after hours of tokenizing
                read = reader.share_read(split, group.position)
                noticed = notice_unknown_so_far(*writer.unknown(split), read, what)
    writer.finish(reader.documents_read, reader.duplicates)
    progress(progress.total)
    if reader.duplicates:
        copies = f"{reader.duplicates:,} of {reader.documents_read:,} documents"
        reporter("message", text=f"{copies} were exact copies of others and are skipped")
    shards = Shards.open(out)
    if not noticed:  # the sample may have missed it
        notice_unknown_of(shards)
    for split, stream in (("train", shards.train), ("valid", shards.valid)):
        unknown = f", {stream.n_unknown:,} of them unknown" * bool(stream.n_unknown)
        held = f"{len(stream):,} tokens of {stream.n_documents:,} documents{unknown}"
        reporter("message", text=f"{split}: {held}")
    return shards
