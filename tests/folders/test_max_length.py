"""model_max_length of the tokenizer is n_positions of the model in every folder that is written."""

import json
from pathlib import Path

import pytest

import ogpt
from ogpt.notices import collecting
from ogpt.tokens.tokenizer_folder import read_settings

VOCAB = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab</w>": 5}
MERGES = [("a", "b</w>")]
N_POSITIONS = 24


def length_in(folder: Path) -> int:
    return int(read_settings(folder)["model_max_length"])


def save_model(folder: Path) -> None:
    shape = {"n_embd": 8, "n_head": 2, "n_layer": 1}
    config = ogpt.OpenAIGPTConfig(vocab_size=len(VOCAB), n_positions=N_POSITIONS, **shape)
    ogpt.OpenAIGPTLMHeadModel(config).save_pretrained(folder)


def save_tokenizer(folder: Path) -> None:
    ogpt.OpenAIGPTTokenizerFast(vocab=VOCAB, merges=MERGES).save_pretrained(folder)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder whose tokenizer says 512, as older folders do."""
    save_model(tmp_path / "old")
    save_tokenizer(tmp_path / "old")
    file = tmp_path / "old" / "tokenizer_config.json"
    settings = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps({**settings, "model_max_length": 512}), "utf-8")
    return tmp_path / "old"


def test_saved_in_either_order(tmp_path: Path) -> None:
    save_model(tmp_path / "a")
    save_tokenizer(tmp_path / "a")
    save_tokenizer(tmp_path / "b")
    assert length_in(tmp_path / "b") == 512  # of no model
    save_model(tmp_path / "b")
    assert length_in(tmp_path / "a") == length_in(tmp_path / "b") == N_POSITIONS


def test_loaded_from_an_older_folder(old: Path, tmp_path: Path) -> None:
    tokenizer, model = ogpt.load(old)
    assert tokenizer.model_max_length == N_POSITIONS
    with collecting() as notices:
        batch = tokenizer("ab " * 100, truncation=True, return_tensors="pt")
    assert [notice.kind for notice in notices] == ["text-truncated"]
    assert model(**batch).logits.shape == (1, N_POSITIONS, len(VOCAB))
    tokenizer.save_pretrained(tmp_path / "alone")
    assert length_in(tmp_path / "alone") == N_POSITIONS


def test_converted(old: Path, tmp_path: Path) -> None:
    assert length_in(ogpt.convert(old, tmp_path / "hf").folder) == N_POSITIONS
    there = ogpt.convert(old, tmp_path / "openai", to="openai").folder
    assert length_in(there) == N_POSITIONS
    (there / "tokenizer_config.json").unlink()
    (there / "tokenizer.json").unlink()
    assert length_in(ogpt.convert(there, tmp_path / "back").folder) == N_POSITIONS


@pytest.mark.parametrize("to", ["bf16", "int8"])
def test_quantized(old: Path, tmp_path: Path, to: str) -> None:
    made = ogpt.quantize(old, tmp_path / to, to=to, text="ab a b " * 20, threads=1)
    assert length_in(made.folder) == N_POSITIONS


def test_name_of_transformers_2(old: Path, tmp_path: Path) -> None:
    file = old / "tokenizer_config.json"
    settings = json.loads(file.read_text("utf-8"))
    del settings["model_max_length"]
    file.write_text(json.dumps({**settings, "max_len": 512}), "utf-8")
    made = ogpt.convert(old, tmp_path / "out").folder
    assert length_in(made) == N_POSITIONS
    assert "max_len" not in read_settings(made)
