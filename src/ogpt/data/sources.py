"""Where text comes from: `builtin:NAME`, a file, a folder or a glob becomes a list of sources."""

from __future__ import annotations

import difflib
import glob
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from ogpt.data import builtin
from ogpt.data.listing import Listing, work_in
from ogpt.errors import DataError, SourceNotFound
from ogpt.notices import tell
from ogpt.reading import Compression, unreadable
from ogpt.storage import sha256_of

Form = Literal["builtin", "text", "jsonl", "parquet"]

TEXT_FIELD = "text"
"""Field of a JSON Lines row, or column of a parquet file, that holds the text by default."""

_BUILTIN = "builtin:"
_FORMS: dict[str, Form] = {".txt": "text", ".md": "text", ".jsonl": "jsonl", ".parquet": "parquet"}
_WITH_ROWS = ("jsonl", "parquet")
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
    text_field: str = TEXT_FIELD
    """Field or column of a row that holds the text."""
    noticed: set[str] = field(default_factory=set, compare=False, repr=False)
    """Notices about it that were given: a source is read several times."""

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


class _Reading(NamedTuple):
    """How files are read."""

    encoding: str
    text_field: str


def open_sources(
    specs: Specs,
    encoding: str = "utf-8",
    *,
    text_field: str = TEXT_FIELD,
    out: Path | None = None,
) -> list[Source]:
    """Find the files that the specs name; a file named twice counts once.

    Links are followed. What ogpt wrote into a folder of text (runs, shards, tokenizers, models) is
    skipped with a notice, and so is what cannot be read there. Files and folders whose names start
    with a dot are skipped.

    Args:
        specs: What to read.
        encoding: Encoding of text and JSON Lines files.
        text_field: Field or column of .jsonl and .parquet files that holds the text.
        out: Folder that the caller is about to write; what lies in it is not read.

    Returns:
        Sources in the order of the specs; those of a folder or glob in alphabetical order.

    Raises:
        SourceNotFound: a spec that matches nothing.
        DataError: an empty file or folder, a run, shards, an unknown file extension or encoding.
    """
    _check_encoding(encoding)
    if not text_field:
        raise DataError(
            f"the text field is {text_field!r}; allowed: the name of a field or column",
            hint=f"omit it for {TEXT_FIELD!r}",
        )
    reading = _Reading(encoding, text_field)
    found: dict[Path | str, Source] = {}
    for spec in [specs] if isinstance(specs, str | Path | Source) else specs:
        opened = [spec] if isinstance(spec, Source) else _open_spec(os.fspath(spec), reading, out)
        for source in opened:
            key = source.name if source.form == "builtin" else source.path.resolve()
            found.setdefault(key, source)
    if not found:
        raise SourceNotFound(
            "no source of text was passed", hint="pass one, such as --data builtin:python-docs"
        )
    sources = list(found.values())
    if text_field != TEXT_FIELD and not any(s.form in _WITH_ROWS for s in sources):
        reason = "no source is a .jsonl or .parquet file"
        tell("setting-without-effect", setting=f"the text field {text_field!r}", reason=reason)
    return sources


def text_field_input(text_field: str) -> dict[str, str]:
    """The text field as a part of what data was made from; the usual one is left out.

    Shards and tokenizers of earlier versions have no such entry, and stay valid.
    """
    return {} if text_field == TEXT_FIELD else {"text_field": text_field}


def _open_spec(spec: str, reading: _Reading, out: Path | None) -> list[Source]:
    if not spec.strip():
        raise SourceNotFound(
            f"a source of text is {spec!r}; allowed: {_BUILTIN}NAME, a path or a glob",
            hint="check for an empty shell variable; `.` is the current folder",
        )
    if spec.startswith(_BUILTIN):
        return [_open_builtin(spec)]
    path = Path(spec).expanduser()
    mode = _mode(path)
    listing = Listing(out)
    if stat.S_ISDIR(mode):
        _check_no_work(path)
        return _open_several(spec, [(file, path) for file in listing.below(path)], reading, listing)
    if mode:
        return [_open_file(path, path.name, reading)]
    if not glob.has_magic(spec):
        raise SourceNotFound(
            f"{path} is a link to nothing"
            if path.is_symlink()
            else f"there is no file or folder {spec}",
            hint=f"check the path, or use a built-in source: {_names()}",
        )
    files = listing.matching(path)
    if files is None:
        raise SourceNotFound(
            f"nothing matches {spec}", hint="check the pattern; ** matches any folders"
        )
    return _open_several(spec, files, reading, listing)


def _mode(path: Path) -> int:
    """The mode of a file or folder; 0 if there is none."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a zero byte
        return 0
    except OSError as error:
        raise unreadable(path, error) from error


def _check_no_work(folder: Path) -> None:
    """Check that a folder that was passed as text is no run and no shards."""
    try:
        work = work_in(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise unreadable(folder, error) from error
    if work:
        raise DataError(
            f"{folder} is {work}, not text",
            hint="pass the text that it was made from; shards go to `ogpt pretrain --data`, alone "
            "and with their manifest.json",
        )


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


def _open_file(path: Path, name: str, reading: _Reading) -> Source:
    kind = _kind(path)
    if kind is None:
        raise DataError(
            f"{path} has an unknown extension; allowed: {ENDINGS}",
            hint="give the file the extension of its format, or convert it",
        )
    size = path.stat().st_size
    if not size:
        raise DataError(f"{path} is empty (0 bytes)", hint="omit it, or create it again")
    shown = os.fsencode(name).decode("utf-8", "backslashreplace")  # a name that is not UTF-8
    return Source(shown, path, *kind, reading.encoding, size, reading.text_field)


def _open_several(
    spec: str, files: Sequence[tuple[Path, Path]], reading: _Reading, listing: Listing
) -> list[Source]:
    """Open the files of a folder or glob, each paired with the folder that its name starts from."""
    known = [(file, base) for file, base in files if _kind(file)]
    full = [(file, base) for file, base in known if file.stat().st_size]
    skipped = {reason: len(paths) for reason, paths in listing.left_out.items()}
    if not full:
        raise DataError(
            f"{spec} holds no text: of its {len(files)} files, {len(known)} have a known extension "
            f"({ENDINGS}), and those are empty"
            + "".join(f"; {count} more are skipped: {reason}" for reason, count in skipped.items()),
            hint="check the path, or convert the files",
        )
    skipped[f"their extension is none of {ENDINGS}"] = len(files) - len(known)
    skipped["they are empty"] = len(known) - len(full)
    for reason, count in skipped.items():
        what = f"files or folders of {spec}" if reason in listing.left_out else f"files of {spec}"
        if count:
            tell("documents-skipped", count=count, what=what, reason=reason)
    if listing.out_inside:
        tell("output-inside-data", spec=spec)
    return [_open_file(file, file.relative_to(base).as_posix(), reading) for file, base in full]


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
