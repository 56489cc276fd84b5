"""Rows of JSON Lines in and out: what is read, what is kept, what is refused."""

import hashlib
import json
from pathlib import Path

import pytest

from ogpt.errors import DataError, OutputExists, StorageError
from ogpt.generation.texts.continuing import Generation
from ogpt.generation.texts.rows import FinishedRows, PromptRow, model_hash, read_rows

ROWS = [PromptRow("one", {"id": 1}), PromptRow("two", {}), PromptRow("three", {"id": 3})]


def generation(text: str) -> Generation:
    return Generation(text, "p", [1, 2], "length", [-0.5, -0.25], 1)


def test_rows_are_read(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(
        '{"prompt": "one", "text": "not this", "id": 1}\n\n{"text": "two\\u2028"}\n', "utf-8"
    )
    assert read_rows(file) == [PromptRow("one", {"id": 1}), PromptRow("two\u2028", {})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"prompt": "a"}\n{"prompt": 3}\n', "line 2 of .* is '{\"prompt\": 3}'; it must be"),
        (b"[1]\n", r"line 1 of .* is '\[1\]'; it must be a JSON object"),
        (b"{\n", "line 1 of .* is '{'; it must be"),
        (b"\n \n", "has no rows; at least one"),
        (b"\xff\n", "cannot be read: .*utf-8"),
        (None, "cannot be read: .*No such file"),
    ],
)
def test_rows_that_cannot_be_read(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "in.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_rows(file)
    assert caught.value.hint


def test_rows_stand_in_order_as_soon_as_they_are_whole(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    finished = FinishedRows(out, ROWS, ["asked"])
    with finished.appending() as append:
        append(1, generation("b"))
        assert out.read_bytes() == b""
        append(0, generation("a"))
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        assert [line["text"] for line in lines] == ["a", "b"]
        assert finished.count == 2
        append(2, generation("ø"))
    last = json.loads(out.read_text("utf-8").splitlines()[2])
    key = last.pop("request")
    assert len(key) == 16
    assert last == {
        "id": 3,
        "prompt": "three",
        "text": "ø",
        "finish_reason": "length",
        "new_tokens": 2,
        "log_prob": -0.75,
    }


def test_tokens_are_told_where_the_most_likely_were_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    tops = [[(1, -0.5), (4, -1.5)], [(7, -0.125), (2, -0.25)]]
    with FinishedRows(out, ROWS[:1], []).appending() as append:
        append(0, Generation("a", "p", [1, 2], "stop", [-0.5, -0.25], 1, tops))
    [line] = map(json.loads, out.read_text().splitlines())
    assert line["ids"] == [1, 2]
    assert line["log_probs"] == [-0.5, -0.25]
    assert line["top_log_probs"] == [[[1, -0.5], [4, -1.5]], [[7, -0.125], [2, -0.25]]]


def test_several_continuations_of_a_row(tmp_path: Path) -> None:
    finished = FinishedRows(tmp_path / "out.jsonl", ROWS[:2], [])
    with finished.appending(2) as append:
        for number in (3, 1, 0, 2):
            append(number, generation(str(number)))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    found = [[one["text"] for one in line["continuations"]] for line in lines]
    assert found == [["0", "1"], ["2", "3"]]


def write_all(out: Path, asked: object = "asked") -> bytes:
    finished = FinishedRows(out, ROWS, [asked])
    kept = finished.count
    with finished.appending() as append:
        for number, row in enumerate(ROWS[kept:]):
            append(number, generation(row.prompt))
    return out.read_bytes()


def test_a_killed_writer_goes_on_at_every_byte(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    whole = write_all(out)
    for length in range(0, len(whole) + 1, 7):
        out.write_bytes(whole[:length])
        kept = whole[:length].count(b"\n")
        assert FinishedRows(out, ROWS, ["asked"]).count == kept
        assert write_all(out) == whole
    assert FinishedRows(out, ROWS, ["asked"]).count == 3


def test_another_request_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    whole = write_all(out)
    changed = [ROWS[0], PromptRow("2", {}), ROWS[2]]
    for rows, asked, line in (
        (ROWS, "else", 1),
        (changed, "asked", 2),
        (ROWS[:2], "asked", 3),
        ([ROWS[1], ROWS[0], ROWS[2]], "asked", 1),
    ):
        with pytest.raises(OutputExists, match=f"line {line} of .* input, the model or") as caught:
            FinishedRows(out, rows, [asked])
        assert "another --out" in caught.value.hint
    assert out.read_bytes() == whole
    for other in (b"a text\n", b"[1]\n", b'{"prompt": "one"}\n'):
        out.write_bytes(other)
        with pytest.raises(OutputExists, match="line 1"):
            FinishedRows(out, ROWS, ["asked"])


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not write") as caught:
        FinishedRows(tmp_path, ROWS, [])
    assert caught.value.hint
    lost = FinishedRows(tmp_path / "none" / "out.jsonl", ROWS, [])
    with pytest.raises(StorageError, match="could not write"), lost.appending():
        pass
    with (
        pytest.raises(OutputExists, match="mine"),
        FinishedRows(tmp_path / "out.jsonl", ROWS, []).appending(),
    ):
        raise OutputExists("mine", hint="errors of the work stay themselves")


def test_a_model_is_told_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"1")
    first = model_hash(tmp_path)
    (tmp_path / "README.md").write_text("a card says nothing")
    assert model_hash(tmp_path) == first
    (tmp_path / "model.safetensors").write_bytes(b"2")
    assert model_hash(tmp_path) != first
    assert len(first) == hashlib.sha256().digest_size * 2
