"""The field that holds the text: chosen by name, part of what data was made from, nulls counted."""

import json

import pytest

import ogpt
from ogpt.config.pretrain_settings import DataSettings
from ogpt.data.documents import documents
from ogpt.data.sources import open_sources
from ogpt.errors import DataError, OutputExists
from ogpt.notices import collecting
from tests.tasks.small import tokenizer

ROWS = [
    {"body": "first text", "text": "another field"},
    {"body": None, "text": "x"},
    {"body": "second text", "text": "x"},
    {"body": None, "text": "x"},
]


@pytest.fixture(params=["jsonl", "parquet"])
def file(request, tmp_path):
    path = tmp_path / f"rows.{request.param}"
    if request.param == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def test_the_named_field_is_read_and_nulls_are_counted_once(file):
    sources = open_sources(file, text_field="body")
    with collecting() as notices:
        for _ in range(2):
            assert [one.text for one in documents(sources)] == ["first text", "second text"]
    assert [notice.message for notice in notices] == ["2 rows were skipped: their text is null"]


def test_the_usual_field_is_text(file):
    assert [one.text for one in documents(open_sources(file))] == ["another field", "x", "x", "x"]


def test_a_missing_field_is_named_with_those_there_are(file):
    with pytest.raises(DataError, match=r"`content`.*body.*text") as error:
        list(documents(open_sources(file, text_field="content")))
    assert "--text-field NAME" in error.value.hint
    assert "data.text_field" in error.value.hint


def test_a_field_of_numbers_is_refused(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"body": 3}\n', "utf-8")
    with pytest.raises(DataError, match="line 1 has no string `body`"):
        list(documents(open_sources(path, text_field="body")))


def test_an_empty_name_is_refused(file):
    with pytest.raises(DataError, match="the text field is ''; allowed: the name"):
        open_sources(file, text_field="")


def test_text_files_have_no_fields(tmp_path):
    (tmp_path / "a.txt").write_text("some text")
    with collecting() as notices:
        open_sources(tmp_path / "a.txt", text_field="body")
    assert "the text field 'body' has no effect" in notices[0].message


def test_shards_and_tokenizers_know_their_field(tmp_path):
    rows = [{"body": "good film " * n, "text": "bad end " * n} for n in range(1, 40)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for out, field in (("a", "body"), ("b", "text")):
        settings = DataSettings(text_field=field)
        shards = ogpt.prepare(data, tokenizer(), tmp_path / out, settings=settings)
        assert ("text_field" in shards.manifest.inputs) == (field == "body")
    with pytest.raises(OutputExists):
        ogpt.prepare(data, tokenizer(), tmp_path / "a", settings=DataSettings())
    with collecting():  # fewer entries than asked for
        one = ogpt.train_tokenizer(data, 60, tmp_path / "t", text_field="body")
        again = ogpt.train_tokenizer(data, 60, tmp_path / "t", text_field="body")
        assert one.fingerprint == again.fingerprint
        with pytest.raises(OutputExists):
            ogpt.train_tokenizer(data, 60, tmp_path / "t")
