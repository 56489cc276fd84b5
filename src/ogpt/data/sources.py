"""Where text comes from: `builtin:NAME`, a file, a folder or a glob becomes a list of sources."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from ogpt.data import builtin
from ogpt.errors import DataError, SourceNotFound
from ogpt.notices import tell
from ogpt.reading import Compression, unreadable
from ogpt.storage import sha256_of

Form = Literal["builtin", "text", "jsonl", "parquet"]

_BUILTIN = "builtin:"
_FORMS: dict[str, Form] = {".txt": "text", ".md": "text", ".jsonl": "jsonl", ".parquet": "parquet"}
_COMPRESSIONS: tuple[Compression, ...] = (".gz", ".zst")
ENDINGS = ".txt .md .jsonl (also .gz, .zst) .parquet"


@dataclass(frozen=True)
class Source:
    """One file of text, or one built-in source."""

    name: str
    """For people and manifests: the file's path within the folder that was passed."""
    path: Path
    """The file; for a built-in source the folder of the standard library."""
    form: Form
    compression: Compression
    encoding: str
    size: int
    """Size on disk, in bytes."""

    @cached_property
    def description(self) -> dict[str, str | int]:
        """Name, size and SHA-256 of the content, which identify this source.

        The content is hashed once: training a tokenizer and preparing shards ask for it in turn.

        Raises:
            DataError: the file cannot be read.
        """
        if self.form == "builtin":
            size, sha256 = builtin.size_and_sha256(self.path)
            return {"name": self.name, "size": size, "sha256": sha256}
        try:
            sha256 = sha256_of(self.path)
        except OSError as error:
            raise unreadable(self.path, error) from error
        return {"name": self.name, "size": self.size, "sha256": sha256}


Specs = str | Path | Source | Sequence[str | Path | Source]
"""One or several of: `builtin:NAME`, a path, a folder (with its subfolders), a glob; or a Source
that is open already."""


def open_sources(specs: Specs, encoding: str = "utf-8") -> list[Source]:
    """Find the files that the specs name; a file named twice counts once.

    Args:
        specs: What to read. Files and folders whose names start with a dot are skipped.
        encoding: Encoding of text and JSON Lines files.

    Returns:
        Sources in the order of the specs; those of a folder or glob in alphabetical order.

    Raises:
        SourceNotFound: a spec that matches nothing.
        DataError: an empty file or folder, an unknown file extension or encoding.
    """
    _check_encoding(encoding)
    found: dict[Path | str, Source] = {}
    for spec in [specs] if isinstance(specs, str | Path | Source) else specs:
        opened = [spec] if isinstance(spec, Source) else _open_spec(os.fspath(spec), encoding)
        for source in opened:
            key = source.name if source.form == "builtin" else source.path.resolve()
            found.setdefault(key, source)
    if not found:
        raise SourceNotFound(
            "no source of text was passed", hint="pass one, such as --data builtin:python-docs"
        )
    return list(found.values())


def _open_spec(spec: str, encoding: str) -> list[Source]:
    if not spec.strip():
        raise SourceNotFound(
            f"a source of text is {spec!r}; allowed: {_BUILTIN}NAME, a path or a glob",
            hint="check for an empty shell variable; `.` is the current folder",
        )
    if spec.startswith(_BUILTIN):
        return [_open_builtin(spec)]
    path = Path(spec).expanduser()
    if path.is_file():
        return [_open_file(path, path.name, encoding)]
    if path.is_dir():
        return _open_several(spec, [(file, path) for file in _files_below(path)], encoding)
    if not glob.has_magic(spec):
        raise SourceNotFound(
            f"there is no file or folder {spec}",
            hint=f"check the path, or use a built-in source: {_names()}",
        )
    # Path.glob refuses absolute patterns, and finds hidden files
    found = glob.glob(str(path), recursive=True)  # noqa: PTH207  # see above
    matches = [Path(match) for match in sorted(found)]
    files = [(match, match.parent) for match in matches if match.is_file()]
    files += [(file, match) for match in matches if match.is_dir() for file in _files_below(match)]
    if not matches:
        raise SourceNotFound(
            f"nothing matches {spec}", hint="check the pattern; ** matches any folders"
        )
    return _open_several(spec, sorted(files), encoding)


def _open_builtin(spec: str) -> Source:
    name = spec.removeprefix(_BUILTIN)
    if name not in builtin.NAMES:
        near = difflib.get_close_matches(name, builtin.NAMES, 1, cutoff=0.4)
        raise SourceNotFound(
            f"there is no built-in source {spec!r}; allowed: {_names()}",
            hint=f"did you mean {_BUILTIN}{near[0]}?" if near else "choose one of these",
        )
    folder = builtin.library_folder()
    size = sum(file.stat().st_size for file in builtin.library_files(folder))
    return Source(spec, folder, "builtin", "", "", size)


def _open_file(path: Path, name: str, encoding: str) -> Source:
    kind = _kind(path)
    if kind is None:
        raise DataError(
            f"{path} has an unknown extension; allowed: {ENDINGS}",
            hint="rename the file after its content, or convert it",
        )
    size = path.stat().st_size
    if not size:
        raise DataError(f"{path} is empty (0 bytes)", hint="omit it, or create it again")
    return Source(name, path, *kind, encoding, size)


def _open_several(spec: str, files: Sequence[tuple[Path, Path]], encoding: str) -> list[Source]:
    """Open the files of a folder or glob, each paired with the folder that its name starts from."""
    known = [(file, base) for file, base in files if _kind(file)]
    full = [(file, base) for file, base in known if file.stat().st_size]
    if not full:
        raise DataError(
            f"{spec} holds no text: of its {len(files)} files, {len(known)} have a known extension "
            f"({ENDINGS}), and those are empty",
            hint="check the path, or convert the files",
        )
    if len(known) < len(files):
        tell(
            "documents-skipped",
            count=len(files) - len(known),
            what=f"files of {spec}",
            reason=f"their extension is none of {ENDINGS}",
        )
    if len(full) < len(known):
        tell(
            "documents-skipped",
            count=len(known) - len(full),
            what=f"files of {spec}",
            reason="they are empty",
        )
    return [_open_file(file, file.relative_to(base).as_posix(), encoding) for file, base in full]


def _files_below(folder: Path) -> list[Path]:
    """All files in the folder and its subfolders, without hidden files and folders."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def _kind(path: Path) -> tuple[Form, Compression] | None:
    name = path.name.lower()
    for compression in _COMPRESSIONS:
        if name.endswith(compression):
            form = _FORMS.get(Path(name.removesuffix(compression)).suffix)
            return (form, compression) if form in ("text", "jsonl") else None
    form = _FORMS.get(path.suffix.lower())
    return (form, "") if form else None


def _check_encoding(encoding: str) -> None:
    try:
        "a".encode(encoding)
    except (LookupError, UnicodeError) as error:  # Python's codec `undefined` refuses all text
        raise DataError(
            f"{encoding!r} is no text encoding of Python",
            hint="use utf-8, latin-1, cp1252 or another codec of Python",
        ) from error


def _names() -> str:
    return ", ".join(f"{_BUILTIN}{name}" for name in builtin.NAMES)
