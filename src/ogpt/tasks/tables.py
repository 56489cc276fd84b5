"""Files of rows: .jsonl, .csv, .tsv and .parquet, also .gz and .zst, as dictionaries."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ogpt.errors import BackendMissing, DamagedData, DataError, SourceNotFound
from ogpt.reading import Compression, compression_of, parse_json, read_text, shown

ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet")

LONGEST_FIELD = 1 << 24
"""Characters of a text in a table; the 128 Ki that `csv` allows are fewer than a book has."""


class TableRow(NamedTuple):
    """One row of a file."""

    fields: dict[str, Any]
    place: str
    """File and line, for messages."""


def read_rows(path: Path) -> Iterator[TableRow]:
    """Read the rows of a file, as its name says what it is.

    .csv has commas and quotes, .tsv has tabs and no quoting at all, as in the GLUE files; both have
    a header.

    Raises:
        SourceNotFound: the file does not exist.
        DataError: another format, text that is not UTF-8, or a row with too many or too few fields.
        DamagedData: a damaged archive, or a line that is not JSON.
        BackendMissing: pyarrow or zstandard is not installed.
    """
    if not path.is_file():
        raise SourceNotFound(
            f"{path} is not a file", hint=f"pass a file with rows: {', '.join(ENDINGS)}"
        )
    compression = compression_of(path)
    kind = Path(path.name.removesuffix(compression)).suffix.lower()
    if kind == ".parquet":
        yield from _parquet(path)
        return
    if kind not in ENDINGS:
        raise DataError(
            f"{path} has the ending {kind!r}; allowed: {', '.join(ENDINGS)}, and .gz or .zst after "
            "them",
            hint="unpack an archive first; rename another file by its format",
        )
    text = _text(path, compression)
    if kind == ".jsonl":
        yield from _json_lines(path, text)
    elif kind == ".tsv":
        yield from _table(path, csv.reader(lines(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    else:
        yield from _table(path, csv.reader(io.StringIO(text, newline=""), strict=True))


def _text(path: Path, compression: Compression) -> str:
    try:
        return "".join(piece for piece, _ in read_text(path, compression=compression))
    except DamagedData:
        raise
    except DataError as error:
        raise DataError(
            str(error),
            hint="write the file in UTF-8, for example with iconv -t utf-8 and -f cp1252, or -f "
            "utf-16 if it has zero bytes",
        ) from error


def lines(text: str) -> Iterator[str]:
    """The lines of a text, divided at line feeds alone: U+2028 may stand inside a sentence."""
    start = 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end].removesuffix("\r")
        start = end + 1


def _json_lines(path: Path, text: str) -> Iterator[TableRow]:
    for number, line in enumerate(lines(text), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            fields = parse_json(line, printable_names=True)
        except ValueError as error:
            raise DamagedData(
                f"{place} is not JSON: {error}", hint="write one JSON object per line"
            ) from error
        if not isinstance(fields, dict):
            raise DataError(
                f"{place} is {shown(fields)}; allowed: a JSON object",
                hint="write one JSON object per line",
            )
        yield TableRow(fields, place)


def _table(path: Path, reader: Any) -> Iterator[TableRow]:
    """The rows of a table under its header."""
    header: list[str] | None = None
    longest = csv.field_size_limit(LONGEST_FIELD)
    try:
        for values in reader:
            if not values:
                continue
            if header is None:
                header = _checked_header(path, values)
                continue
            place = f"{path}, line {reader.line_num}"
            if len(values) != len(header):
                raise DataError(
                    f"{place} has {len(values)} fields; the header has {len(header)}",
                    hint="quote fields with commas in .csv; a .tsv has no quotes, and no tabs or "
                    "line breaks inside a field",
                )
            yield TableRow(dict(zip(header, values, strict=True)), place)
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}, cannot be read: {error}",
            hint="check the quotes of the lines before it, or write JSON Lines",
        ) from error
    finally:
        csv.field_size_limit(longest)


def _checked_header(path: Path, names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"the header of {path} has {twice[0]!r} more than once",
            hint="give every column a name of its own",
        )
    return names


def _parquet(path: Path) -> Iterator[TableRow]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise BackendMissing(
            f"reading {path} needs the package pyarrow", hint="pip install 'ogpt[data]'"
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for fields in batch.to_pylist():
                    number += 1
                    yield TableRow(fields, f"{path}, row {number}")
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamagedData(
            f"{path} is damaged: not a whole parquet file ({error})",
            hint="fetch or write the file again",
        ) from error
