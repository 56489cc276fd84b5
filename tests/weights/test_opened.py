import os
from pathlib import Path

import numpy as np
import pytest

from ogpt.errors import WeightsError
from ogpt.weights import opened
from ogpt.weights.opened import Opened, parse_header, read_json


def test_parts_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(bytes(range(16)))
    whole = Opened(file)
    assert whole.size == 16
    assert whole.read(3, 2) == b"\x03\x04"
    array = np.empty((2, 2), "<u2")
    whole.read_into(array, 8)
    assert array.tobytes() == bytes(range(8, 16))
    whole.read_into(np.empty((0, 3)), 16)


@pytest.mark.parametrize(
    ("kind", "why"),
    [("nothing", "No such file"), ("folder", "not a regular file"), ("pipe", "not a regular file")],
)
def test_no_file(kind: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(
        WeightsError, match=f"the weights file {path} cannot be read: .*{why}"
    ) as caught:
        Opened(path)
    assert "model.safetensors" in caught.value.hint


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="name too long"):
        Opened(tmp_path / ("a" * 5000))


def test_a_disk_that_fails(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"12345678")
    with pytest.raises(WeightsError, match="x cannot be read: Invalid argument") as caught:
        Opened(file).read(-1, 1)  # no offset that a file can have
    assert "permissions" in caught.value.hint


def test_reading_past_the_end(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"12345678")
    with pytest.raises(WeightsError, match="3 bytes after its first 5; 4 are needed") as caught:
        Opened(file).read(5, 4)
    assert "restore" in caught.value.hint


def test_a_file_that_changes_between_reads(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"12345678")
    whole = Opened(file)
    file.write_bytes(b"1234567")
    with pytest.raises(WeightsError, match="x has changed since it was opened") as caught:
        whole.read(0, 4)
    assert "load it again" in caught.value.hint


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text('{"ä": [1, {"ä": null}]}', "utf-8")
    assert read_json(file) == {"ä": [1, {"ä": None}]}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"", "Expecting value"),
        (b'{"a": 1, "a": 1}', "'a' is there more than once"),
        (b'[{"b": {"a": 1, "a": 1}}]', "'a' is there more than once"),
        (b'{"\\u001b[31m": 1}', r"'\\x1b\[31m' is not printable"),
        (b'{"\\ud800": 1}', r"'\\ud800' is not printable"),
        (b'{"\xff": 1}', "utf-8"),
        ('{"a": 1}'.encode("utf-16"), "utf-8"),
        (b"[" * 1_000_000, "nested more than 100 deep"),
        (b"9" * 5000, "digits"),
    ],
)
def test_json_that_is_refused(text: bytes, match: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        parse_header(tmp_path / "x.json", text)
    assert "x.json is damaged: its JSON is invalid" in str(caught.value)
    assert "restore" in caught.value.hint


def test_json_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opened, "JSON_LIMIT", 10)
    file = tmp_path / "x.json"
    file.write_text("[1, 2, 3, 4]")
    with pytest.raises(WeightsError, match="it has 12 bytes; allowed: 10") as caught:
        read_json(file)
    assert "restore" in caught.value.hint


def test_long_names_are_cut_in_messages(tmp_path: Path) -> None:
    name = b'"' + b"a" * 100_000 + b'"'
    with pytest.raises(WeightsError) as caught:
        parse_header(tmp_path / "x", b"{" + name + b":1," + name + b":1}")
    assert len(str(caught.value)) < 400
