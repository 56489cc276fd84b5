"""Folders and arguments that make no tokenizer: named errors, never Python's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ogpt.errors import StorageError, TokenizerError
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from tests.tokens.four import every_tokenizer, fresh

DAMAGED: list[tuple[str, Any]] = [
    ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "a"}}}),
    ("tokenizer_config.json", {"added_tokens_decoder": ["a"]}),
    ("tokenizer_config.json", {"additional_special_tokens": 5}),
    ("added_tokens.json", {"<pad>": "x"}),
    ("added_tokens.json", {"<pad>": None}),
    ("tokenizer.json", {"model": 5}),
    ("tokenizer.json", "deep"),
]


@pytest.mark.parametrize(("name", "content"), DAMAGED)
def test_a_damaged_file(tmp_path: Path, name: str, content: Any) -> None:
    fresh("fast").save_vocabulary(tmp_path)
    text = '{"a": ' * 100_000 if content == "deep" else json.dumps(content)
    (tmp_path / name).write_text(text)
    with pytest.raises(TokenizerError, match=r"is damaged|is not valid JSON|has .* = ") as caught:
        OpenAIGPTTokenizerFast.from_pretrained(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("added", [[5], [{"content": "<unk>"}], [{"id": "x", "content": "a"}]])
def test_damaged_added_tokens(tmp_path: Path, added: list[Any]) -> None:
    fresh("fast").save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"added_tokens": added}))
    for opened in (
        lambda: OpenAIGPTTokenizerFast.from_pretrained(tmp_path),
        lambda: OpenAIGPTTokenizerFast(tokenizer_file=file),
    ):
        with pytest.raises(TokenizerError, match=r"the tokenizer in .* is damaged: ") as caught:
            opened()
        assert "download its files again" in caught.value.hint


def test_one_additional_special_token_as_a_string(tmp_path: Path) -> None:
    fresh("fast").save_vocabulary(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text('{"additional_special_tokens": "<a>"}')
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(tmp_path)
    assert tokenizer.additional_special_tokens == ["<a>"]
    with pytest.raises(TokenizerError, match="additional_special_tokens='<q>' is not"):
        tokenizer.add_special_tokens({"additional_special_tokens": "<q>"})


@every_tokenizer
@pytest.mark.parametrize("pair", [("NewTok", "newtok"), ("caf\u00e9", "cafe\u0301")])
def test_added_tokens_that_are_spelled_alike(name: str, pair: tuple[str, str]) -> None:
    tokenizer = fresh(name)
    with pytest.raises(TokenizerError, match="match the same text, ") as caught:
        tokenizer.add_tokens(list(pair))
    assert "special tokens" in caught.value.hint
    tokenizer.add_tokens(pair[0])
    with pytest.raises(TokenizerError, match="match the same text"):
        tokenizer.add_tokens(pair[1])


@every_tokenizer
@pytest.mark.parametrize("value", [None, 5])
def test_what_is_no_text(name: str, value: Any) -> None:
    for way in (fresh(name), fresh(name).encode_batch_arrays, fresh(name).tokenize):
        with pytest.raises(TokenizerError, match=f"the text is {value!r}") as caught:
            way(value)
        assert "list of texts" in caught.value.hint


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(StorageError, match="could not write"):
        fresh("fast").save_vocabulary(tmp_path / "a")


def test_the_length_as_transformers_2_names_it(tmp_path: Path) -> None:
    fresh("fast").save_vocabulary(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"max_len": 128}')
    assert OpenAIGPTTokenizerFast.from_pretrained(tmp_path).model_max_length == 128
