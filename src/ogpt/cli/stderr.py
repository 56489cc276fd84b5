"""stderr that may fail: its reader has gone, its disk is full, or it is closed."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_FAILURES = (OSError, ValueError)  # ValueError: the stream is closed


class Stderr:
    """stderr for progress, notices and errors: text that cannot be written never ends the work.

    What a full disk refused stays in the buffer of the stream, and the next write tries it again.
    """

    def __init__(self) -> None:
        # None if the file descriptor was closed
        self._stream = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  # open until the end
        self.encoding = self._stream.encoding

    def isatty(self) -> bool:
        """Whether it is a terminal; a closed stream is none."""
        with suppress(*_FAILURES):
            return self._stream.isatty()
        return False

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(*_FAILURES):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(*_FAILURES):
            self._stream.flush()

    def settle(self) -> None:
        """Let go of text that cannot be written; Python would exit with 120 because of it."""
        try:
            self._stream.flush()
        except _FAILURES:
            with suppress(*_FAILURES):  # a stream of a test has no file descriptor
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
                self._stream.flush()
