"""Output of commands on stdout: text, and facts as a table or as JSON.

A command's work is done when it prints, so no character may make it fail: what the encoding of
stdout lacks is escaped, with a notice at the end of the command.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from ogpt.cli.figures import table
from ogpt.errors import StorageError
from ogpt.notices import tell

_escaped: ContextVar[int] = ContextVar("ogpt_escaped_characters", default=0)


def write(text: str, *, end: str = "\n") -> None:
    """Write text to stdout at once.

    Raises:
        StorageError: stdout cannot be written, for example because its disk is full.
    """
    stream = sys.stdout
    if stream is None:  # closed by whoever started the process
        return
    text += end
    if not _fits(text, stream):
        encoding = _encoding(stream)
        _escaped.set(_escaped.get() + sum(not _fits(char, stream) for char in text))
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:  # the reader has left; Typer ends the command quietly
        raise
    except OSError as error:
        _discard(stream)
        raise StorageError(
            f"could not write to standard output: {error.strerror or error}",
            hint="free some space, or redirect the output to another file",
        ) from error


def answer(facts: Any, *, as_json: bool) -> None:
    """Print a mapping or dataclass of facts on stdout."""
    if dataclasses.is_dataclass(facts) and not isinstance(facts, type):
        facts = dataclasses.asdict(facts)
    if not as_json:
        write(table(facts))
        return
    facts = _with_nulls(facts)
    text = json.dumps(facts, ensure_ascii=False, default=_plain)
    if sys.stdout is not None and not _fits(text, sys.stdout):
        text = json.dumps(facts, default=_plain)  # JSON's own escapes: the same value
    write(text)


@contextmanager
def noticing_escapes() -> Iterator[None]:
    """Give notice, after the block, of the characters that it wrote as escapes."""
    token = _escaped.set(0)
    try:
        yield
        if count := _escaped.get():
            tell("characters-escaped", count=count, encoding=_encoding(sys.stdout))
    finally:
        _escaped.reset(token)


def _fits(text: str, stream: TextIO) -> bool:
    """Whether the encoding of a stream has all characters of a text."""
    try:
        text.encode(_encoding(stream))
    except UnicodeEncodeError:
        return False
    return True


def _encoding(stream: TextIO) -> str:
    return stream.encoding or "utf-8"  # a stream in memory has none


def _discard(stream: TextIO) -> None:
    """Drop what is still buffered: Python would try to write it once more at exit, and fail."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream without a file
        return
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), descriptor)


def _with_nulls(value: Any) -> Any:
    """A value without NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _with_nulls(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_nulls(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value.item()
