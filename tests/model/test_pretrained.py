from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import CheckpointError, ConfigError, WeightsError
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from tests.model.parity import random_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_model(1, n_positions=12).save_pretrained(tmp_path)
    return tmp_path


def rewrite(folder: Path, change) -> None:  # type: ignore[no-untyped-def]
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_round_trip(folder: Path) -> None:
    model = random_model(1, n_positions=12)
    loaded = OpenAIGPTLMHeadModel.from_pretrained(folder)
    ids = torch.zeros(1, 4, dtype=torch.int64)
    assert torch.equal(model(ids).logits, loaded(ids).logits)
    assert loaded.lm_head.weight is loaded.transformer.tokens_embed.weight
    assert not loaded.training
    assert loaded.config.architectures == ["OpenAIGPTLMHeadModel"]


def test_the_transformer_alone_loads_from_the_same_folder(folder: Path) -> None:
    bare = OpenAIGPTModel.from_pretrained(folder)
    whole = OpenAIGPTLMHeadModel.from_pretrained(folder)
    ids = torch.zeros(1, 4, dtype=torch.int64)
    assert torch.equal(bare(ids).last_hidden_state, whole.transformer(ids).last_hidden_state)


def test_an_untied_head_is_kept(tmp_path: Path) -> None:
    model = OpenAIGPTLMHeadModel(
        OpenAIGPTConfig(
            vocab_size=9, n_positions=4, n_embd=4, n_layer=1, n_head=1, tie_word_embeddings=False
        )
    ).eval()
    assert model.lm_head.weight is not model.transformer.tokens_embed.weight
    model.save_pretrained(tmp_path)
    loaded = OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
    ids = torch.zeros(1, 2, dtype=torch.int64)
    assert torch.equal(model(ids).logits, loaded(ids).logits)


def test_dtype(folder: Path) -> None:
    given = OpenAIGPTConfig.from_pretrained(folder)
    for config in (None, given):
        model = OpenAIGPTLMHeadModel.from_pretrained(folder, config=config, dtype=torch.bfloat16)
        assert model.dtype == torch.bfloat16
        assert model.config.dtype == model.transformer.config.dtype == "bfloat16"
    assert given.dtype == "float32"  # the caller's


def test_missing_and_left_over_weights(folder: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["other"] = tensors.pop("transformer.h.0.ln_1.bias")

    rewrite(folder, change)
    with pytest.raises(WeightsError, match=r"missing .*h\.0\.ln_1\.bias.*unused") as caught:
        OpenAIGPTLMHeadModel.from_pretrained(folder)
    assert "belong together" in caught.value.hint


def test_another_shape(folder: Path) -> None:
    rewrite(folder, lambda t: t.update({"transformer.h.0.ln_1.bias": torch.zeros(3)}))
    with pytest.raises(WeightsError, match=r"ln_1\.bias has shape \(3,\)") as caught:
        OpenAIGPTLMHeadModel.from_pretrained(folder)
    assert "belong together" in caught.value.hint


def test_a_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        OpenAIGPTLMHeadModel.from_pretrained(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
def test_resized_embeddings(tied: bool) -> None:
    model = random_model(0, tie_word_embeddings=tied)
    rows = model.config.vocab_size
    head = model.lm_head.weight.detach().clone()
    for size in (rows + 3, rows - 2):
        found = model.resize_token_embeddings(size)
        assert found.num_embeddings == len(found.weight) == model.config.vocab_size == size
        assert model.lm_head.weight.shape[0] == model.lm_head.out_features == size
        assert (model.lm_head.weight is found.weight) == tied
        assert torch.equal(model.lm_head.weight[: rows - 2], head[: rows - 2])
        assert model(torch.tensor([[1, 2]])).logits.shape == (1, 2, size)
    with pytest.raises(ConfigError, match="vocab_size is 0; allowed: an integer, 1 or more"):
        model.resize_token_embeddings(0)
