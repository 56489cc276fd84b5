"""A str where several are meant is one item, never its letters."""

from pathlib import Path

import pytest

import ogpt
from ogpt.config.loader import load_settings
from ogpt.workflows.pretrain_setup import PretrainRequest

VOCAB = {"<unk>": 0, "a": 1, "b": 2, "a</w>": 3, "b</w>": 4, "ab</w>": 5}
MERGES = [("a", "b</w>")]


def tokenizer_of_tests() -> ogpt.OpenAIGPTTokenizerFast:
    return ogpt.OpenAIGPTTokenizerFast(vocab=VOCAB, merges=MERGES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shape = {"n_positions": 8, "n_embd": 8, "n_head": 2, "n_layer": 1}
    config = ogpt.OpenAIGPTConfig(vocab_size=len(VOCAB), **shape)
    ogpt.OpenAIGPTLMHeadModel(config).save_pretrained(tmp_path)
    tokenizer_of_tests().save_pretrained(tmp_path)
    return tmp_path


def test_score(folder: Path) -> None:
    assert [score.text for score in ogpt.score(folder, "a", choices="ab")] == ["ab"]


def test_generation_settings() -> None:
    settings = ogpt.GenerationSettings(stop="ab", ban="ba")
    assert (settings.stop, settings.ban) == (("ab",), ("ba",))


def test_prompt(folder: Path) -> None:
    assert [one.prompt for one in ogpt.generate(folder, "a b", max_new_tokens=1)] == ["a b"]


def test_pretrain(tmp_path: Path) -> None:
    setting = "training.max_steps=3"
    request = PretrainRequest.of(
        out=tmp_path, data="text.txt", valid="valid.txt", overrides=setting
    )
    assert (request.data, request.valid) == (("text.txt",), ("valid.txt",))
    assert request.overrides == (setting,)
    assert load_settings(overrides=setting).training.max_steps == 3


def test_tokenizer() -> None:
    tokenizer = tokenizer_of_tests()
    assert tokenizer.add_tokens("<sep>") == 1
    assert tokenizer.convert_tokens_to_string("ab</w>") == "ab"
    assert tokenizer("ab", is_split_into_words=True).input_ids == [5]
    one = tokenizer.train_new_from_iterator("ab ab ab", 6)
    assert one.get_vocab() == tokenizer.train_new_from_iterator(["ab ab ab"], 6).get_vocab()
