"""From bytes on disk to text in pieces: gzip, zstandard, decoding; memory stays flat."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from ogpt.errors import BackendMissing, DamagedData, DataError

Compression = Literal["", ".gz", ".zst"]

PIECE = 1 << 18  # bytes read at once
ZSTD_PIECE = 1 << 11  # packed bytes; zstandard repeats a byte 32,768 times for one: 64 MiB at most
LARGEST_RATIO = 200  # text packs to a third or a tenth; tables of the worst kind to a hundredth
RATIO_FLOOR = 64 << 20  # bytes that may come out of any archive


def read_text(
    path: Path, encoding: str = "utf-8", compression: Compression = ""
) -> Iterator[tuple[str, int]]:
    """Decode a file piece by piece; yields text and the bytes of the file read so far.

    Raises:
        DataError: binary content, or bytes that the encoding does not allow.
        DamagedData: an archive that is cut short, altered, or unpacks to far too much.
    """
    codec = _without_signature(encoding)
    wide = b"\0" in "a".encode(codec)  # UTF-16 and UTF-32 have zero bytes in plain text
    decoder = codecs.getincrementaldecoder(codec)()

    def decode(packed: bytes, read: int, *, final: bool) -> str:
        waiting = len(decoder.getstate()[0])  # bytes of a character that the last piece cut
        try:
            return decoder.decode(packed, final)
        except UnicodeError as error:
            at = read - waiting + getattr(error, "start", 0)
            where = "of its unpacked text " if compression else ""
            raise DataError(
                f"{path} is not {encoding}: at byte {at:,} {where}({error})",
                hint="name its encoding, for example --encoding latin-1 (for pretrain --set "
                "data.encoding=latin-1), or convert the file",
            ) from error

    read = 0
    for packed, position in _read_bytes(path, compression):
        if not wide and b"\0" in packed:
            raise _binary(path, encoding, f"byte {read + packed.index(0):,} is zero")
        text = decode(packed, read, final=False)
        if wide and "\0" in text:
            raise _binary(path, encoding, f"a character before byte {read + len(packed):,} is zero")
        if not read:
            text = text.removeprefix("\ufeff")  # the signature that some editors write
        read += len(packed)
        yield text, position
    decode(b"", read, final=True)


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for a file that the system does not let us read."""
    return DataError(
        f"{path} cannot be read: {error.strerror or error}",
        hint="check the permissions of the file and the health of the disk",
    )


def check_ratio(path: Path, size: int, unpacked: int) -> None:
    """Refuse what unpacks to over 200 times its size and over 64 MiB.

    Raises:
        DamagedData: it does.
    """
    if unpacked > max(RATIO_FLOOR, LARGEST_RATIO * size):
        raise DamagedData(
            f"{path} has {size:,} bytes and unpacks to more than {unpacked:,}; allowed are "
            f"{LARGEST_RATIO} times its size, or {RATIO_FLOOR >> 20} MiB if that is more",
            hint="if the file is honest, unpack it first and give the unpacked file",
        )


def _binary(path: Path, encoding: str, what: str) -> DataError:
    return DataError(
        f"{path} is binary, not {encoding} text: {what}",
        hint="give text files; if it is text, name its encoding, for example --encoding utf-16 "
        "(for pretrain --set data.encoding=utf-16)",
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
                raise _damaged(path, "gzip", "it is cut short") from error
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
        inside = False  # a frame is begun and not ended
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
            raise _damaged(path, "zstandard", "it is cut short")


def _damaged(path: Path, kind: str, reason: str) -> DamagedData:
    return DamagedData(
        f"{path} is damaged: not a whole {kind} file ({reason})",
        hint="fetch or pack the file again",
    )
