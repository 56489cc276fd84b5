"""Random access to weights files that may be damaged or hostile, and their JSON headers."""

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
"""Largest header or index, in bytes: about 70,000 arrays. Parsed JSON takes up to 30 times that
much memory."""


class Opened:
    """A file that is read in parts. It must not change in between, which every read checks.

    The file is opened for each read, so nothing has to be closed.

    Raises:
        WeightsError: the file does not exist, or is not a regular file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._facts = self._look()
        self.size: int = self._facts[0]

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes from `offset` on.

        Raises:
            WeightsError: the file is shorter, or has changed since it was opened.
        """
        whole = np.empty(count, np.uint8)
        self.read_into(whole, offset)
        return whole.tobytes()

    def read_into(self, array: NDArray[Any], offset: int) -> None:
        """Fill a contiguous array with the bytes from `offset` on, without an intermediate copy.

        Raises:
            WeightsError: the file is shorter, or has changed since it was opened.
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
        """Open the file for the native core, which reads by file descriptor.

        Raises:
            WeightsError: the file is unreadable, or has changed since it was opened.
        """
        self.check_unchanged()
        with self._stream() as stream:
            yield stream.fileno()

    def check_unchanged(self) -> None:
        """Check that the file is still the one that was opened, by size, inode and time.

        Raises:
            WeightsError: it has changed or was removed.
        """
        if self._look() != self._facts:
            raise WeightsError(
                f"{self.path} has changed since it was opened",
                hint="load it again when the program that writes it has finished",
            )

    def _stream(self) -> BufferedReader:
        try:
            return open(self.path, "rb")  # the caller closes it
        except OSError as error:
            raise _unreadable(self.path, error.strerror) from error

    def _look(self) -> tuple[int, int, int]:
        try:
            facts = self.path.stat()
        except OSError as error:
            raise _unreadable(self.path, error.strerror) from error
        # Opening a pipe would block until something writes to it.
        if not stat.S_ISREG(facts.st_mode):
            raise _unreadable(self.path, "it is not a regular file")
        return facts.st_size, facts.st_ino, facts.st_mtime_ns


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        WeightsError: the file is missing, larger than JSON_LIMIT, or refused by parse_header.
    """
    opened = Opened(path)
    if opened.size > JSON_LIMIT:
        raise damaged(path, f"it has {opened.size} bytes; allowed: {JSON_LIMIT}")
    return parse_header(path, opened.read(0, opened.size))


def parse_header(path: Path, text: bytes) -> Any:
    """Parse the JSON header of a weights file, or an index.

    Args:
        path: The file, for messages.
        text: The JSON.

    Raises:
        WeightsError: `ogpt.reading.parse_json` refuses it.
    """
    try:
        return parse_json(text.decode("utf-8"), printable_names=True)
    except ValueError as error:
        raise damaged(path, f"its JSON is invalid ({error})") from error


def damaged(path: Path, what: str) -> WeightsError:
    """Make the error for a damaged file."""
    return WeightsError(f"{path} is damaged: {what}", hint="restore the file from a copy")


def _unreadable(path: Path, why: str | None) -> WeightsError:
    return WeightsError(
        f"the weights file {path} cannot be read: {why}",
        hint="check the path and its permissions; a model folder has model.safetensors",
    )
