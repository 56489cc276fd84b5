"""Facts on stdout, for people or as one JSON object."""

import io
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ogpt.cli.answers import answer, noticing_escapes, write
from ogpt.errors import StorageError, StrictNotice
from ogpt.notices import collecting, listening, refuse


@dataclass
class Inner:
    loss: float = 2.5


@dataclass
class Facts:
    out: Path
    valid: Inner
    steps: int = 3


def test_dataclass_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    answer(Facts(Path("runs/a"), Inner()), as_json=False)
    assert capsys.readouterr().out == "out    runs/a\nsteps  3\n\nvalid\n  loss  2.5\n"


def test_numbers_that_json_does_not_have_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    answer({"test": {"f1": (1.0, math.nan, math.inf)}}, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"test": {"f1": [1.0, None, None]}}


def test_dataclass_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    answer(Facts(Path("runs/a"), Inner(np.float32(2.5))), as_json=True)  # type: ignore[arg-type]  # numpy's numbers come too
    out = capsys.readouterr().out
    assert json.loads(out) == {"out": "runs/a", "valid": {"loss": 2.5}, "steps": 3}
    assert out.count("\n") == 1


def test_mapping(capsys: pytest.CaptureFixture[str]) -> None:
    answer({"a": 1}, as_json=False)
    assert capsys.readouterr().out == "a  1\n"


ALL = "é東😀\udce9 ok"


def redirected(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.BytesIO:
    """stdout as Python opens it in another locale."""
    file = io.BytesIO()
    stream = io.TextIOWrapper(file, encoding=encoding, write_through=True, newline="\n")
    monkeypatch.setattr(sys, "stdout", stream)
    return file


@pytest.mark.parametrize(
    ("encoding", "shown", "count"),
    [
        ("ascii", r"\xe9\u6771\U0001f600\udce9 ok", 4),
        ("cp1252", r"é\u6771\U0001f600\udce9 ok", 3),
        ("utf-8", r"é東😀\udce9 ok", 1),
        ("utf-16-le", r"é東😀\udce9 ok", 1),
    ],
)
def test_characters_that_the_encoding_lacks_are_escaped(
    monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str, count: int
) -> None:
    file = redirected(monkeypatch, encoding)
    with collecting() as notices, noticing_escapes():
        write(ALL)
        write("plain")
        write(ALL, end="")
        assert notices == []  # not in the middle of the text
    assert file.getvalue().decode(encoding) == f"{shown}\nplain\n{shown}"
    assert [notice.kind for notice in notices] == ["characters-escaped"]
    assert f"is {encoding}, which lacks {2 * count} characters" in notices[0].message
    with collecting() as notices, noticing_escapes():
        write("plain")
    assert notices == []


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_has_escapes_of_its_own(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """The value is the same, so there is nothing to give notice of."""
    file = redirected(monkeypatch, encoding)
    with collecting() as notices, noticing_escapes():
        answer({"text": ALL, "file": Path("a\udce9")}, as_json=True)
    assert json.loads(file.getvalue()) == {"text": ALL, "file": "a\udce9"}
    assert notices == []


def test_strict_refuses_escapes_when_all_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    file = redirected(monkeypatch, "ascii")
    with listening(refuse), pytest.raises(StrictNotice, match="lacks 1 characters"):  # noqa: SIM117
        with noticing_escapes():
            write("é")
            write("all of it")
    assert file.getvalue() == b"\\xe9\nall of it\n"


def test_a_closed_stdout_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with collecting() as notices, noticing_escapes():
        write(ALL)
        answer({"a": ALL}, as_json=True)
    assert notices == []


def test_a_stdout_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(StorageError, match="to standard output: No space left") as caught:
        write("a")
    assert "another file" in caught.value.hint


def test_a_reader_that_leaves_is_left_to_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(io.StringIO):
        def flush(self) -> None:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Left())
    with pytest.raises(BrokenPipeError):
        write("a")
