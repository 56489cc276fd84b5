"""The user's own files: every format, usual and given columns, and clear errors."""

import gzip
import json
import sys

import pytest

from ogpt.errors import BackendMissing, ConfigError, DamagedData, DataError, SourceNotFound
from ogpt.tasks.tables import read_rows
from ogpt.tasks.task_rows import example_of, parse_columns, read_examples

ROWS = [{"text": 'she said "no"', "label": "a"}, {"text": "one,\u2028two", "label": "b"}]


def texts(path, family="classification", columns=None, problem=None):
    examples, found = read_examples(path, family, columns or {}, problem)
    return [(example.texts, example.label) for example in examples], found


EXPECTED = [((row["text"],), row["label"]) for row in ROWS]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_json_lines(tmp_path):
    assert texts(write_jsonl(tmp_path / "a.jsonl", ROWS))[0] == EXPECTED


def test_compressed(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))
    assert texts(path)[0] == EXPECTED


def test_csv_has_quotes_and_a_signature(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        '\ufefftext,label\r\n"she said ""no""",a\r\n"one,\u2028two",b\r\n', "utf-8", newline=""
    )
    assert texts(path)[0] == EXPECTED


def test_tsv_has_no_quotes(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"she said\ta\nNA\tb\n', "utf-8")
    assert texts(path)[0] == [(('"she said',), "a"), (("NA",), "b")]


def test_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet")[0] == EXPECTED
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedData, match=r"b.parquet is damaged"):
        texts(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("family", "row", "expected"),
    [
        ("entailment", {"question": "q", "sentence": "s", "label": 1}, (("q", "s"), 1)),
        ("entailment", {"premise": "p", "hypothesis": "h"}, (("p", "h"), None)),
        ("similarity", {"sentence1": "a", "sentence2": "b", "score": 2.5}, (("a", "b"), 2.5)),
        (
            "multiple-choice",
            {"premise": "p", "question": "cause", "choices": ["x", "y"], "label": 1},
            (("p", "cause", "x", "y"), 1),
        ),
        ("multiple-choice", {"question": "q", "choices": ["x", "y"]}, (("", "q", "x", "y"), None)),
        (
            "classification",
            {"text": "t", "label": 1, "label_name": "good"},
            (("t",), "good"),
        ),
        ("classification", {"text": "t", "label": ["x", "y"]}, (("t",), ("x", "y"))),
        ("classification", {"text": "t", "label": True}, (("t",), "true")),
    ],
)
def test_usual_names_of_columns(family, row, expected, tmp_path):
    assert texts(write_jsonl(tmp_path / "a.jsonl", [row]), family)[0] == [expected]


def test_columns_are_given_by_role(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("gold,p,first,second\n1,once,x,y\n", "utf-8")
    columns = parse_columns("multiple-choice", ["label=gold", "context=p", "choices=first,second"])
    found, resolved = texts(path, "multiple-choice", columns)
    assert found == [(("once", "", "x", "y"), 1)]
    assert resolved == {"label": "gold", "context": "p", "choices": "first,second"}


def test_numbers_and_several_labels_in_tables(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,label\na,3\nb,2.5\nc,007\nd,\n", "utf-8")
    assert [label for _, label in texts(path)[0]] == [3, 2.5, "007", None]
    path.write_text("text,label\na,x|y\nb,x\n", "utf-8")
    found = texts(path, problem="multi_label_classification")[0]
    assert [label for _, label in found] == [("x", "y"), ("x",)]


def test_ids_of_rows_are_kept(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"text": "t", "id": 7}])
    assert read_examples(path, "classification", {})[0][0].id == "7"


@pytest.mark.parametrize("pair", ["gold", "score=x", "label="])
def test_a_column_needs_a_known_role_and_a_name(pair):
    with pytest.raises(ConfigError, match=r"--column is .*; allowed for classification: ROLE"):
        parse_columns("classification", [pair])


BAD = {
    "no column": (
        [{"body": "t"}],
        DataError,
        "no column 'text' for the text; its columns are body",
    ),
    "no text": ([{"text": 3, "label": "a"}], DataError, "text of .* is 3, int; allowed: a text"),
    "null": ([{"text": None}], DataError, "is None, NoneType; allowed: a text"),
    "half a pair": ([{"text": "a\ud800"}], DataError, "half a surrogate pair at character 1"),
    "a label": ([{"text": "a", "label": {"x": 1}}], DataError, "the label of .* is {'x': 1}"),
    "no object": ([["a"]], DataError, "line 1 is .*; allowed: a JSON object"),
    "no rows": ([], DataError, "has no rows"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_row_is_named(fault, tmp_path):
    rows, error, match = BAD[fault]
    with pytest.raises(error, match=match):
        texts(write_jsonl(tmp_path / "a.jsonl", rows))


@pytest.mark.parametrize("choices", ["x", ["x"], ["x", 3]])
def test_choices_are_a_list_of_texts(choices, tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"choices": choices}])
    with pytest.raises(DataError, match=r"choices of .* is .*; allowed: a"):
        texts(path, "multiple-choice")


def test_a_missing_given_column_is_named(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", ROWS)
    with pytest.raises(DataError, match="no column 'body' for the text") as error:
        texts(path, columns={"text": "body"})
    assert "--column text=NAME" in error.value.hint


FILES = {
    "a.csv": ("text,label\na\n", DataError, "line 2 has 1 fields; the header has 2"),
    "b.csv": ("text,text\na,b\n", DataError, "has 'text' more than once"),
    "c.csv": ('text,label\n"a,b\n', DataError, "c.csv, line 2, cannot be read"),
    "d.jsonl": ("{\n", DamagedData, "d.jsonl, line 1 is not JSON"),
    "e.xlsx": ("", DataError, "ending '.xlsx'; allowed: .jsonl"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_named(name, tmp_path):
    content, error, match = FILES[name]
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(error, match=match):
        list(read_rows(tmp_path / name))


def test_other_encodings_and_damaged_archives(tmp_path):
    (tmp_path / "a.csv").write_bytes("text,label\ncaf\xe9,a\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a.csv is not utf-8: at byte 14 \(line 2: "):
        list(read_rows(tmp_path / "a.csv"))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a"}\n' * 99)[:40])
    with pytest.raises(DamagedData, match=r"b.jsonl.gz is damaged"):
        list(read_rows(tmp_path / "b.jsonl.gz"))
    with pytest.raises(SourceNotFound, match="is not a file"):
        list(read_rows(tmp_path / "none.csv"))


def test_a_field_may_be_as_long_as_a_book(tmp_path):
    book = "word " * 40_000
    (tmp_path / "a.csv").write_text(f"text,label\n{book},a\n", "utf-8")
    (row,) = read_rows(tmp_path / "a.csv")
    assert row.fields == {"text": book, "label": "a"}


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(BackendMissing, match=r"a\.parquet needs the package pyarrow") as error:
        list(read_rows(tmp_path / "a.parquet"))
    assert error.value.hint == "pip install 'ogpt[data]'"


def test_a_row_of_a_program():
    found = example_of({"text": "t"}, "classification", {"text": "text", "label": "gold"}, "row 1")
    assert (found.texts, found.label, found.place) == (("t",), None, "row 1")
