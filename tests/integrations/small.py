"""Small models of the integration."""

from typing import Any

import torch

from ogpt.integrations.transformers import (
    OpenAIGPTConfig,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification,
    OpenAIGPTLMHeadModel,
    OpenAIGPTModel,
)

CLASSES = [
    OpenAIGPTModel,
    OpenAIGPTLMHeadModel,
    OpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification,
]
IDS = torch.tensor([[4, 8, 15, 16], [23, 42, 4, 8]])


def small(**changes: Any) -> OpenAIGPTConfig:
    sizes = {"vocab_size": 50, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return OpenAIGPTConfig(**(sizes | {"num_labels": 3, "pad_token_id": 0} | changes))


def built(kind: Any, config: Any) -> Any:
    torch.manual_seed(0)
    return kind(config).eval()
