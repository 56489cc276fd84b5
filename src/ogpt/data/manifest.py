"""manifest.json: what a folder of shards holds, what it was made from, and whether it is complete.

Until the manifest says that the folder is complete, it is the record from which an interrupted
preparation resumes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ogpt.data.listing import has_shards
from ogpt.errors import DamagedData, SourceNotFound
from ogpt.reading import parse_json, unreadable
from ogpt.storage import write_json

NAME = "manifest.json"
FORMAT = "ogpt-shards"
VERSION = 1
SPLITS = ("train", "valid")


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of tokens and the file of its documents' lengths."""

    file: str
    """Raw little-endian token ids."""
    n_tokens: int
    sha256: str
    documents_file: str
    """Raw little-endian uint32: tokens in each document."""
    n_documents: int
    documents_sha256: str
    n_bytes: int
    """UTF-8 bytes of the text that the tokens were made from."""
    n_unknown: int = 0
    """Tokens that are `<unk>`."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of manifest.json."""

    inputs: dict[str, Any]
    """Sources, tokenizer and settings; equal inputs give equal shards, byte for byte."""
    dtype: str
    """uint16 or uint32."""
    splits: dict[str, tuple[Shard, ...]] = field(default_factory=lambda: dict.fromkeys(SPLITS, ()))
    documents_read: int = 0
    """Documents of the sources that the shards contain, copies included."""
    duplicates: int = 0
    """Number of them that were exact copies of an earlier one, and skipped."""
    complete: bool = False

    @property
    def vocab_size(self) -> int:
        """Entries of the vocabulary; every token id is below it."""
        return int(self.inputs["tokenizer"]["vocab_size"])

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the tokenizer."""
        return str(self.inputs["tokenizer"]["fingerprint"])

    @property
    def content_sha256(self) -> str:
        """One hash of all shards; equal for equal tokens in equal documents."""
        sums = [s.sha256 + s.documents_sha256 for split in SPLITS for s in self.splits[split]]
        return hashlib.sha256("".join(sums).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Write manifest.json into the folder, whole or not at all."""
        totals = {
            split: {
                "n_tokens": sum(shard.n_tokens for shard in shards),
                "n_documents": sum(shard.n_documents for shard in shards),
                "n_bytes": sum(shard.n_bytes for shard in shards),
                "n_unknown": sum(shard.n_unknown for shard in shards),
                "shards": [asdict(shard) for shard in shards],
            }
            for split, shards in self.splits.items()
        }
        head = {"format": FORMAT, "version": VERSION}
        write_json(folder / NAME, head | asdict(self) | {"splits": totals})


def has_manifest(folder: Path) -> bool:
    """Whether a folder has the manifest of shards, sound or damaged.

    Web applications and data sets have a manifest.json too. It is ours if it names our format, or
    if shards lie beside it.
    """
    path = folder / NAME
    if not path.exists():
        return False
    try:
        values = parse_json(path.read_text("utf-8"))
    except OSError:
        return True  # whoever opens the shards reports why it cannot be read
    except ValueError:
        values = None
    if isinstance(values, dict) and values.get("format") == FORMAT:
        return True
    return has_shards(entry.name for entry in folder.iterdir())


def read_manifest(folder: Path) -> Manifest:
    """Read and check manifest.json.

    Raises:
        SourceNotFound: there is none.
        DamagedData: it is no manifest, or one of another version of the format.
    """
    path = folder / NAME
    try:
        values = parse_json(path.read_text("utf-8"))
        if values["format"] != FORMAT or values["version"] != VERSION:
            raise DamagedData(
                f"{path} is {values['format']!r} version {values['version']!r}; this ogpt reads "
                f"{FORMAT!r} version {VERSION}",
                hint=remake(folder),
            )
        return _parse(values)
    except FileNotFoundError as error:
        raise SourceNotFound(
            f"{folder} is no folder of shards: it has no {NAME}", hint=remake(folder)
        ) from error
    except OSError as error:
        raise unreadable(path, error) from error
    except DamagedData:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedData(
            f"{path} is damaged: {type(error).__name__}: {error}", hint=remake(folder)
        ) from error


def remake(folder: Path) -> str:
    """The hint of every error about a folder of shards."""
    return (
        f"delete {folder} and prepare it again: "
        f"ogpt prepare --data SOURCE --tokenizer DIR --out {folder}"
    )


def shard_names(split: str, number: int) -> tuple[str, str]:
    """File names of the tokens and of the documents of a shard."""
    return f"{split}-{number:05d}.bin", f"{split}-{number:05d}.documents"


def _parse(values: Mapping[str, Any]) -> Manifest:
    splits = {}
    for split in SPLITS:
        shards = tuple(Shard(**shard) for shard in values["splits"][split]["shards"])
        for number, shard in enumerate(shards):
            if (shard.file, shard.documents_file) != shard_names(split, number):
                raise ValueError(f"shard {number} of {split} is named {shard.file!r}")
            if min(shard.n_tokens, shard.n_documents, shard.n_bytes, shard.n_unknown) < 0:
                raise ValueError(f"{shard.file} has a negative count")
        splits[split] = shards
    if values["dtype"] not in ("uint16", "uint32"):
        raise ValueError(f"dtype is {values['dtype']!r}")
    manifest = Manifest(
        inputs=values["inputs"],
        dtype=values["dtype"],
        splits=splits,
        documents_read=int(values["documents_read"]),
        duplicates=int(values["duplicates"]),
        complete=values["complete"] is True,
    )
    # a missing key is an error now, not in the middle of a run
    _ = (manifest.vocab_size, manifest.fingerprint)
    return manifest
