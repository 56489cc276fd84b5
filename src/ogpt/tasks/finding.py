"""Find the files of a published data set anywhere below a folder, by their usual names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from ogpt.errors import SourceNotFound
from ogpt.notices import tell

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".msi")
_SHOWN = 5


def files_below(folder: Path) -> list[Path]:
    """All files in a folder and its subfolders, in order. Links to folders are followed.

    Raises:
        SourceNotFound: the folder does not exist.
    """
    if not folder.is_dir():
        raise SourceNotFound(
            f"{folder} is not a folder",
            hint="pass the folder that the data sets were unpacked into",
        )
    found: list[Path] = []
    seen: set[str] = set()
    # absolute, so that the name of the given folder counts too: --data glue_data/RTE
    for parent, folders, names in os.walk(folder.absolute(), followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:  # links may form circles
            folders.clear()
            continue
        seen.add(real)
        # hidden ones are no data: macOS writes a ._NAME beside each NAME
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found)


def match(files: Iterable[Path], patterns: tuple[str, ...]) -> list[Path]:
    """The files of a split: those that match its patterns, or none if a pattern has no match.

    A pattern whose last part is "*" and an extension means all such files; any other one means one
    file. Of several copies of a data set the one with the shortest path is used, with a notice
    (`data-found-twice`).
    """
    chosen: list[Path] = []
    for pattern in patterns:
        parts = pattern.split("/")
        roots: dict[Path, list[Path]] = {}
        for file in files:
            if fits(file, pattern):
                roots.setdefault(file.parents[len(parts) - 1], []).append(file)
        if not roots:
            return []
        copies = [roots[root] for root in sorted(roots, key=lambda one: (len(one.parts), one))]
        if not parts[-1].startswith("*."):
            copies = [[file] for group in copies for file in group]
        if len(copies) > 1:
            tell("data-found-twice", name=pattern, count=len(copies), path=copies[0][0])
        chosen += copies[0]
    return chosen


def fits(file: Path, pattern: str) -> bool:
    """Whether a pattern matches the last parts of an absolute path, in any case of letters."""
    parts = pattern.lower().split("/")
    ending = [name.lower() for name in file.parts[-len(parts) :]]
    return len(ending) == len(parts) and all(map(fnmatchcase, ending, parts))


def archives(files: Iterable[Path]) -> str:
    """Names of archives among the files, for a hint; they are not read in place."""
    names = [file.name for file in files if file.name.lower().endswith(_ARCHIVES)]
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
