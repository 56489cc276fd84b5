"""Bad files are named: names that are not UTF-8 work, and errors say which file and line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ogpt import notices
from ogpt.config.loader import load_settings
from ogpt.config.model import OpenAIGPTConfig
from ogpt.data.encoding import encode_documents
from ogpt.data.manifest import read_manifest
from ogpt.data.unknown import notice_unknown_in
from ogpt.errors import CheckpointError, DataError, OgptError, StorageError, TokenizerError
from ogpt.folders.model_folder import ModelFolder, read_run_facts
from ogpt.layout import LEARNED_FROM_FILE
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.reading import parse_json
from ogpt.reporting import silent
from ogpt.storage import write_json
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.training.run_reports import reports
from ogpt.workflows.prepare import prepare
from ogpt.workflows.train_tokenizer import train_tokenizer

TEXT = "the cat sat on the mat and the rat sat on the hat.\n\n" * 200
NOT_UTF8 = os.fsdecode(b"caf\xe9")


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text(TEXT)
    with notices.collecting():
        train_tokenizer(tmp_path / "a.txt", 34, tmp_path / "tok")
    return tmp_path / "tok"


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    """From an old archive: they are written with escapes."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / f"{NOT_UTF8}.txt").write_text(TEXT)
    out = tmp_path / f"tok{NOT_UTF8}"
    with notices.collecting():
        made = train_tokenizer(tmp_path / "d", 34, out)
        shards = prepare(tmp_path / "d", out, tmp_path / f"s{NOT_UTF8}")
    assert shards.manifest.inputs["data"][0]["name"] == r"caf\xe9.txt"
    assert read_manifest(shards.folder).inputs == shards.manifest.inputs
    assert open_tokenizer(out).fingerprint == made.fingerprint


def test_json_keeps_paths_that_are_not_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"init": NOT_UTF8, "name": "café"})
    assert r'"caf\udce9"' in (tmp_path / "run.json").read_text("utf-8")
    assert json.loads((tmp_path / "run.json").read_text("utf-8"))["init"] == NOT_UTF8


def write_word(folder: Path, form: str) -> str:
    """A text with one word that is too long; returns how an error must name its place."""
    word = "x" * 1_100_000
    if form == "jsonl":
        (folder / "b.jsonl").write_text(f'{{"text": "fine"}}\n{{"text": "y {word}"}}\n')
        return r"b\.jsonl, line 2: a single word"
    (folder / "b.txt").write_text("line\n" * 20_000 + f"\n{word} y\n")
    return r"b\.txt, from line 20002: a single word"


@pytest.mark.parametrize("form", ["jsonl", "txt"])
@pytest.mark.parametrize("pre_tokenizer", ["bert", "openai", "hf-spacy", "bytes"])
def test_a_word_that_is_too_long_is_named(tmp_path: Path, form: str, pre_tokenizer: Any) -> None:
    (tmp_path / "d").mkdir()
    place = write_word(tmp_path / "d", form)
    (tmp_path / "d" / "c.txt").write_text(TEXT)
    with pytest.raises(TokenizerError, match=place) as caught:
        train_tokenizer(tmp_path / "d", 300, tmp_path / "tok", pre_tokenizer=pre_tokenizer)
    assert "insert spaces" in caught.value.hint


def test_a_word_that_is_too_long_is_named_by_prepare(tmp_path: Path, tokenizer: Path) -> None:
    (tmp_path / "d").mkdir()
    place = write_word(tmp_path / "d", "jsonl")
    with notices.collecting(), pytest.raises(TokenizerError, match=place):
        prepare(tmp_path / "d", tokenizer, tmp_path / "s")


@pytest.fixture
def model(tmp_path: Path, tokenizer: Path) -> Path:
    OpenAIGPTConfig(vocab_size=34, n_layer=1).save_pretrained(tokenizer)
    return tokenizer


FILES = {
    "tokenizer_config.json": (TokenizerError, open_tokenizer),
    "tokenizer.json": (TokenizerError, open_tokenizer),
    "vocab.json": (TokenizerError, open_tokenizer),
    "merges.txt": (TokenizerError, open_tokenizer),
    "config.json": (CheckpointError, lambda folder: ModelFolder.open(folder).config),
    "manifest.json": (DataError, read_manifest),
    LEARNED_FROM_FILE: (DataError, lambda folder: train_tokenizer(folder / "../a.txt", 34, folder)),
}


@pytest.mark.parametrize("name", FILES)
def test_a_small_file_that_cannot_be_read(
    model: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, use = FILES[name]
    (model / name).touch()
    for method in ("read_text", "read_bytes"):
        usual = getattr(Path, method)

        def refusing(path: Path, *arguments: Any, usual: Any = usual, **named: Any) -> Any:
            if path.name == name:
                raise PermissionError(13, "Permission denied")
            return usual(path, *arguments, **named)

        monkeypatch.setattr(Path, method, refusing)
    with pytest.raises(kind, match=f"{name} cannot be read: Permission denied") as caught:
        use(model)
    assert "permissions" in caught.value.hint


def test_a_folder_that_cannot_be_read(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refusing)
    monkeypatch.setattr(Path, "exists", refusing)
    for use in (ModelFolder.open, open_tokenizer):
        with pytest.raises(OgptError, match="tok cannot be read: Permission denied") as caught:
            use(model)
        assert "permissions" in caught.value.hint


def test_a_byte_order_mark_is_accepted(model: Path, tmp_path: Path) -> None:
    expected = open_tokenizer(model).fingerprint
    for name in ("config.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        content = (model / name).read_bytes()
        (model / name).write_bytes(b"\xef\xbb\xbf" + content)
    assert open_tokenizer(model).fingerprint == expected
    assert ModelFolder.open(model).config.n_layer == 1
    assert parse_json('\ufeff{"a": 1}') == {"a": 1}
    (tmp_path / "c.toml").write_text("[training]\nmax_steps = 7\n", "utf-8-sig")
    assert load_settings(file=tmp_path / "c.toml").training.max_steps == 7
    rows = '{"text": "one"}\n\ufeff{"text": "two"}\n'  # two files, joined to one
    (tmp_path / "r.jsonl").write_text(rows, "utf-8-sig")
    with notices.collecting():
        shards = prepare(tmp_path / "r.jsonl", model, tmp_path / "s")
    assert len(shards.train) + len(shards.valid) == 6


def test_folders_in_place_of_files(tmp_path: Path) -> None:
    """What cannot be read says so by its name, and not that it is damaged."""
    (tmp_path / "run.json").mkdir()
    with pytest.raises(CheckpointError, match=r"run\.json cannot be read: .*directory"):
        read_run_facts(tmp_path)
    model = OpenAIGPTLMHeadModel(
        OpenAIGPTConfig(vocab_size=3, n_positions=4, n_embd=4, n_layer=1, n_head=1)
    )
    (tmp_path / "generation_config.json").mkdir()
    with pytest.raises(CheckpointError, match=r"generation_config\.json cannot be read"):
        model.read_beside(tmp_path)


def test_a_tokenizer_file_that_the_system_refuses(
    tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path, pre_tokenizer: str | None) -> None:
        raise OSError(5, "Input/output error", "tokenizer.json")

    monkeypatch.setattr("ogpt.tokens.tokenizer_folder._read_folder", refused)
    with pytest.raises(TokenizerError, match="cannot be read: Input/output error"):
        open_tokenizer(tokenizer)


def test_progress_of_a_run_that_cannot_be_written(tokenizer: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"metrics\.jsonl"), reports(tmp_path, 0, silent):
        pytest.fail("nothing is reported")


class Refusing:
    """A tokenizer that refuses texts with a z, and any two texts together."""

    pre_tokenizer = "bytes"
    unk_token_id = None

    def encode_batch_arrays(self, texts: list[str]) -> list[str]:
        if len(texts) > 1 or "z" in texts[0]:
            raise TokenizerError("it cannot", hint="leave it")
        return texts

    def tokenize(self, text: str) -> list[str]:
        self.encode_batch_arrays([text])
        return [text]


def test_a_batch_that_fails_without_a_document_to_blame() -> None:
    tokenizer: Any = Refusing()
    with pytest.raises(TokenizerError, match=r"^it cannot"):
        encode_documents(tokenizer, ["a", "b"], ["line 1", "line 2"])
    with pytest.raises(TokenizerError, match=r"^line 2: it cannot"):
        encode_documents(tokenizer, ["a", "z"], ["line 1", "line 2"])


def test_a_sample_names_the_document_that_cannot_be_encoded() -> None:
    tokenizer: Any = Refusing()
    document: Any = SimpleNamespace(text="z", origin="b.jsonl, line 7")
    with pytest.raises(TokenizerError, match=r"^b\.jsonl, line 7: it cannot"):
        notice_unknown_in(tokenizer, [document], "the text")
