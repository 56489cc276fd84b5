"""Read files that others wrote: text in pieces, with decompression, and JSON with limits."""

from __future__ import annotations

import codecs
import gzip
import json
import reprlib
import sys
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from ogpt.errors import BackendMissing, DamagedData, DataError, OgptError

Compression = Literal["", ".gz", ".zst"]

PIECE = 1 << 18
"""Bytes per read."""

# A decompressor returns all output of its input at once. zstandard expands a byte to 32,768 at
# most (a run-length block), so that this many packed bytes give at most 64 MiB.
ZSTD_PIECE = 1 << 11

LARGEST_RATIO = 200
"""Allowed growth of an archive. Text grows 3 to 10 times, very regular tables about 100 times."""

RATIO_FLOOR = 64 << 20
"""Bytes that any archive may unpack to, whatever its ratio: small files may be very regular."""

MAX_NESTING = 100
"""Depth of lists and objects in JSON. Real files need fewer than 10; recursive code needs a limit
below Python's own (1,000 frames)."""

E = TypeVar("E", bound=OgptError)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100


def read_text(
    path: Path, encoding: str = "utf-8", compression: Compression = ""
) -> Iterator[tuple[str, int]]:
    """Decompress and decode a file piece by piece, so that memory use does not grow with it.

    Args:
        path: The file.
        encoding: Any codec of Python; a byte-order mark of UTF-8 is removed in any case.
        compression: ".gz", ".zst", or "" for none.

    Yields:
        A piece of text, and the number of bytes of the file read so far.

    Raises:
        DataError: the content is binary, or does not match the encoding.
        DamagedData: an archive is incomplete, altered, or unpacks to more than check_ratio allows.
        BackendMissing: zstandard is not installed.
    """
    codec = _without_signature(encoding)
    wide = b"\0" in "a".encode(codec)  # UTF-16 and UTF-32 have zero bytes in ordinary text
    decoder = codecs.getincrementaldecoder(codec)()

    def decode(packed: bytes, read: int, *, final: bool) -> str:
        waiting = len(decoder.getstate()[0])  # bytes of a character split between two pieces
        try:
            return decoder.decode(packed, final)
        except UnicodeError as error:
            start = getattr(error, "start", 0)
            at = read - waiting + start
            where = "of the unpacked text " if compression else ""
            line = newlines + packed[: max(0, start - waiting)].count(b"\n") + 1
            raise DataError(
                f"{path} is not {encoding}: at byte {at:,} {where}(line {line:,}: {error})",
                hint="pass its encoding, for example --encoding latin-1 (pretrain: --set "
                "data.encoding=latin-1), or convert the file",
            ) from error

    read = newlines = 0
    for packed, position in _read_bytes(path, compression):
        if not wide and b"\0" in packed:
            raise _binary(path, encoding, f"byte {read + packed.index(0):,} is zero")
        text = decode(packed, read, final=False)
        if wide and "\0" in text:
            raise _binary(path, encoding, f"a character before byte {read + len(packed):,} is zero")
        if not read:
            text = text.removeprefix("\ufeff")  # byte-order mark, written by some editors
        read += len(packed)
        newlines += packed.count(b"\n")
        yield text, position
    decode(b"", read, final=True)


def compression_of(path: Path) -> Compression:
    """How a file is compressed, by the extension of its name."""
    ending = path.suffix.lower()
    return ending if ending in (".gz", ".zst") else ""  # type: ignore[return-value]  # one of these


def read_stdin() -> str:
    """All of standard input as UTF-8 text, whatever the locale; a byte-order mark is removed.

    Raises:
        DataError: standard input is closed, or is not UTF-8.
    """
    if sys.stdin is None:
        raise _stdin_closed()
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _stdin_not_utf8(error) from error
    except OSError as error:
        raise unreadable(Path("standard input"), error) from error
    return text.replace("\r\n", "\n")


def stdin_lines() -> Iterator[list[str]]:
    """Lines of standard input as UTF-8 text, in lists of as many as have arrived.

    It waits for one line, not for the end of the input: whoever writes a line into a pipe gets its
    answer while the pipe stays open. Lines before one that is not UTF-8 come before its error.

    Raises:
        DataError: standard input is closed, or is not UTF-8.
    """
    if sys.stdin is None:
        raise _stdin_closed()
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    read, rest = 0, ""
    final = False
    while not final:
        try:
            piece = sys.stdin.buffer.read1(PIECE)  # type: ignore[union-attr]  # buffered
            waiting = len(decoder.getstate()[0])
            final = not piece
            *whole, rest = (rest + decoder.decode(piece, final)).split("\n")
        except UnicodeDecodeError as error:
            *whole, _ = (rest + error.object[: error.start].decode()).split("\n")
            if whole:
                yield [line.removesuffix("\r") for line in whole]
            raise _stdin_not_utf8(error, read - waiting) from error
        except OSError as error:
            raise unreadable(Path("standard input"), error) from error
        read += len(piece)
        whole += [rest] if final and rest else []
        if whole:
            yield [line.removesuffix("\r") for line in whole]


def _stdin_closed() -> DataError:
    return DataError("standard input is closed", hint="pipe text into the command")


def _stdin_not_utf8(error: UnicodeDecodeError, before: int = 0) -> DataError:
    return DataError(
        f"standard input is not utf-8: byte {before + error.start} is "
        f"0x{error.object[error.start]:02x}",
        hint="convert it first, for example with iconv -t utf-8",
    )


def parse_json(text: str, *, printable_names: bool = False) -> Any:
    """Parse JSON from a file that may be damaged or hostile.

    Args:
        text: The JSON text.
        printable_names: Refuse object keys with control characters. Use it where keys appear in
            messages, because terminals execute escape sequences.

    Raises:
        ValueError: the text is not JSON, is nested deeper than MAX_NESTING, or has an object with
            the same key twice (`json.loads` would silently keep the last one).
    """

    def check_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise ValueError(f"the key {shown(twice)} is there more than once")
        for name in found if printable_names else ():
            if not name.isprintable():
                raise ValueError(f"the key {shown(name)} is not printable")
        return found

    too_deep = f"lists and objects are nested more than {MAX_NESTING} deep"
    try:
        # a byte-order mark, which some editors write
        value = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=check_names)
    except RecursionError as error:
        raise ValueError(too_deep) from error
    level = [value]  # level by level, not by recursion, which the depth could exhaust
    for _ in range(MAX_NESTING + 1):
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return value
        level = [
            item for part in level for item in (part.values() if isinstance(part, dict) else part)
        ]
    raise ValueError(too_deep)


def shown(value: object) -> str:
    """Quote a value from a file, shortened to at most about 100 characters for a message."""
    return _SHORT.repr(value)


def unreadable(path: Path, error: OSError, kind: type[E] = DataError) -> E:  # type: ignore[assignment]  # E is DataError then
    """Make the error, of class `kind`, for a file that the operating system cannot read."""
    return kind(
        f"{path} cannot be read: {error.strerror or error}",
        hint="check the permissions of the file and the health of the disk",
    )


def check_ratio(path: Path, size: int, unpacked: int) -> None:
    """Refuse decompression bombs.

    Args:
        path: The archive.
        size: Bytes of the archive.
        unpacked: Bytes unpacked so far.

    Raises:
        DamagedData: `unpacked` is above LARGEST_RATIO times `size` and above RATIO_FLOOR.
    """
    if unpacked > max(RATIO_FLOOR, LARGEST_RATIO * size):
        raise DamagedData(
            f"{path} has {size:,} bytes and unpacks to at least {unpacked:,}; allowed: "
            f"{LARGEST_RATIO} times its size, or {RATIO_FLOOR >> 20} MiB if that is more",
            hint="if you trust the file, unpack it and pass the unpacked file",
        )


def _binary(path: Path, encoding: str, what: str) -> DataError:
    return DataError(
        f"{path} is binary, not {encoding} text: {what}",
        hint="pass text files; if this is text, pass its encoding, for example --encoding utf-16 "
        "(pretrain: --set data.encoding=utf-16)",
    )


def _without_signature(encoding: str) -> str:
    return "utf-8" if codecs.lookup(encoding).name == "utf-8-sig" else encoding


def _read_bytes(path: Path, compression: Compression) -> Iterator[tuple[bytes, int]]:
    pieces = {"": _read_plain, ".gz": _read_gzip, ".zst": _read_zstd}[compression](path)
    try:
        yield from pieces
    except gzip.BadGzipFile as error:
        raise _damaged(path, "gzip", str(error)) from error
    except OSError as error:
        raise unreadable(path, error) from error


def _read_plain(path: Path) -> Iterator[tuple[bytes, int]]:
    with open(path, "rb") as stream:
        while piece := stream.read(PIECE):
            yield piece, stream.tell()


def _read_gzip(path: Path) -> Iterator[tuple[bytes, int]]:
    size = path.stat().st_size
    unpacked = 0
    with open(path, "rb") as packed, gzip.GzipFile(fileobj=packed) as stream:
        while True:
            try:
                piece = stream.read(PIECE)
            except EOFError as error:
                raise _damaged(path, "gzip", "it is incomplete") from error
            except zlib.error as error:
                raise _damaged(path, "gzip", str(error)) from error
            if not piece:
                return
            unpacked += len(piece)
            check_ratio(path, size, unpacked)
            yield piece, packed.tell()


def _read_zstd(path: Path) -> Iterator[tuple[bytes, int]]:
    try:
        import zstandard
    except ImportError as error:
        raise BackendMissing(
            f"reading {path} needs the package zstandard", hint="pip install 'ogpt[data]'"
        ) from error
    size = path.stat().st_size
    unpacked = 0
    with open(path, "rb") as packed:
        frame = zstandard.ZstdDecompressor().decompressobj()
        inside = False  # within a frame
        while piece := packed.read(ZSTD_PIECE):
            while piece:
                try:
                    text = frame.decompress(piece)
                except zstandard.ZstdError as error:
                    raise _damaged(path, "zstandard", str(error)) from error
                unpacked += len(text)
                check_ratio(path, size, unpacked)
                inside = not frame.eof
                piece = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                if text:
                    yield text, packed.tell()
        if inside:
            raise _damaged(path, "zstandard", "it is incomplete")


def _damaged(path: Path, kind: str, reason: str) -> DamagedData:
    return DamagedData(
        f"{path} is damaged: not a valid {kind} file ({reason})",
        hint="download or compress the file again",
    )
