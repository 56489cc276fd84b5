"""Files of other tokenizers have the names of GPT-1's; they are refused, not read as GPT-1's."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import ogpt
from ogpt.errors import TokenizerError
from ogpt.tokens.open_tokenizer import open_tokenizer

TEXT = ["the cat sat on the mat. " * 20]


def gpt2(folder: Path, tokenizer_class: str | None) -> Path:
    """vocab.json and merges.txt as GPT-2 has them: byte-level, `Ġ` for a space."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=280,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    made.train_from_iterator(TEXT, trainer)
    folder.mkdir()
    made.model.save(str(folder))
    if tokenizer_class is not None:
        settings = {"tokenizer_class": tokenizer_class, "unk_token": "<|endoftext|>"}
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    return folder


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "GPT2TokenizerFast", "CLIPTokenizer"])
def test_another_class(tmp_path: Path, name: str) -> None:
    folder = gpt2(tmp_path / "g", name)
    for read in (open_tokenizer, ogpt.OpenAIGPTTokenizerFast.from_pretrained):
        with pytest.raises(TokenizerError, match=f"tokenizer_class = '{name}'") as caught:
            read(folder)
        assert "pre_tokenizer='bytes'" in caught.value.hint
    with pytest.raises(TokenizerError, match="tokenizer_class"):
        ogpt.OpenAIGPTTokenizer.from_pretrained(folder, pre_tokenizer="bert")


@pytest.mark.parametrize("name", [None, "PreTrainedTokenizerFast"])
def test_a_vocabulary_without_word_ends(tmp_path: Path, name: str | None) -> None:
    folder = gpt2(tmp_path / "g", name)
    with pytest.raises(TokenizerError, match=r"no entry of the vocabulary in .* ends with") as e:
        ogpt.OpenAIGPTTokenizer.from_pretrained(folder, pre_tokenizer="bert")
    assert '"pre_tokenizer": "bytes"' in e.value.hint


def test_single_files(tmp_path: Path) -> None:
    folder = gpt2(tmp_path / "g", None)
    files = (folder / "vocab.json", folder / "merges.txt")
    with pytest.raises(TokenizerError, match=r"no entry of the vocabulary in .*vocab.json"):
        ogpt.OpenAIGPTTokenizerFast(*files, unk_token="<|endoftext|>")


@pytest.mark.parametrize("name", [None, "GPT2Tokenizer"])
def test_byte_level_if_the_caller_or_the_folder_says_so(tmp_path: Path, name: str | None) -> None:
    folder = gpt2(tmp_path / "g", name)
    tokenizer = ogpt.OpenAIGPTTokenizer.from_pretrained(folder, pre_tokenizer="bytes")
    text = "The cat\n  sat on the mat."
    assert tokenizer.decode(tokenizer.encode(text)) == text
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text("utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**settings, "pre_tokenizer": "bytes"}), "utf-8")
    assert open_tokenizer(folder).encode(text) == tokenizer.encode(text)


def test_commands_refuse_it_too(tmp_path: Path) -> None:
    folder = gpt2(tmp_path / "g", "GPT2Tokenizer")
    (tmp_path / "text.txt").write_text(TEXT[0], "utf-8")
    with pytest.raises(TokenizerError, match="GPT2Tokenizer"):
        ogpt.prepare([str(tmp_path / "text.txt")], folder, tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_names_that_transformers_writes_for_ours(tmp_path: Path) -> None:
    vocab = {"<unk>": 0, "a</w>": 1, "a": 2}
    ogpt.OpenAIGPTTokenizerFast(vocab=vocab, merges=[]).save_pretrained(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    settings = json.loads(file.read_text("utf-8"))
    for name in ("OpenAIGPTTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend", None):
        file.write_text(json.dumps({**settings, "tokenizer_class": name}), "utf-8")
        assert open_tokenizer(tmp_path).encode("a") == [1]
