"""Learning a tokenizer from sources: the same text, the same tokenizer; nothing overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ogpt.errors import DataError, OutputExists
from ogpt.layout import LEARNED_FROM_FILE
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from ogpt.workflows.train_tokenizer import train_tokenizer

TEXT = "the cat sat on the mat and the rat sat on the hat. " * 20


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    return path


def test_a_tokenizer_is_learned_and_saved(tmp_path: Path, source: Path) -> None:
    events: list[dict[str, Any]] = []
    tokenizer = train_tokenizer(
        [str(source)], 34, tmp_path / "out", reporter=lambda _, **event: events.append(event)
    )
    assert len(tokenizer) == 34
    assert tokenizer.tokenize("the cat") == ["the</w>", "cat</w>"]
    saved = OpenAIGPTTokenizerFast.from_pretrained(tmp_path / "out")
    assert saved.fingerprint == tokenizer.fingerprint
    assert events[0] == {
        "task": "counting words",
        "done": len(TEXT),
        "total": len(TEXT),
        "unit": "bytes",
    }


def test_the_same_text_gives_the_same_files(tmp_path: Path, source: Path) -> None:
    for name in ("one", "two"):
        train_tokenizer(source, 34, str(tmp_path / name))
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_a_finished_tokenizer_is_used_as_it_is(tmp_path: Path, source: Path) -> None:
    first = train_tokenizer(source, 34, tmp_path / "out")
    said: list[str] = []
    again = train_tokenizer(
        source, 34, tmp_path / "out", reporter=lambda _, **event: said.append(event["text"])
    )
    assert again.fingerprint == first.fingerprint
    assert said == [f"{tmp_path / 'out'} already holds the tokenizer of this text"]


@pytest.mark.parametrize("found", ["other size", "damaged record", "foreign file", "a file"])
def test_something_else_is_not_overwritten(tmp_path: Path, source: Path, found: str) -> None:
    out = tmp_path / "out"
    if found == "a file":
        out.write_text("mine")
    elif found == "foreign file":
        out.mkdir()
        (out / "thesis.tex").write_text("mine")
    else:
        train_tokenizer(source, 30, out)
    if found == "damaged record":
        (out / LEARNED_FROM_FILE).write_text("{")
    before = [path.read_bytes() for path in [out, *out.rglob("*")] if path.is_file()]
    with pytest.raises(OutputExists, match="does not hold the tokenizer of this text") as caught:
        train_tokenizer(source, 34, out)
    assert "--out" in caught.value.hint
    assert [path.read_bytes() for path in [out, *out.rglob("*")] if path.is_file()] == before


@pytest.mark.parametrize("how", ["empty", "here", "link"])
def test_an_empty_folder_is_filled(
    tmp_path: Path, source: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    out = tmp_path / "out"
    if how == "here":
        monkeypatch.chdir(out)
        out = Path()
    elif how == "link":
        out = tmp_path / "link"
        out.symlink_to("out")
    train_tokenizer(source, 34, out)
    assert json.loads((tmp_path / "out" / LEARNED_FROM_FILE).read_text())["vocab_size"] == 34


def test_text_without_words(tmp_path: Path, source: Path) -> None:
    source.write_text(" \n")
    with pytest.raises(DataError, match=r"there are no words in a\.txt") as caught:
        train_tokenizer(source, 34, tmp_path / "out")
    assert "--data" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_learned_in_the_2018_order(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("Mr. Smith's don't\nMr. Smith — doesn't.\n" * 20)
    out = tmp_path / "out"
    made = train_tokenizer([source], 42, out, pre_tokenizer="openai")
    assert {"mr.</w>", "n't</w>", "\n</w>", "-</w>"} <= set(made.get_vocab())
    again = train_tokenizer([source], 42, out, pre_tokenizer="openai")
    assert isinstance(again, OpenAIGPTTokenizer)
    assert again.pre_tokenizer == "openai"
    assert again.fingerprint == made.fingerprint
    with pytest.raises(OutputExists):
        train_tokenizer([source], 42, out, pre_tokenizer="bert")
