"""Sources become documents, one at a time, whatever the size of the files.

A row of a .jsonl or .parquet file is a document: its field or column `text`, or another one. A
.txt or .md file is one document if it is short; a longer one is cut at blank lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ogpt.data import builtin
from ogpt.data.sources import Source
from ogpt.errors import BackendMissing, DamagedData, DataError
from ogpt.notices import tell
from ogpt.reading import check_ratio, read_text

LONG_TEXT = 1 << 16
"""Characters after which a text is cut at the next blank line: documents are the unit of the split
into training and validation text, so a book has to be several."""
LONGEST_TEXT = 1 << 20
"""Characters after which a text without blank lines is cut at a line or a space."""
LONGEST_LINE = 1 << 28
"""Maximum characters of a JSON line, whose document is in memory whole."""
ROWS = 256
"""Parquet rows in memory at once."""

_FIELD_OPTION = "--text-field NAME (pretrain: --set data.text_field=NAME)"
_NULLS = "rows without text"
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n\s*")


class Document(NamedTuple):
    """One text and its origin."""

    text: str
    origin: str
    """File, and line or row where there is one."""
    source: int = 0
    """Index of its source in the list of sources."""
    position: int = 0
    """Bytes of its source read so far."""


def documents(sources: Sequence[Source]) -> Iterator[Document]:
    """The documents of the sources in order, without texts of white space alone.

    Rows whose text is null are skipped, with the notice `documents-skipped` at the end.

    Raises:
        DataError: text in another encoding, a row without the text field, an unreadable file.
        DamagedData: a file that is truncated, or not of the format that its name says.
        BackendMissing: a format whose optional package is not installed.
    """
    readers: dict[str, Callable[[Source], Iterator[tuple[str | None, str, int]]]] = {
        "builtin": _builtin,
        "text": _text,
        "jsonl": _jsonl,
        "parquet": _parquet,
    }
    nulls = 0
    for number, source in enumerate(sources):
        for text, origin, position in readers[source.form](source):
            nulls += text is None
            if text and not text.isspace():
                yield Document(text, origin, number, position)
    if nulls and _NULLS not in sources[0].noticed:  # sources are read several times
        sources[0].noticed.add(_NULLS)
        tell("documents-skipped", count=nulls, what="rows", reason="their text is null")


def split_text(pieces: Iterable[tuple[str, int]]) -> Iterator[tuple[str, int]]:
    """Cut running text into documents of about LONG_TEXT characters; nothing is lost between."""
    rest, position = "", 0
    for piece, position in pieces:
        rest += piece
        start = 0
        while len(rest) - start > LONG_TEXT:
            end = _cut(rest, start)
            if not end:
                break
            yield rest[start:end], position
            start = end
        rest = rest[start:]
    if rest:
        yield rest, position


def _cut(text: str, start: int) -> int:
    """End of the document that starts at `start`; 0: more text is needed to know."""
    limit = start + LONGEST_TEXT
    blank = _BLANK_LINE.search(text, start + LONG_TEXT, limit)
    if blank and blank.end() < len(text):  # else more white space may follow in the next piece
        return blank.end()
    if len(text) <= limit:
        return 0
    for mark in ("\n", " "):
        end = text.rfind(mark, start + LONG_TEXT, limit) + 1
        if end:
            return end
    return limit


def _builtin(source: Source) -> Iterator[tuple[str, str, int]]:
    name = source.name.partition(":")[2]
    for text, file, position in builtin.texts(name, source.path):
        yield text, f"{source.name}/{file}", position


def _text(source: Source) -> Iterator[tuple[str, str, int]]:
    line = 1
    for text, position in split_text(read_text(source.path, source.encoding, source.compression)):
        yield text, f"{source.path}, from line {line}" if line > 1 else str(source.path), position
        line += text.count("\n")


def _jsonl(source: Source) -> Iterator[tuple[str | None, str, int]]:
    for number, (line, position) in enumerate(_lines(source), 1):
        if line and not line.isspace():
            origin = f"{source.path}, line {number}"
            yield _row_text(line, origin, source.text_field), origin, position


def _lines(source: Source) -> Iterator[tuple[str, int]]:
    line_start: list[str] = []
    length = position = 0
    for piece, position in read_text(source.path, source.encoding, source.compression):
        first, *others = piece.split("\n")
        line_start.append(first)
        length += len(first)
        if others:
            yield "".join(line_start), position
            for line in others[:-1]:
                yield line, position
            line_start, length = [others[-1]], len(others[-1])
        if length > LONGEST_LINE:
            raise DataError(
                f"{source.path} has a line of more than {LONGEST_LINE:,} characters",
                hint="write one JSON object per line, or split the document",
            )
    yield "".join(line_start), position


def _row_text(line: str, origin: str, text_field: str) -> str | None:
    try:
        row: Any = json.loads(line.removeprefix("\ufeff"))  # of files joined to one
    except (ValueError, RecursionError) as error:
        raise DamagedData(
            f"{origin} is not JSON: {error}",
            hint="write one JSON object per line, or delete the line",
        ) from error
    text = row.get(text_field) if isinstance(row, dict) else None
    if text is None and isinstance(row, dict) and text_field in row:
        return None
    if not isinstance(text, str):
        seen = f"the fields {', '.join(row)}" if isinstance(row, dict) else type(row).__name__
        raise DataError(
            f"{origin} has no string `{text_field}`; it has {seen}",
            hint=f"name the field that holds the text: {_FIELD_OPTION}",
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DamagedData(
            f"{origin} has half a surrogate pair at character {error.start:,} of `{text_field}`",
            hint="write the file again with whole characters, or delete the line",
        ) from error
    return text


def _parquet(source: Source) -> Iterator[tuple[str | None, str, int]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise BackendMissing(
            f"reading {source.path} needs the package pyarrow", hint="pip install 'ogpt[data]'"
        ) from error
    row = unpacked = 0
    try:
        # page by page through a buffer, as a row group may be larger than memory
        with parquet.ParquetFile(source.path, buffer_size=1 << 20, pre_buffer=False) as file:
            _check_column(source, file.schema_arrow)
            rows = max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=ROWS, columns=[source.text_field]):
                unpacked += batch.nbytes
                check_ratio(source.path, source.size, unpacked)
                for text in batch.column(0).to_pylist():
                    row += 1
                    yield text, f"{source.path}, row {row}", source.size * row // rows
    except DataError:
        raise
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamagedData(
            f"{source.path} is damaged: not a whole parquet file ({error})",
            hint="fetch or write the file again",
        ) from error


def _check_column(source: Source, schema: Any) -> None:
    kinds = {name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True)}
    if kinds.get(source.text_field) not in ("string", "large_string", "string_view"):
        columns = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise DataError(
            f"{source.path} has no column `{source.text_field}` of strings; its columns are "
            f"{columns}",
            hint=f"name the column that holds the text: {_FIELD_OPTION}",
        )
