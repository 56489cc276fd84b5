"""Bytes to text: encodings, archives that are damaged, cut short or bombs."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ogpt.data.sources import Source, open_sources
from ogpt.errors import BackendMissing, DamagedData, DataError
from ogpt.reading import (
    PIECE,
    RATIO_FLOOR,
    ZSTD_PIECE,
    parse_json,
    read_stdin,
    read_text,
    stdin_lines,
)


def source_of(path: Path, content: bytes, encoding: str = "utf-8") -> Source:
    path.write_bytes(content)
    return open_sources([path], encoding)[0]


def text_of(source: Source) -> str:
    return "".join(text for text, _ in read_text(source.path, source.encoding, source.compression))


PACKERS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress}
LONG = "".join(f"line {number}: naïve café, 漢字\n" for number in range(40_000))


@pytest.mark.parametrize("ending", PACKERS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "gb18030"])
def test_text_comes_back_whole(tmp_path: Path, ending: str, encoding: str) -> None:
    packed = PACKERS[ending](LONG.encode(encoding))
    source = source_of(tmp_path / f"a.txt{ending}", packed, encoding)
    pieces = list(read_text(source.path, source.encoding, source.compression))
    assert "".join(text for text, _ in pieces) == LONG
    assert max(len(text) for text, _ in pieces) <= PIECE
    positions = [position for _, position in pieces]
    assert positions == sorted(positions)
    assert positions[-1] == len(packed)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_signature_is_no_text(tmp_path: Path, encoding: str) -> None:
    assert text_of(source_of(tmp_path / "a.txt", b"\xef\xbb\xbfhello", encoding)) == "hello"


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_archives_of_several_parts(tmp_path: Path, ending: str) -> None:
    packed = b"".join(PACKERS[ending](part) for part in (b"one ", b"", b"two ", b"three"))
    assert text_of(source_of(tmp_path / f"a.txt{ending}", packed)) == "one two three"


@pytest.mark.parametrize("at", [0, 1, 1000, PIECE - 1, PIECE, PIECE + 1, 300_000])
def test_a_wrong_encoding_is_reported_with_its_byte(tmp_path: Path, at: int) -> None:
    content = b"a" * at + "é".encode("latin-1") + b" and more"
    message = rf"a\.txt is not utf-8: at byte {at:,} \("
    with pytest.raises(DataError, match=message) as caught:
        text_of(source_of(tmp_path / "a.txt", content))
    assert "--encoding" in caught.value.hint
    assert "é and more" in text_of(source_of(tmp_path / "a.txt", content, "latin-1"))


@pytest.mark.parametrize(("before", "line"), [("a\n" * 3, 4), ("a\n" * PIECE, PIECE + 1), ("", 1)])
def test_a_wrong_encoding_is_reported_with_its_line(tmp_path: Path, before: str, line: int) -> None:
    content = before.encode() + b"b\xe9"
    with pytest.raises(DataError, match=rf"\(line {line:,}: "):
        text_of(source_of(tmp_path / "a.txt", content + b"\nb"))


@pytest.mark.parametrize("cut", [1, 2])
def test_a_character_cut_short_at_the_end(tmp_path: Path, cut: int) -> None:
    content = b"a" * (PIECE - 1) + "漢".encode()[:cut]
    with pytest.raises(DataError, match=f"at byte {PIECE - 1:,}"):
        text_of(source_of(tmp_path / "a.txt", content))


def test_in_an_archive_the_byte_is_that_of_the_text(tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.txt.gz", gzip.compress(b"a" * 70 + b"\xff"))
    with pytest.raises(DataError, match="at byte 70 of the unpacked text"):
        text_of(source)


def test_utf16_without_its_mark(tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.txt", "plain".encode("utf-16-be"), "utf-16")
    with pytest.raises(DataError, match="is not utf-16: at byte 0"):
        text_of(source)


@pytest.mark.parametrize("at", [0, 5, PIECE + 5])
def test_binary_files(tmp_path: Path, at: int) -> None:
    source = source_of(tmp_path / "a.txt", b"a" * at + b"\0\xff")
    with pytest.raises(DataError, match=rf"binary, not utf-8 text: byte {at:,} is zero") as caught:
        text_of(source)
    assert "utf-16" in caught.value.hint


def test_binary_files_as_utf16(tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.txt", "a\0b".encode("utf-16"), "utf-16")
    with pytest.raises(DataError, match="a character before byte 8 is zero"):
        text_of(source)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("left", [5, 0.5, 0.99])
def test_archives_cut_short(tmp_path: Path, ending: str, left: float) -> None:
    packed = PACKERS[ending](LONG.encode())
    keep = left if isinstance(left, int) else int(len(packed) * left)
    source = source_of(tmp_path / f"a.txt{ending}", packed[:keep])
    kind = {".gz": "gzip", ".zst": "zstandard"}[ending]
    with pytest.raises(DamagedData, match=f"not a valid {kind} file .it is incomplete") as caught:
        text_of(source)
    assert "again" in caught.value.hint


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_archives_that_are_none(tmp_path: Path, ending: str) -> None:
    with pytest.raises(DamagedData, match="not a valid"):
        text_of(source_of(tmp_path / f"a.txt{ending}", b"plain text, wrongly named"))


@pytest.mark.parametrize("at", [0.3, 0.9])
def test_gzip_altered_inside(tmp_path: Path, at: float) -> None:
    packed = bytearray(gzip.compress(LONG.encode()))
    packed[int(len(packed) * at)] ^= 0x55
    with pytest.raises(DataError):  # no deflate, a wrong checksum, or text that is not UTF-8
        text_of(source_of(tmp_path / "a.txt.gz", bytes(packed)))
    packed = bytearray(gzip.compress(b"a" * 1000))
    packed[-8] ^= 1
    with pytest.raises(DamagedData, match="CRC"):
        text_of(source_of(tmp_path / "a.txt.gz", bytes(packed)))


def test_gzip_of_no_known_method(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"a" * 1000))
    packed[10] = 0xFF  # a deflate block of type 3, which there is not
    with pytest.raises(DamagedData, match="invalid block type"):
        text_of(source_of(tmp_path / "a.txt.gz", bytes(packed)))


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_bombs_are_refused_in_little_memory(tmp_path: Path, ending: str) -> None:
    if ending == ".gz":
        packed = b"".join(gzip.compress(b"a" * (1 << 22)) for _ in range(60))
    else:
        compressor = zstandard.ZstdCompressor().compressobj()
        packed = b"".join(compressor.compress(b"a" * (1 << 22)) for _ in range(60))
        packed += compressor.flush()
    source = source_of(tmp_path / f"a.txt{ending}", packed)
    read = 0
    with pytest.raises(DamagedData, match="allowed: 200 times its size, or 64 MiB") as caught:
        for text, _ in read_text(source.path, source.encoding, source.compression):
            read += len(text)
    assert "unpack it and pass" in caught.value.hint
    assert read <= max(RATIO_FLOOR, 200 * len(packed))
    assert ZSTD_PIECE * 32_768 <= RATIO_FLOOR


def test_small_archives_may_unpack_to_much(tmp_path: Path) -> None:
    assert len(text_of(source_of(tmp_path / "a.txt.gz", gzip.compress(b"a" * 10_000_000)))) == 10**7


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.txt", b"text")
    source.path.unlink()
    with pytest.raises(DataError, match=r"a\.txt cannot be read: No such file"):
        text_of(source)


def test_zstandard_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    source = source_of(tmp_path / "a.txt.zst", zstandard.compress(b"text"))
    with pytest.raises(BackendMissing, match="needs the package zstandard") as caught:
        text_of(source)
    assert caught.value.hint == "pip install 'ogpt[data]'"


def test_json_comes_back() -> None:
    assert parse_json('{"b": [1, {"a": null}], "\\u001b": 2.5}') == {
        "b": [1, {"a": None}],
        "\x1b": 2.5,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ('[{"a": 1, "b": 2, "a": 1}]', "the key 'a' is there more than once"),
        ('{"b": {"\\u001b[31m": 1}}', r"the key '\\x1b\[31m' is not printable"),
        ('{"\\ud800": 1}', r"the key '\\ud800' is not printable"),
        ("[" * 101 + "]" * 101, "nested more than 100 deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested more than 100 deep"),
    ],
)
def test_json_that_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text, printable_names=True)


def test_json_nested_as_deep_as_allowed() -> None:
    text = "[" * 100 + "]" * 100
    assert parse_json(text) == json.loads(text)


def standard_input(monkeypatch: pytest.MonkeyPatch, stream: io.BytesIO) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream, encoding="ascii"))


def test_standard_input_is_utf8_in_every_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, io.BytesIO("\ufeffé\r\n東\n".encode()))
    assert read_stdin() == "é\n東\n"
    standard_input(monkeypatch, io.BytesIO("\ufeffé\r\n東\n".encode()))
    assert list(stdin_lines()) == [["é", "東"]]
    standard_input(monkeypatch, io.BytesIO("\n東".encode()))  # without a last line break
    assert list(stdin_lines()) == [[""], ["東"]]


class Pieces(io.RawIOBase):
    """A pipe that gives what is written into it, piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.pieces.pop(0) if self.pieces else b""
        buffer[: len(piece)] = piece
        return len(piece)


def test_lines_of_standard_input_come_as_they_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = "a b\n", "c", "d\ne\n\u00e9"
    first, second, third = (piece.encode() for piece in pieces)
    stream = io.BufferedReader(Pieces(first, second, third[:-1], third[-1:]))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    assert list(stdin_lines()) == [["a b"], ["cd", "e"], ["é"]]


class Torn(io.RawIOBase):
    """A pipe that fails."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise OSError(5, "Input/output error")


def test_standard_input_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, io.BytesIO(b"caf\xe9"))
    with pytest.raises(DataError, match="standard input is not utf-8: byte 3 is 0xe9") as caught:
        read_stdin()
    assert "iconv" in caught.value.hint
    for pieces in ((b"caf\xe9",), (b"c\na", b"\xe9x"), (b"c\n", b"a\xe9")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Pieces(*pieces))))
        with pytest.raises(DataError, match="standard input is not utf-8: byte 3 is 0xe9"):
            list(stdin_lines())
    for reading in (read_stdin, lambda: list(stdin_lines())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Torn())))
        with pytest.raises(DataError, match="standard input cannot be read: Input/output error"):
            reading()
        monkeypatch.setattr(sys, "stdin", None)
        with pytest.raises(DataError, match="standard input is closed") as caught:
            reading()
    assert caught.value.hint == "pipe text into the command"
