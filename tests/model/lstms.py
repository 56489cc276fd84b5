"""Small LSTM models with weights that matter."""

from pathlib import Path
from typing import Any

import torch

from ogpt.config.lstm_config import LSTMConfig
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel
from ogpt.notices import collecting

SHAPE = {"vocab_size": 40, "n_positions": 16, "n_embd": 12, "lstm_units": 20}


def lstm(
    kind: type[OpenAIGPTPreTrainedModel] = OpenAIGPTLMHeadModel, seed: int = 0, **changes: Any
) -> Any:
    """A model of any kind, in evaluation mode, whose states differ from token to token."""
    torch.manual_seed(seed)
    config = LSTMConfig(**{**SHAPE, "num_labels": 3, "initializer_range": 1.0, **changes})
    model = kind(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def save(model: Any, folder: Path) -> Path:
    """Save a model; it says that it is for ogpt alone."""
    with collecting() as notices:
        model.save_pretrained(folder)
    assert [notice.kind for notice in notices] == ["only-ogpt"]
    assert "it is an LSTM" in notices[0].message
    return folder
