"""The shapes computed from a configuration are those of the models."""

from typing import Any

import pytest
import torch

import ogpt
from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.weights.shapes import (
    BARE,
    WITH_HEAD,
    architecture_of,
    parameter_count,
    weight_shapes,
    written_architecture,
)

SMALL: dict[str, Any] = {
    "vocab_size": 11,
    "n_positions": 5,
    "n_embd": 12,
    "n_head": 3,
    "n_layer": 2,
}


@pytest.mark.parametrize("architecture", [BARE[0], *WITH_HEAD])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tie_word_embeddings": False, "num_labels": 5},
        {"summary_proj_to_labels": False},
        {"summary_use_proj": False},
        {"pruned_heads": {1: [0, 2]}},
    ],
)
def test_as_the_model(architecture: str, options: dict[str, Any]) -> None:
    config = OpenAIGPTConfig(**SMALL, **options)
    with torch.device("meta"):
        model = getattr(ogpt, architecture)(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.stored_tensors().items()}
    assert weight_shapes(config, architecture) == shapes
    assert parameter_count(config, architecture) == model.num_parameters()


def test_another_architecture() -> None:
    with pytest.raises(ConfigError, match=r"'GPT2Model'; allowed: OpenAIGPTModel, ") as caught:
        weight_shapes(OpenAIGPTConfig(**SMALL), "GPT2Model")
    assert "config.json" in caught.value.hint


@pytest.mark.parametrize(
    ("config", "architecture"),
    [(OpenAIGPTConfig(**SMALL), "LSTMModel"), (LSTMConfig(), "OpenAIGPTModel")],
)
def test_the_architecture_of_another_network(config: OpenAIGPTConfig, architecture: str) -> None:
    other = "OpenAIGPTModel" if architecture == "LSTMModel" else "LSTMModel"
    with pytest.raises(ConfigError, match=f"{architecture!r}; allowed: {other}, OpenAIGPTLMHead"):
        weight_shapes(config, architecture)


@pytest.mark.parametrize("architecture", [BARE[1], *WITH_HEAD])
def test_an_lstms_architecture_is_written_under_its_own_name(architecture: str) -> None:
    config = LSTMConfig()
    config.architectures = [written_architecture(config, architecture)]
    assert config.architectures[0].startswith("LSTM")
    assert architecture_of(config) == architecture
    assert architecture_of(LSTMConfig()) == "OpenAIGPTLMHeadModel"
    assert written_architecture(OpenAIGPTConfig(), architecture) == architecture


def test_the_architecture_of_a_configuration() -> None:
    assert architecture_of(OpenAIGPTConfig()) == "OpenAIGPTLMHeadModel"
    config = OpenAIGPTConfig(architectures=["TFOpenAIGPTDoubleHeadsModel"])
    assert architecture_of(config) == "OpenAIGPTDoubleHeadsModel"
