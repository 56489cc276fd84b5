"""What changes the network of the integration's models changes it as in ours, config included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import ogpt
from ogpt.config.model import TOKENIZER_FINGERPRINT
from ogpt.integrations.transformers import OpenAIGPTLMHeadModel
from tests.integrations.small import CLASSES, IDS, built, small


def embedding(rows: int) -> nn.Embedding:
    torch.manual_seed(1)
    return nn.Embedding(rows, 16)


def head() -> nn.Linear:
    torch.manual_seed(1)
    return nn.Linear(16, 50, bias=False)


CHANGES: dict[str, Any] = {
    "prune_heads": lambda model: model.prune_heads({-1: [0]}),
    "set_input_embeddings": lambda model: model.set_input_embeddings(embedding(70)),
    "resize_token_embeddings": lambda model: model.resize_token_embeddings(53, 8),
    "resize_position_embeddings": lambda model: model.resize_position_embeddings(6),
    "set_decoder": lambda model: model.set_decoder(
        built(type(model.base_model), model.base_model.config)
    ),
    "untie_weights": lambda model: model.untie_weights(),
    "set_output_embeddings": lambda model: model.set_output_embeddings(head()),
}
FIELDS = ("vocab_size", "n_positions", "pruned_heads", "tie_word_embeddings")


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", CLASSES)
def test_a_change_is_that_of_our_class_and_is_saved(kind: Any, change: str, tmp_path: Path) -> None:
    config = small()
    model, own = built(kind, config), built(kind.network_class, small().own)
    without_head = change == "set_output_embeddings" and not hasattr(own, "lm_head")
    if without_head or (change == "set_decoder" and model.base_model is model):
        with pytest.raises(ogpt.errors.ConfigError):
            CHANGES[change](model)
        return
    if change == "untie_weights" and not hasattr(own, "lm_head"):
        assert not hasattr(model, change)
        return
    for one in (model, own):
        CHANGES[change](one)
    expected = own(IDS)[0]
    torch.testing.assert_close(model(IDS)[0], expected, rtol=0, atol=0)
    for name in FIELDS:
        wanted = getattr(own.config, name)
        assert getattr(model.config.own, name) == wanted
        assert getattr(model.base_model.config, name, wanted) == wanted
        assert getattr(config.own, name) == getattr(small().own, name)  # others may share it
    model.save_pretrained(tmp_path)
    for reader in (kind, kind.network_class):
        again = reader.from_pretrained(tmp_path).eval()
        torch.testing.assert_close(again(IDS)[0], expected)


@pytest.mark.parametrize("kind", CLASSES)
def test_parts_are_found(kind: Any) -> None:
    model = built(kind, small())
    assert model.get_position_embeddings() is model.base_model.positions_embed
    assert model.get_input_embeddings() is model.base_model.tokens_embed
    assert model.get_decoder() is model.base_model
    model.activation_checkpointing_enable(every_n_layers=2)
    assert model.is_gradient_checkpointing
    assert model.base_model.checkpoint_every == 2
    model.activation_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_another_vocabulary_is_no_longer_that_of_the_recorded_tokenizer() -> None:
    model = built(OpenAIGPTLMHeadModel, small(**{TOKENIZER_FINGERPRINT: "abc"}))
    model.resize_position_embeddings(8)
    assert getattr(model.config, TOKENIZER_FINGERPRINT) == "abc"
    model.resize_token_embeddings(60)
    assert not hasattr(model.config, TOKENIZER_FINGERPRINT)
