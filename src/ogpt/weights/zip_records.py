"""The records of a zip archive that torch.save wrote: where they lie, and their checksums."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from ogpt.errors import WeightsError
from ogpt.weights.opened import Opened, damaged
from ogpt.weights.tensor_pickle import TRUST, described

ZIP_MAGIC = b"PK\x03\x04"

_DIRECTORY_LIMIT = 2**23  # bytes of the directory of a zip archive: about 80,000 records
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # magic, ..., lengths of the name and the extra field
# Flags of a zip record (PKWARE's APPNOTE, section 4.4.4).
_UTF8 = 0x800
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_PIECE = 2**20  # bytes read at once


class ZipRecord(NamedTuple):
    """A record of a zip archive."""

    begin: int
    """Position of its data in the file."""
    size: int
    """Bytes of its data."""
    crc: int
    """CRC-32 of its data; 0 where torch.serialization.set_crc32_options(False) omitted it."""

    def check(self, file: Path, name: str, read: Callable[[int, int], bytes]) -> None:
        """Compare the data with the checksum, if there is one.

        Args:
            file: The archive, for the message.
            name: Of the record.
            read: From a position and a number of bytes to the bytes of the archive.

        Raises:
            WeightsError: they differ.
        """
        if not self.crc:
            return
        found = 0
        for at in range(self.begin, self.begin + self.size, _PIECE):
            found = zlib.crc32(read(at, min(_PIECE, self.begin + self.size - at)), found)
        self.compare(file, name, found)

    def compare(self, file: Path, name: str, found: int) -> None:
        """Compare the checksum with that of the data.

        Raises:
            WeightsError: they differ.
        """
        if self.crc not in (0, found):
            raise damaged(
                file,
                f"the checksum of the record {described(name)} is {found:08x}; the archive's "
                f"directory says {self.crc:08x}",
            )


class _Bounded:
    """Limits reads of zipfile, which otherwise reads a directory of any size at once."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1, /) -> bytes:
        if size > _DIRECTORY_LIMIT:
            raise ValueError(f"it has {size} bytes; allowed: {_DIRECTORY_LIMIT}")
        return self._stream.read(size)


def check_records(file: Path) -> None:
    """Compare each record of a zip archive with its checksum; any other file has none.

    Args:
        file: Such as pytorch_model.bin.

    Raises:
        WeightsError: the file is missing or damaged, or a checksum differs.
    """
    opened = Opened(file)
    if opened.read(0, min(len(ZIP_MAGIC), opened.size)) != ZIP_MAGIC:
        return
    with open(file, "rb") as stream:
        records = zip_records(file, stream)
    for name, record in records.items():
        record.check(file, name, opened.read)


def zip_records(file: Path, stream: BufferedReader) -> dict[str, ZipRecord]:
    """Find the records of a zip archive, after checking that none overlap.

    Raises:
        WeightsError: the directory is damaged, or a record is compressed, encrypted, or outside.
    """
    try:
        with zipfile.ZipFile(_Bounded(stream)) as archive:
            entries, end = archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise damaged(file, f"its zip directory is invalid: {error}") from error
    records: dict[str, ZipRecord] = {}
    # From the last record to the first: each must end before the next one starts.
    for entry in sorted(entries, key=lambda entry: entry.header_offset, reverse=True):
        name = entry.orig_filename
        if name in records:
            raise damaged(file, f"two records have the name {described(name)}")
        if ".." in name.split("/") or name.startswith("/") or "\\" in name:
            raise damaged(file, f"the record name {described(name)} leaves the archive")
        if entry.flag_bits & _ENCRYPTED:
            raise WeightsError(f"{file}: record {described(name)} is encrypted", hint=TRUST)
        if entry.compress_type or entry.compress_size != entry.file_size:
            raise WeightsError(
                f"{file}: record {described(name)} is compressed ({entry.compress_size} bytes for "
                f"{entry.file_size}); allowed: uncompressed records, as torch.save writes them",
                hint=TRUST,
            )
        begin = _data_begin(file, stream, entry, end)
        records[name] = ZipRecord(begin, entry.file_size, entry.CRC)
        end = entry.header_offset
    return records


def _data_begin(file: Path, stream: BufferedReader, entry: zipfile.ZipInfo, end: int) -> int:
    """Return the position of the data of a record: after its local header, of variable length."""
    name = entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8 else "cp437")
    if 0 <= entry.header_offset < end:  # the directory follows and is longer than a header
        stream.seek(entry.header_offset)
        header = stream.read(_LOCAL_HEADER.size + len(name))
        magic, name_length, extra_length = _LOCAL_HEADER.unpack_from(header)
        begin = entry.header_offset + len(header) + int(extra_length)
        found = magic, name_length, header[_LOCAL_HEADER.size :]
        if found == (ZIP_MAGIC, len(name), name) and begin + entry.file_size <= end:
            return begin
    raise damaged(
        file,
        f"record {described(entry.orig_filename)} of {entry.file_size} bytes is not between byte "
        f"{entry.header_offset} and byte {end}, as the directory says",
    )
