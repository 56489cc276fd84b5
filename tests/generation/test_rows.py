"""Rows of JSON Lines in and out: what is read, what is kept, what is refused."""

import gzip
import hashlib
import io
import json
import sys
from pathlib import Path

import pytest
import zstandard

from ogpt.errors import ConfigError, DamagedData, DataError, OutputExists, StorageError
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.texts.continuing import Generation
from ogpt.generation.texts.rows import (
    FinishedRows,
    PromptRow,
    check_fields,
    check_output,
    model_hash,
    read_rows,
)

ROWS = [PromptRow("one", {"id": 1}), PromptRow("two", {}), PromptRow("three", {"id": 3})]


def generation(text: str) -> Generation:
    return Generation(text, "p", [1, 2], "length", [-0.5, -0.25], 1)


def test_rows_are_read(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text(
        '{"prompt": "one", "text": "not this", "id": 1}\n\n{"text": "two\\u2028"}\n', "utf-8"
    )
    assert read_rows(file) == [
        PromptRow("one", {"text": "not this", "id": 1}, f"line 1 of {file}"),
        PromptRow("two\u2028", {}, f"line 3 of {file}"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"prompt": "a"}\n{"prompt": 3}\n', "line 2 of .* is '{\"prompt\": 3}'; it must be"),
        (b"[1]\n", r"line 1 of .* is '\[1\]'; it must be a JSON object"),
        (b"{\n", "line 1 of .* is '{'; it must be .*double quotes"),
        (b'{"prompt": "a", "id": 1, "id": 2}', "the key 'id' is there more than once"),
        (b'{"prompt": ' + b"[" * 5000, "line 1 of .* nested more than 100 deep"),
        (b"\n \n", "has no rows; at least one"),
        (b"\xff\n", "in.jsonl is not utf-8: at byte 0"),
        (b'{"prompt": "a"}\n\0', "in.jsonl is binary, not utf-8 text"),
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


@pytest.mark.parametrize("ending", ["", ".gz", ".GZ", ".zst"])
def test_rows_are_read_as_other_text_is(tmp_path: Path, ending: str) -> None:
    """A byte-order mark is removed, Windows' line ends are ends, and archives are unpacked."""
    content = b"\xef\xbb\xbf" + '{"prompt": "é"}\r\n{"prompt": "b"}\r\n'.encode()
    pack = {".gz": gzip.compress, ".zst": zstandard.compress}.get(ending.lower(), bytes)
    file = tmp_path / f"in.jsonl{ending}"
    file.write_bytes(pack(content))
    assert [row.prompt for row in read_rows(file)] == ["é", "b"]
    if ending:
        file.write_bytes(pack(content)[:-6])
        with pytest.raises(DamagedData, match=r"in\.jsonl.* is damaged: .*incomplete"):
            read_rows(file)


def standard_input(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="ascii")  # no locale is asked
    monkeypatch.setattr(sys, "stdin", stream)


def test_rows_come_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    standard_input(monkeypatch, '\ufeff{"prompt": "é", "id": 1}\r\n\n'.encode())
    assert read_rows(Path("-")) == [PromptRow("é", {"id": 1}, "line 1 of standard input")]
    standard_input(monkeypatch, b"")
    with pytest.raises(DataError, match="standard input has no rows"):
        read_rows(Path("-"))
    standard_input(monkeypatch, b'{"prompt": "caf\xe9"}')
    with pytest.raises(DataError, match="standard input is not utf-8: byte 15 is 0xe9"):
        read_rows(Path("-"))


ONE = GenerationSettings()
OURS = ["prompt", "text", "finish_reason", "new_tokens", "log_prob", "request"]


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (OURS, ONE),
        ([*OURS, "ids", "log_probs", "top_log_probs"], GenerationSettings(top_logprobs=2)),
        (["prompt", "continuations", "request"], GenerationSettings(num_return_sequences=2)),
    ],
)
def test_fields_of_the_user_are_never_overwritten(
    tmp_path: Path, names: list[str], settings: GenerationSettings
) -> None:
    """A row with a field of the output's is refused by its line; all others are copied."""
    tops = [[(1, -0.5)], [(7, -0.5)]] if settings.top_logprobs else []
    number = settings.num_return_sequences
    finished = FinishedRows(tmp_path / "out.jsonl", ROWS[1:2], [])
    with finished.appending(number) as append:
        for place in range(number):
            append(place, Generation("a", "p", [1, 2], "stop", [-0.5, -0.25], 1, tops))
    [line] = (tmp_path / "out.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)) == sorted(names)  # all fields that the output has
    for name in names:
        rows = [PromptRow("a", {"id": 1}), PromptRow("b", {name: 1}, "line 2 of in.jsonl")]
        with pytest.raises(DataError, match=f"line 2 of in.jsonl has the field '{name}'") as caught:
            check_fields(rows, settings)
        assert caught.value.hint == f"rename the field, for example to 'my_{name}'"
    others = {"ids", "log_probs", "text", "continuations", "generated"} - {*names}
    check_fields([PromptRow("a", dict.fromkeys(others, 1))], settings)


@pytest.mark.parametrize("name", ["-", "out.jsonl.gz", "out.JSONL.ZST"])
def test_an_output_of_another_kind_than_its_name_is_refused(name: str) -> None:
    check_output(Path("out.jsonl"))
    with pytest.raises(ConfigError, match=f"out is '{name}'; allowed: an uncompressed file"):
        check_output(Path(name))


def test_odd_fields_of_the_user_come_back(tmp_path: Path) -> None:
    file, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    row = r"""{"prompt": "a", "half": "\ud83d", "nan": NaN, "name": "é", "deep": {"text": [1.0]}}"""
    file.write_text(row, "utf-8")
    rows = read_rows(file)
    for kept in (0, 1):
        finished = FinishedRows(out, rows, [])
        assert finished.count == kept
        with finished.appending() as append:
            if not kept:
                append(0, generation("b"))
    written = json.loads(out.read_text("utf-8"))
    for name, value in json.loads(row).items():
        assert repr(written[name]) == repr(value)


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
    other_field = [ROWS[0], ROWS[1], PromptRow("three", {"id": 4})]
    one_more_field = [PromptRow("one", {"id": 1, "new": None}), *ROWS[1:]]
    for rows, asked, line in (
        (ROWS, "else", 1),
        (changed, "asked", 2),
        (ROWS[:2], "asked", 3),
        (other_field, "asked", 3),
        (one_more_field, "asked", 1),
        ([PromptRow("one", {}), *ROWS[1:]], "asked", 1),
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
