"""Files that others wrote: their bytes when they are asked for, their JSON without surprises."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import WeightsError
from ogpt.reading import parse_json

JSON_LIMIT = 10_000_000
"""Bytes of a header or index: room for 70,000 arrays. Parsed, JSON takes up to 30 times that."""


class Opened:
    """A file whose parts are read when they are asked for; it must not change in between.

    Nothing stays open between reads, so nothing needs closing.

    Raises:
        WeightsError: there is no such file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._facts = self._look()
        self.size: int = self._facts[0]

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on.

        Raises:
            WeightsError: the file has fewer, or was changed since it was opened.
        """
        whole = np.empty(count, np.uint8)
        self.read_into(whole, offset)
        return whole.tobytes()

    def read_into(self, array: NDArray[Any], offset: int) -> None:
        """Fill a contiguous array with the bytes from `offset` on, in one read.

        Raises:
            WeightsError: the file has fewer, or was changed since it was opened.
        """
        self.check_unchanged()
        target = array.reshape(-1).view(np.uint8)
        try:
            with self._stream() as stream:
                stream.seek(offset)
                found = stream.readinto(target.data)
        except OSError as error:
            raise _unreadable(self.path, error.strerror) from error
        if found < target.nbytes:
            raise damaged(
                self.path,
                f"it has {found} bytes after its first {offset}; {target.nbytes} are needed",
            )

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """The open file's number, for readers other than these.

        Raises:
            WeightsError: the file cannot be read, or was changed since it was opened.
        """
        self.check_unchanged()
        with self._stream() as stream:
            yield stream.fileno()

    def check_unchanged(self) -> None:
        """Make sure that the file is the one that was opened.

        Raises:
            WeightsError: it is not, or is gone.
        """
        if self._look() != self._facts:
            raise WeightsError(
                f"{self.path} was changed after it was opened",
                hint="load it again when whatever writes it has ended",
            )

    def _stream(self) -> BufferedReader:
        try:
            return open(self.path, "rb")  # whoever asked closes it
        except OSError as error:
            raise _unreadable(self.path, error.strerror) from error

    def _look(self) -> tuple[int, int, int]:
        try:
            facts = self.path.stat()
        except OSError as error:
            raise _unreadable(self.path, error.strerror) from error
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would wait for its writer
            raise _unreadable(self.path, "it is no regular file")
        return facts.st_size, facts.st_ino, facts.st_mtime_ns


def read_json(path: Path) -> Any:
    """The value of a JSON file that others wrote.

    Raises:
        WeightsError: missing, too long, no JSON, or an object with a name twice or unprintable.
    """
    opened = Opened(path)
    if opened.size > JSON_LIMIT:
        raise damaged(path, f"it has {opened.size} bytes; {JSON_LIMIT} are allowed")
    return parse_header(path, opened.read(0, opened.size))


def parse_header(path: Path, text: bytes) -> Any:
    """Parse JSON that was found in `path`, an index or the header of a file.

    Raises:
        WeightsError: `ogpt.reading.parse_json` refuses it.
    """
    try:
        return parse_json(text.decode("utf-8"), printable_names=True)
    except ValueError as error:
        raise damaged(path, f"its JSON cannot be read ({error})") from error


def damaged(path: Path, what: str) -> WeightsError:
    """What to raise about a file that is not what its name says."""
    return WeightsError(f"{path} is damaged: {what}", hint="restore the file from a copy")


def _unreadable(path: Path, why: str | None) -> WeightsError:
    return WeightsError(
        f"there is no weights file {path} to read: {why}",
        hint="a model folder holds model.safetensors; check the path and its permissions",
    )
