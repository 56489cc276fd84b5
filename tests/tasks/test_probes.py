"""Sets of pronouns for the zero-shot probes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ogpt.errors import ConfigError, DamagedData, DataError, SourceNotFound
from ogpt.notices import collecting
from ogpt.tasks.probes import open_probe
from ogpt.tasks.readers.pronouns import PronounCase

DPR = """The itinerant dog chased the cat because it was angry.
it
The dog,the cat
The dog

Ann told Bea that she won.
she
Ann, Bea
Bea"""
WINOGRAD = """<?xml version="1.0" encoding="ISO-8859-1"?>
<collection><schema><text><txt1>
 The caf\xe9 hired Ann because</txt1><pron>
 she</pron><txt2>was
 good.</txt2></text><quote><quote1>x</quote1><pron>she</pron></quote>
<answers><answer> The caf\xe9</answer><answer>Ann </answer></answers>
<correctAnswer> B. </correctAnswer><source>x</source></schema></collection>"""


def test_pronouns_are_whole_words(tmp_path: Path) -> None:
    (tmp_path / "test.c.txt").write_text(DPR, "utf-8")
    with collecting() as notices:
        first, second = open_probe("dprd", tmp_path)
    before = "The itinerant dog chased the cat because"
    assert first[:4] == (before, "was angry.", ("The dog", "the cat"), 0)
    assert first.place.startswith("line 1 of")
    assert second == PronounCase(
        "Ann told Bea that", "won.", ("Ann", "Bea"), 1, f"line 6 of {tmp_path}/test.c.txt"
    )
    assert [notice.kind for notice in notices] == ["rows-differ"]


def test_winograd_schemas_are_latin_1(tmp_path: Path) -> None:
    (tmp_path / "WSCollection.xml").write_text(WINOGRAD, "latin-1")
    with collecting():
        (case,) = open_probe("winograd", tmp_path)
    assert case[:4] == ("The caf\xe9 hired Ann because", "was good.", ("The caf\xe9", "Ann"), 1)


@pytest.mark.parametrize(
    ("name", "file", "text", "kind", "message"),
    [
        ("dprd", "test.c.txt", "A cat.\nit\n", DataError, "line 1 .* allowed: a sentence"),
        ("dprd", "test.c.txt", "A cat.\nit\na,b\na\n", DataError, "line 1 .* allowed: a sentence"),
        ("winograd", "WSCollection.xml", "<a>", DamagedData, "is not XML"),
        ("winograd", "WSCollection.xml", WINOGRAD.replace("B.", "C."), DataError, "schema 1 of"),
        ("dprd", "other.txt", "", SourceNotFound, "DPRD is not in .*no test.c.txt"),
        ("wnli", "other.txt", "", ConfigError, "'wnli'; allowed: dprd, winograd"),
    ],
)
def test_bad_files(
    name: str, file: str, text: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_text(text, "latin-1")
    with pytest.raises(kind, match=message):
        open_probe(name, tmp_path)
