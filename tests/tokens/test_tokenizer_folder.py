"""Tokenizer folders: written whole, read from every version, damage named."""

import json
from pathlib import Path

import pytest

from ogpt.errors import StorageError, TokenizerError, TokenizerNotFound
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from tests.tokens.real import PYTHON_DOCS, learned


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tokenizer = OpenAIGPTTokenizerFast(
        vocab=learned().get_vocab(),
        merges=learned().merges,
        model_max_length=99,
        padding_side="left",
        pad_token="<pad>",
        additional_special_tokens=["<a>"],
    )
    tokenizer.add_tokens(["pydoc"])
    tokenizer.save_pretrained(tmp_path / "made" / "tokenizer")
    return tmp_path / "made" / "tokenizer"


def change(file: Path, *path: str, to: object) -> None:
    """Set (or with ... delete) one value in a JSON file."""
    content = json.loads(file.read_text("utf-8"))
    part = content
    for key in path[:-1]:
        part = part[key]
    if to is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = to
    file.write_text(json.dumps(content), "utf-8")


def test_round_trip(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    assert (tokenizer.model_max_length, tokenizer.padding_side) == (99, "left")
    assert tokenizer.all_special_tokens == ["<unk>", "<pad>", "<a>"]
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<a>", "pydoc"]) == [1_000, 1_001, 1_002]
    written = tokenizer.save_pretrained(folder)
    names = {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"}
    assert {Path(path).name for path in written} == names
    assert {path.name for path in folder.iterdir()} == names | {"config.json"}
    again = OpenAIGPTTokenizerFast.from_pretrained(folder)
    assert again.fingerprint == tokenizer.fingerprint
    config = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    assert (config["pre_tokenizer"], config["tokenizer_class"]) == ("bert", "OpenAIGPTTokenizer")


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"), 1_003),
        (("tokenizer.json", "tokenizer_config.json"), 1_003),
        (("vocab.json", "merges.txt", "tokenizer_config.json"), 1_003),
        (("tokenizer.json",), 1_003),
        (("vocab.json", "merges.txt"), 1_000),
    ],
)
def test_fewer_files(folder: Path, kept: tuple[str, ...], expected: int) -> None:
    for file in folder.iterdir():
        if file.name not in kept:
            file.unlink()
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    assert len(tokenizer) == expected
    assert tokenizer.encode(PYTHON_DOCS[0]) == learned().encode(PYTHON_DOCS[0])


def test_files_of_old_versions(folder: Path) -> None:
    """added_tokens.json and special_tokens_map.json; merges as text; no limit as 1e30."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    (folder / "added_tokens.json").write_text('{"<pad>": 1000}')
    (folder / "special_tokens_map.json").write_text(
        '{"pad_token": {"content": "<pad>", "lstrip": false}, "unk_token": "<unk>"}'
    )
    (folder / "tokenizer_config.json").write_text(
        '{"model_max_length": 1000000000000000019884624838656, "sep_token": null}'
    )
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    assert (tokenizer.pad_token_id, len(tokenizer), tokenizer.model_max_length) == (1000, 1001, 512)
    assert OpenAIGPTTokenizerFast.from_pretrained(folder, model_max_length=7).model_max_length == 7


def test_merges_as_text_in_tokenizer_json(folder: Path) -> None:
    merges = [" ".join(pair) for pair in learned().merges]
    change(folder / "tokenizer.json", "model", "merges", to=merges)
    tokenizer = OpenAIGPTTokenizerFast(tokenizer_file=folder / "tokenizer.json")
    assert tokenizer.merges == learned().merges


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("model", "type"), "WordPiece", "model.type = 'WordPiece'; allowed: 'BPE'"),
        (("model", "end_of_word_suffix"), None, "end_of_word_suffix = None"),
        (("normalizer",), None, "normalizer.type = None"),
        (("normalizer", "lowercase"), False, "normalizer.lowercase = False"),
        (("pre_tokenizer", "type"), "ByteLevel", "pre_tokenizer.type = 'ByteLevel'"),
    ],
)
def test_another_kind_of_tokenizer(
    folder: Path, path: tuple[str, ...], value: object, message: str
) -> None:
    change(folder / "tokenizer.json", *path, to=value)
    for opened in (
        lambda: OpenAIGPTTokenizerFast.from_pretrained(folder),
        lambda: OpenAIGPTTokenizerFast(tokenizer_file=folder / "tokenizer.json"),
    ):
        with pytest.raises(TokenizerError, match=message) as caught:
            opened()
        assert "GPT-1 model" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("model", "vocab"), ...),
        (("model", "vocab"), {"a": "b"}),
        (("model", "merges"), [["a"]]),
        (("model", "merges"), None),
    ],
)
def test_a_damaged_tokenizer_json(folder: Path, path: tuple[str, ...], value: object) -> None:
    change(folder / "tokenizer.json", *path, to=value)
    with pytest.raises(TokenizerError, match=r"merges in .*tokenizer.json are damaged") as caught:
        OpenAIGPTTokenizerFast(tokenizer_file=folder / "tokenizer.json")
    assert "download the file again" in caught.value.hint


def test_no_tokenizer(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(TokenizerNotFound, match=f"{path} has no tokenizer files") as caught:
            OpenAIGPTTokenizerFast.from_pretrained(path)
        assert isinstance(caught.value, OSError)  # as in transformers
        assert "vocab.json and merges.txt" in caught.value.hint


def test_another_pre_tokenisation(folder: Path) -> None:
    change(folder / "tokenizer_config.json", "pre_tokenizer", to="openai")
    with pytest.raises(TokenizerError, match="made with the pre-tokenization 'openai'") as caught:
        OpenAIGPTTokenizerFast.from_pretrained(folder)
    assert "different ids" in caught.value.hint


def test_a_special_token_that_is_no_text(folder: Path) -> None:
    change(folder / "tokenizer_config.json", "pad_token", to={"lstrip": True})
    with pytest.raises(TokenizerError, match=r"pad_token is \{'lstrip': True\}; allowed") as caught:
        OpenAIGPTTokenizerFast.from_pretrained(folder)
    assert "to a string" in caught.value.hint


def test_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StorageError, match="could not create the folder") as caught:
        learned().save_pretrained(tmp_path / "file")
    assert "another folder" in caught.value.hint
    assert (tmp_path / "file").read_text() == "kept"


def test_save_vocabulary(tmp_path: Path) -> None:
    for prefix in (None, "pre"):
        files = learned().save_vocabulary(tmp_path, prefix)
        again = OpenAIGPTTokenizerFast(*files)
        assert again.fingerprint == learned().fingerprint
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "merges.txt",
        "pre-merges.txt",
        "pre-vocab.json",
        "vocab.json",
    ]
