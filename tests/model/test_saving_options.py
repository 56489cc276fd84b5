"""Arguments of save_pretrained and from_pretrained that accelerate and Trainer pass."""

from pathlib import Path
from typing import Any

import pytest
import torch

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import CheckpointError, ConfigError, UnknownArgument, WeightsError
from ogpt.folders.model_folder import ModelFolder
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import collecting
from tests.model.small import KINDS, Kind, draw_ids, quietly, small, told

LM = OpenAIGPTLMHeadModel
IDS = draw_ids(2, 6)
ONE, OTHER = small(), small(seed=1)


def same(model: Any, other: Any) -> bool:
    return torch.equal(model(IDS).logits, other(IDS).logits)


# what is saved


def test_only_one_process_saves(tmp_path: Path) -> None:
    ONE.save_pretrained(tmp_path / "a", is_main_process=False, state_dict={})
    assert not (tmp_path / "a").exists()


def test_save_function_has_no_effect(tmp_path: Path) -> None:
    with collecting() as notices:
        ONE.save_pretrained(tmp_path, True, ONE.state_dict(), save_function=torch.save)
    assert [notice.message for notice in notices] == [
        "save_function has no effect: safetensors are written, as in transformers"
    ]
    assert same(quietly(LM, tmp_path), ONE)


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
@pytest.mark.parametrize("tied", [True, False])
def test_weights_of_a_state_dict(tmp_path: Path, prefix: str, tied: bool) -> None:
    model, other = (small(seed=seed, tie_word_embeddings=tied) for seed in (0, 1))
    state = {prefix + name: tensor for name, tensor in other.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=state)
    loaded = quietly(LM, tmp_path)
    assert same(loaded, other)
    assert not same(model, other)
    assert (loaded.lm_head.weight is loaded.transformer.tokens_embed.weight) == tied


def test_state_dicts_of_other_models(tmp_path: Path) -> None:
    state = ONE.state_dict()
    lacking = {name: tensor for name, tensor in state.items() if "h.1.ln_1" not in name}
    with pytest.raises(WeightsError, match=r"missing .*h\.1\.ln_1\.bias"):
        ONE.save_pretrained(tmp_path, state_dict=lacking)
    with pytest.raises(WeightsError, match=r"missing \[\]; unused .*'more'") as caught:
        ONE.save_pretrained(tmp_path, state_dict={**state, "more": torch.zeros(1)})
    assert "get_state_dict" in caught.value.hint
    head = small(OpenAIGPTForSequenceClassification)
    with pytest.raises(WeightsError, match=r"missing \['score.weight'\]; unused"):
        head.save_pretrained(tmp_path, state_dict=state)
    assert not [*tmp_path.iterdir()]


def test_variants_lie_side_by_side(tmp_path: Path) -> None:
    ONE.save_pretrained(tmp_path)
    OTHER.save_pretrained(tmp_path, variant="fp16")
    names = {file.name for file in tmp_path.iterdir()}
    assert {"config.json", "model.safetensors", "model.fp16.safetensors"} <= names
    assert same(quietly(LM, tmp_path), ONE)
    assert same(quietly(LM, tmp_path, variant="fp16"), OTHER)
    assert same(LM.from_pretrained(ModelFolder.open(tmp_path, variant="fp16")), OTHER)
    ONE.save_pretrained(tmp_path, variant="fp16", max_shard_size="2KB")
    shards = sorted(file.name for file in tmp_path.glob("model.fp16-*"))
    assert shards[0] == f"model.fp16-00001-of-{len(shards):05d}.safetensors"
    names = {file.name for file in tmp_path.iterdir()}
    assert "model.safetensors.index.fp16.json" in names
    assert "model.fp16.safetensors" not in names  # the earlier save of the variant
    assert "model.safetensors" in names
    assert same(quietly(LM, tmp_path, variant="fp16"), ONE)
    ONE.save_pretrained(tmp_path, variant="fp16")
    assert not [*tmp_path.glob("model.fp16-*")]


def test_a_bin_file_of_a_variant(tmp_path: Path) -> None:
    ONE.save_pretrained(tmp_path)
    torch.save(OTHER.state_dict(), tmp_path / "pytorch_model.half-1.bin")
    assert same(quietly(LM, tmp_path, variant="half-1"), OTHER)


def test_variants_that_are_not_there(tmp_path: Path) -> None:
    ONE.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=r"looked for model\.fp16\.safetensors") as caught:
        LM.from_pretrained(tmp_path, variant="fp16")
    assert isinstance(caught.value, OSError)
    assert str(caught.value).startswith("there are no weights in")
    assert "variant" in caught.value.hint
    for bad in ("../x", "a.b", ""):
        for call in (ONE.save_pretrained, LM.from_pretrained):
            with pytest.raises(ConfigError, match=r"variant is .*; allowed: letters") as refused:
                call(tmp_path, variant=bad)
            assert "fp16" in refused.value.hint


def test_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = []

    def push_folder(folder: str, repo_id: str, **options: Any) -> str:
        pushed.append((repo_id, options, sorted(file.name for file in Path(folder).iterdir())))
        return ""

    monkeypatch.setattr("ogpt.model.pretrained.push_folder", push_folder)
    ONE.save_pretrained(tmp_path / "mine", push_to_hub=True, variant="fp16", token="t")
    ONE.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="me/gpt")
    (first, options, files), (second, *_) = pushed
    assert (first, second) == ("mine", "me/gpt")
    assert options == {"variant": "fp16", "token": "t"}
    assert {"model.fp16.safetensors", "config.json", "README.md"} <= set(files)
    with pytest.raises(UnknownArgument, match="no argument repo_id; allowed: save_dir") as caught:
        ONE.save_pretrained(tmp_path, repo_id="me/gpt")
    assert "save_pretrained" in caught.value.hint
    with pytest.raises(UnknownArgument) as caught:
        ONE.save_pretrained(tmp_path, max_shard_sise=1)
    assert caught.value.hint == "did you mean max_shard_size?"


# what is loaded


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_a_configuration_and_a_state_dict(kind: Kind) -> None:
    model = small(kind)
    state = model.state_dict()
    loaded = quietly(kind, None, config=model.config, state_dict=state)  # type: ignore[arg-type]  # None is the point
    assert not loaded.training
    assert torch.equal(loaded(IDS)[0], model(IDS)[0])
    with torch.no_grad():
        loaded.base_model.tokens_embed.weight.zero_()
    assert torch.equal(state[next(iter(state))], model.state_dict()[next(iter(state))])
    assert model.base_model.tokens_embed.weight.any()


def test_weights_that_a_state_dict_lacks() -> None:
    _, info, notice = told(
        OpenAIGPTForSequenceClassification,
        None,  # type: ignore[arg-type]  # the point of the test
        config=ONE.config,
        state_dict=ONE.state_dict(),
    )
    assert info["missing_keys"] == ["score.weight"]
    assert notice.startswith("the state dict: ")


def test_a_folder_whose_parts_are_replaced(tmp_path: Path) -> None:
    ONE.save_pretrained(tmp_path / "one")
    assert same(quietly(LM, tmp_path / "one", state_dict=OTHER.state_dict()), OTHER)
    changed = ONE.config.copy()
    changed.update({"n_positions": 16, "prefix": "x"})
    changed.save_pretrained(tmp_path / "other")
    for config in (tmp_path / "other", str(tmp_path / "other" / "config.json"), changed):
        loaded = quietly(LM, tmp_path / "one", config=config)
        assert loaded.config.prefix == "x"
        assert same(loaded, ONE)
    lstm = LM(LSTMConfig(vocab_size=40, n_positions=16, n_embd=6, lstm_units=5))
    lstm.config.save_pretrained(tmp_path / "lstm")
    again = quietly(LM, None, config=tmp_path / "lstm", state_dict=lstm.state_dict())  # type: ignore[arg-type]
    assert same(again, lstm.eval())


def test_nothing_to_load() -> None:
    for given, missing in (
        ({}, "config"),
        ({"config": ONE.config}, "state_dict"),
        ({"state_dict": ONE.state_dict()}, "config"),
    ):
        message = f"pretrained_model_name_or_path and {missing} are None; allowed: a model folder"
        with pytest.raises(ConfigError, match=message) as caught:
            LM.from_pretrained(None, **given)
        assert "Hub id" in caught.value.hint


# errors that code for transformers expects


def test_errors_of_transformers_kinds(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    for call in (LM.from_pretrained, OpenAIGPTConfig.from_pretrained):
        with pytest.raises(OSError, match="there is no folder") as caught:
            call(missing)
        assert isinstance(caught.value, CheckpointError)
        assert str(missing) in str(caught.value)
    ONE.save_pretrained(tmp_path)
    (tmp_path / "config.json").rename(tmp_path / "kept.json")
    with pytest.raises(OSError, match=r"has no config\.json"):
        LM.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(OSError, match="is damaged"):
        LM.from_pretrained(tmp_path)
    (tmp_path / "kept.json").replace(tmp_path / "config.json")
    with pytest.raises(RuntimeError, match=r"tokens_embed\.weight has shape \(40, 16\); allowed"):
        LM.from_pretrained(tmp_path, vocab_size=41)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(OSError, match="there are no weights in"):
        LM.from_pretrained(tmp_path)
