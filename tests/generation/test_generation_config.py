"""GenerationConfig beside transformers' class: values, files, and the search that it selects."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import transformers

import ogpt
from ogpt.errors import CheckpointError, SamplingError, StorageError, UnknownArgument
from ogpt.generation.choosing.generation_config import GenerationConfig, by_name
from ogpt.generation.choosing.watermarking_config import WatermarkingConfig

Theirs = transformers.GenerationConfig
VALUES: dict[str, Any] = {
    "num_beams": 4,
    "max_new_tokens": 20,
    "eos_token_id": [3, 5],
    "exponential_decay_length_penalty": [3, 1.5],
    "watermarking_config": {"bias": 1.5},
}


def test_what_is_not_set_is_none() -> None:
    config, theirs = GenerationConfig(top_p=0.5, do_sample=True), Theirs(top_p=0.5, do_sample=True)
    for name in theirs.to_dict():
        if name != "transformers_version" and not name.startswith("_"):
            assert getattr(config, name) == getattr(theirs, name)
    assert config.to_diff_dict() == {"top_p": 0.5, "do_sample": True}
    assert set(theirs.to_dict()) <= {*config.to_dict(), "_from_model_config"}
    with pytest.raises(AttributeError, match="GenerationConfig has no attribute 'temprature'"):
        config.temprature  # noqa: B018 - looking it up is the test
    config.top_k = 7
    assert copy.deepcopy(config) == config != GenerationConfig()
    assert len({config, copy.copy(config)}) == 1
    assert repr(config).startswith("GenerationConfig {\n")
    assert config != config.to_dict()


def test_each_opens_the_files_of_the_other(tmp_path: Path) -> None:
    config = GenerationConfig(**VALUES)
    assert config.watermarking_config == WatermarkingConfig(bias=1.5)
    config.save_pretrained(tmp_path / "ours")
    theirs = Theirs.from_pretrained(tmp_path / "ours")
    assert (theirs.num_beams, theirs.watermarking_config.bias) == (4, 1.5)
    theirs.save_pretrained(tmp_path / "theirs")
    again = GenerationConfig.from_pretrained(tmp_path / "theirs")
    assert again.transformers_version == transformers.__version__
    del again.transformers_version
    assert again == config == GenerationConfig.from_pretrained(tmp_path / "ours")
    found, unused = GenerationConfig.from_pretrained(
        tmp_path, subfolder="ours", return_unused_kwargs=True, num_beams=2, foo=1
    )
    assert (found.num_beams, unused) == (2, {"foo": 1})
    config.to_json_file(tmp_path / "other.json", keys_to_pop=["num_beams"])
    assert GenerationConfig.from_pretrained(tmp_path, "other.json").num_beams is None


def test_texts_of_values() -> None:
    config = GenerationConfig(sequence_bias={(3, 1): 2.0}, transformers_version="5")
    assert json.loads(config.to_json_string(ignore_metadata=True)) == {
        "sequence_bias": [[[3, 1], 2.0]]
    }
    assert json.loads(config.to_json_string())["transformers_version"] == "5"
    assert json.loads(config.to_json_string(use_diff=False))["num_beams"] is None
    with pytest.raises(SamplingError, match="cannot be written as JSON") as caught:
        GenerationConfig(foo=print).to_json_string()
    assert "numbers" in caught.value.hint


@pytest.mark.parametrize(
    ("asked", "assistant"),
    [
        ({}, None),
        ({"do_sample": True}, None),
        ({"num_beams": 2}, None),
        ({"num_beams": 2, "do_sample": True}, None),
        ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0}, None),
        ({"penalty_alpha": 0.6, "top_k": 4}, None),
        ({"penalty_alpha": 0.6, "top_k": 1}, None),
        ({}, object()),
        ({"do_sample": True, "prompt_lookup_num_tokens": 3}, None),
    ],
)
def test_the_search_is_the_one_of_transformers(asked: dict[str, Any], assistant: Any) -> None:
    found = GenerationConfig(**asked).get_generation_mode(assistant)
    assert found == Theirs(**asked).get_generation_mode(assistant).value


def test_updates() -> None:
    for kind in (GenerationConfig, Theirs):
        config = kind(top_p=0.5, do_sample=True)
        assert config.update(top_p=0.7, foo=1) == {"foo": 1}
        assert config.top_p == 0.7
        assert config.update(defaults_only=True, top_p=0.9, min_p=0.1) == {"top_p": 0.9}
        assert (config.top_p, config.min_p) == (0.7, 0.1)
        assert config.update(allow_custom_entries=True, foo=1) == {}
        assert config.foo == 1
    with pytest.raises(SamplingError):
        (config := GenerationConfig(top_p=0.5)).update(top_p=3, top_k=4)
    assert config.to_diff_dict() == {"top_p": 0.5}


def test_from_the_configuration_of_a_model() -> None:
    model_config = ogpt.OpenAIGPTConfig(eos_token_id=3, output_attentions=True)
    for given in (model_config, model_config.to_dict()):
        config = GenerationConfig.from_model_config(given)
        assert (config.eos_token_id, config.return_dict_in_generate) == (3, True)
    assert GenerationConfig.from_model_config({"n_layer": 3}).to_diff_dict() == {}


def test_checks() -> None:
    for given in (
        {"max_new_tokens": 0},
        {"early_stopping": "soon"},
        {"num_return_sequences": 2},
        {"forced_eos_token_id": 3, "suppress_tokens": [3]},
    ):
        for kind in (GenerationConfig, Theirs):
            with pytest.raises(ValueError, match=next(iter(given))):
                kind(**given)
    for name in ("streamer", "assistant_model", "logits_processor", "prefix_allowed_tokens_fn"):
        with pytest.raises(UnknownArgument, match=f"no argument {name}") as caught:
            GenerationConfig(**{name: 3})
        assert "generate itself" in caught.value.hint
    weak = GenerationConfig(temperature=0.5, min_new_tokens=30, guidance_scale=1.5)
    weak.validate()
    weak.validate(strict=True, user_set_attributes={"top_p"})
    for kind in (weak, Theirs(temperature=0.5)):
        with pytest.raises(ValueError, match="temperature"):
            kind.validate(strict=True)


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"generation_config\.json"):
        GenerationConfig.from_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="is damaged"):
        GenerationConfig.from_pretrained(tmp_path)
    with pytest.raises(StorageError):
        GenerationConfig().save_pretrained(tmp_path / "generation_config.json")


def test_what_a_configuration_sets() -> None:
    assert by_name(None) == by_name({}) == by_name({"top_k": None, "_private": 3}) == {}
    assert by_name(Theirs(top_k=3))["top_k"] == 3
    with pytest.raises(SamplingError, match="generation_config is int; allowed: a dict"):
        by_name(3)
