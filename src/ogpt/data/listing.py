"""List the files that a folder or a glob names.

Folders and globs go through one listing, so that both follow links, and leave out the same files:
hidden ones, and what ogpt itself wrote. Everything left out has a reason, except hidden files.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from ogpt.folders.model_folder import RUN_FILE
from ogpt.folders.run_folder import METRICS_FILE, SETTINGS_FILE
from ogpt.layout import (
    CARD_FILE,
    CONFIG_FILE,
    CONFIG_FILES,
    LEARNED_FROM_FILE,
    MERGES_FILE,
    OPENAI_MERGES_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    TOKENIZER_FILES,
    VOCAB_FILE,
    weights_files,
)

OWN = "ogpt wrote them, and they are no text"
_DANGLING = "they are links to nothing"
_SPECIAL = "they are no regular files"
_SHARD = re.compile(r"(train|valid)-\d{5}\.(bin|documents)")
_TOKENIZER_MARKS = ({VOCAB_FILE, MERGES_FILE}, {TOKENIZER_FILE}, {TOKENIZER_CONFIG_FILE})


class Listing:
    """Lists folders, and collects what it leaves out.

    Args:
        out: A folder that is about to be written; nothing in it is listed.
    """

    def __init__(self, out: Path | None = None) -> None:
        self.left_out: dict[str, set[Path]] = {}
        """Files and folders by the reason."""
        self.out_inside = False
        """Whether `out` lies inside a folder that was listed with its subfolders."""
        self._out = None if out is None else os.path.realpath(out)

    def below(self, folder: Path) -> list[Path]:
        """All files in the folder and its subfolders, in alphabetical order."""
        return sorted(file for each in self._folders(folder) for file in self._entries(each)[1])

    def matching(self, pattern: Path) -> list[tuple[Path, Path]] | None:
        """The files that match a glob, and those below folders that match it.

        `**` matches any number of folders.

        Returns:
            Pairs of a file and the folder that its name starts from, in alphabetical order; None
            if nothing matches.
        """
        found = [Path(pattern.anchor)]
        magic = False
        for part in pattern.parts[bool(pattern.anchor) :]:
            magic = magic or glob.has_magic(part)
            if part == "**":
                found = _distinct(each for base in found for each in self._folders(base))
            elif magic and part != "..":
                found = [each for base in found for each in self._children(base, part)]
            else:
                found = [base / part for base in found if os.path.lexists(base / part)]
        pairs = {}
        for match in found:
            if match.is_dir():
                pairs.update({file: match for file in self.below(match) if file not in pairs})
            else:
                pairs.setdefault(match, match.parent)
        return sorted(pairs.items()) if found or self.left_out else None

    def _folders(self, folder: Path) -> Iterator[Path]:
        """The folder and all below it. Each is listed once: links may form circles."""
        if not folder.is_dir():
            return
        real = os.path.realpath(folder)
        self.out_inside |= self._out is not None and Path(real) in Path(self._out).parents
        seen: set[str] = set()
        waiting: list[Path] = [folder]
        links: list[Path] = []
        while waiting or links:
            current = waiting.pop() if waiting else links.pop(0)  # links last: a real name is kept
            real = os.path.realpath(current)
            if real in seen:
                continue
            seen.add(real)
            yield current
            for child in self._entries(current)[0]:
                (links if child.is_symlink() else waiting).append(child)

    def _children(self, folder: Path, pattern: str) -> list[Path]:
        if not folder.is_dir():
            return []
        folders, files = self._entries(folder, hidden=pattern.startswith("."))
        return [each for each in (*folders, *files) if fnmatchcase(each.name, pattern)]

    def _entries(self, folder: Path, *, hidden: bool = False) -> tuple[list[Path], list[Path]]:
        """Folders and files in a folder."""
        folders: list[Path] = []
        files: list[Path] = []
        try:
            names = [entry.name for entry in folder.iterdir()]
        except OSError as error:
            self._leave_out(f"they cannot be listed ({error.strerror})", folder)
            return folders, files
        if work_in(names):
            self._leave_out(OWN, folder)
            return folders, files
        own = own_files(names)
        for name in sorted(names):
            if name.startswith(".") and not hidden:
                continue
            path = folder / name
            try:
                mode = path.stat().st_mode
            except OSError as error:
                dangling = isinstance(error, FileNotFoundError)
                reason = _DANGLING if dangling else f"they cannot be read ({error.strerror})"
                self._leave_out(reason, path)
                continue
            if stat.S_ISDIR(mode):
                if os.path.realpath(path) != self._out:
                    folders.append(path)
            elif name in own or not stat.S_ISREG(mode):
                self._leave_out(OWN if name in own else _SPECIAL, path)
            else:
                files.append(path)
        return folders, files

    def _leave_out(self, reason: str, path: Path) -> None:
        self.left_out.setdefault(reason, set()).add(path)


def work_in(names: Iterable[str]) -> str:
    """What a folder with these files is if all of it is work of ogpt: a run, or shards; else ""."""
    names = set(names)
    if RUN_FILE in names or {SETTINGS_FILE, METRICS_FILE} <= names:
        return "the folder of a run"
    return "a folder of shards" if has_shards(names) else ""


def has_shards(names: Iterable[str]) -> bool:
    """Whether files of shards are among a folder's files."""
    return any(map(_SHARD.fullmatch, names))


def own_files(names: Iterable[str]) -> set[str]:
    """Which of a folder's files belong to a tokenizer or model; texts may lie beside them."""
    names = set(names)
    own: set[str] = set()
    if any(mark <= names for mark in _TOKENIZER_MARKS) or OPENAI_MERGES_FILE in names:
        own |= {*TOKENIZER_FILES, LEARNED_FROM_FILE}
    weights = weights_files(names).files
    if CONFIG_FILE in names and weights:
        own |= {CARD_FILE, *CONFIG_FILES, *weights}
    return own & names


def _distinct(paths: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(paths))
