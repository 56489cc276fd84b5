"""Which network a configuration describes."""

from __future__ import annotations

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.lstm import LSTMModel
from ogpt.model.transformer import OpenAIGPTModel


def network_of(config: OpenAIGPTConfig) -> OpenAIGPTModel | LSTMModel:
    """The network of a model with a head, with random weights."""
    return LSTMModel(config) if isinstance(config, LSTMConfig) else OpenAIGPTModel(config)
