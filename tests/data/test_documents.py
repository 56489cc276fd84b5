"""Files become documents: text is cut without loss, rows are checked one by one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ogpt.data import documents as module
from ogpt.data.documents import LONG_TEXT, LONGEST_TEXT, documents, split_text
from ogpt.data.sources import open_sources
from ogpt.errors import BackendMissing, DamagedData, DataError
from ogpt.notices import collecting


def texts(path: Path) -> list[str]:
    return [document.text for document in documents(open_sources([path]))]


def write_table(path: Path, column: Any, **options: Any) -> Path:
    parquet.write_table(pa.table({"id": list(range(len(column))), "text": column}), path, **options)
    return path


# ---- running text


def test_a_short_file_is_one_document(tmp_path: Path) -> None:
    text = "one\n\ntwo\r\n\r\nthree\n"
    (tmp_path / "a.md").write_text(text, newline="")
    assert texts(tmp_path / "a.md") == [text]


def test_a_long_file_is_cut_at_blank_lines(tmp_path: Path) -> None:
    paragraph = "some words in a line\n" * 50
    text = f"{paragraph}\r\n \n" * 300
    (tmp_path / "a.txt").write_text(text, newline="")
    found = texts(tmp_path / "a.txt")
    assert "".join(found) == text
    assert len(found) == 5
    assert all(document.endswith(f"{paragraph}\r\n \n") for document in found)
    assert all(LONG_TEXT <= len(document) < LONG_TEXT + 1100 for document in found[:-1])


@pytest.mark.parametrize(("unit", "end"), [("word word\n", "\n"), ("word ", " "), ("word", "")])
def test_text_without_blank_lines_is_cut_in_the_end(tmp_path: Path, unit: str, end: str) -> None:
    text = unit * (5 * LONGEST_TEXT // (2 * len(unit)))
    (tmp_path / "a.txt").write_text(text)
    found = texts(tmp_path / "a.txt")
    assert "".join(found) == text
    assert len(found) == 3
    assert all(document.endswith(end) and len(document) <= LONGEST_TEXT for document in found)


@settings(max_examples=200, deadline=None)
@given(text=st.text("ab \n\r\t", max_size=400), size=st.integers(1, 50))
def test_cutting_loses_nothing_and_ignores_the_size_of_reads(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LONG_TEXT", 20)
        patch.setattr(module, "LONGEST_TEXT", 60)
        pieces = [(text[at : at + size], at) for at in range(0, len(text), size)]
        found = [document for document, _ in split_text(pieces)]
        assert "".join(found) == text
        assert found == [document for document, _ in split_text([(text, 0)])]
        assert all(len(document) <= 60 for document in found)


def test_white_space_is_no_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n\n\t")
    (tmp_path / "b.jsonl").write_text('{"text": ""}\n{"text": "\\n"}\n{"text": "x"}\n')
    assert texts(tmp_path) == ["x"]


# ---- JSON lines


@pytest.mark.parametrize("ending", ["", "\n", "\n\n \n", "\r\n"])
def test_rows_are_documents(tmp_path: Path, ending: str) -> None:
    rows = ["one", "two\nlines", "line separator \u2028 inside", "🎈" * 300_000, "five"]
    lines = [json.dumps({"id": 1, "text": row}, ensure_ascii=row == "five") for row in rows]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + ending, "utf-8", newline="")
    found = list(documents(open_sources([tmp_path / "a.jsonl"])))
    assert [document.text for document in found] == rows
    assert [document.origin.rpartition(", ")[2] for document in found] == [
        f"line {number}" for number in (1, 2, 3, 4, 5)
    ]
    assert found[-1].position == (tmp_path / "a.jsonl").stat().st_size


@pytest.mark.parametrize(
    ("line", "error", "message", "hint"),
    [
        ('{"text": "cut', DamagedData, "line 3 is not JSON", "or delete the line"),
        ("plain text", DamagedData, "line 3 is not JSON", "one JSON object per line"),
        ("[" * 100_000, DamagedData, "line 3 is not JSON", "or delete"),
        ('{"n": 1' + "0" * 5000 + "}", DamagedData, "line 3 is not JSON", "or delete"),
        (r'{"text": "ab\ud83d"}', DamagedData, "line 3 has half a .* character 2", "whole"),
        ('{"txt": "a", "id": 1}', DataError, "line 3 has no .* the fields txt, id", "--text-field"),
        ('{"text": 3}', DataError, "line 3 has no string `text`", "--text-field"),
        ('{"text": ["a"]}', DataError, "line 3 has no string `text`", "--text-field"),
        ('["a"]', DataError, "line 3 has no string `text`; it has list", "--text-field"),
    ],
)
def test_bad_rows_are_named(
    tmp_path: Path, line: str, error: type[Exception], message: str, hint: str
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n' + line + '\n{"text": "b"}\n')
    found = documents(open_sources([tmp_path / "a.jsonl"]))
    assert next(found).text == "a"
    with pytest.raises(error, match=message) as caught:
        next(found)
    assert hint in caught.value.hint  # type: ignore[attr-defined]  # an OgptError


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 1_000_000)
    (tmp_path / "a.jsonl").write_text('{"text": "' + "a" * 2_000_000 + '"}')
    with pytest.raises(DataError, match="a line of more than 1,000,000 characters") as caught:
        texts(tmp_path / "a.jsonl")
    assert "one JSON object per line" in caught.value.hint


# ---- parquet


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
@pytest.mark.parametrize("compression", ["snappy", "zstd", "none"])
def test_rows_of_parquet(tmp_path: Path, kind: pa.DataType, compression: str) -> None:
    rows = [f"naïve row {number}" for number in range(1000)]
    options = {"compression": compression, "row_group_size": 300}
    write_table(tmp_path / "a.parquet", pa.array(rows, kind), **options)
    found = list(documents(open_sources([tmp_path / "a.parquet"])))
    assert [document.text for document in found] == rows
    assert found[-1].position == (tmp_path / "a.parquet").stat().st_size
    assert found[41].origin.endswith("a.parquet, row 42")


@pytest.mark.parametrize("left", [3, 100, 0.5, 0.99])
def test_parquet_cut_short(tmp_path: Path, left: float) -> None:
    path = write_table(tmp_path / "a.parquet", ["some text"] * 1000)
    content = path.read_bytes()
    path.write_bytes(content[: left if isinstance(left, int) else int(left * len(content))])
    with pytest.raises(DamagedData, match="not a whole parquet file") as caught:
        texts(path)
    assert "again" in caught.value.hint


def test_parquet_altered_inside(tmp_path: Path) -> None:
    rows = [f"row {number}" for number in range(5000)]
    path = write_table(tmp_path / "a.parquet", rows, compression="gzip", use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(DamagedData, match="not a whole parquet file"):
        texts(path)


def test_parquet_without_text(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"body": ["a"], "n": [1]}), tmp_path / "a.parquet")
    message = r"no column `text` of strings; its columns are body \(string\), n \(int64\)"
    with pytest.raises(DataError, match=message) as caught:
        texts(tmp_path / "a.parquet")
    assert "--text-field" in caught.value.hint
    write_table(tmp_path / "a.parquet", [1, 2])
    with pytest.raises(DataError, match=r"text \(int64\)"):
        texts(tmp_path / "a.parquet")


def test_parquet_with_a_null(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", ["a", None])
    with collecting() as notices:
        assert texts(tmp_path / "a.parquet") == ["a"]
    assert [notice.message for notice in notices] == ["1 rows were skipped: their text is null"]


def test_parquet_bombs_are_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", ["a" * 100_000] * 2000)
    assert path.stat().st_size < 300_000
    with pytest.raises(DamagedData, match="allowed: 200 times its size"):
        texts(path)


def test_pyarrow_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "a.parquet", ["a"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(BackendMissing, match="needs the package pyarrow") as caught:
        texts(tmp_path / "a.parquet")
    assert caught.value.hint == "pip install 'ogpt[data]'"
