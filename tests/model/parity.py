"""Random models of ours and transformers' with the same weights."""

import random
from pathlib import Path
from typing import Any

import torch
import transformers

from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.heads import OpenAIGPTLMHeadModel


def random_config(seed: int) -> OpenAIGPTConfig:
    draw = random.Random(seed)
    n_head = draw.choice([1, 2, 3, 4])
    return OpenAIGPTConfig(
        vocab_size=draw.randint(5, 300),
        n_positions=draw.randint(2, 160),  # beyond one block of queries
        n_embd=n_head * draw.choice([2, 4, 8, 16]),
        n_layer=draw.randint(1, 4),
        n_head=n_head,
        afn=draw.choice(["gelu", "relu", "silu"]),
        initializer_range=0.2,  # large enough that faults show
    )


def random_model(seed: int, **changes: Any) -> OpenAIGPTLMHeadModel:
    config = random_config(seed)
    for name, value in changes.items():
        setattr(config, name, value)
    torch.manual_seed(seed)
    model = OpenAIGPTLMHeadModel(config).eval()
    with torch.no_grad():  # biases and gains that are not zero and one
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def theirs(model: OpenAIGPTLMHeadModel, folder: Path) -> Any:
    """The same model as transformers loads it from our folder."""
    model.save_pretrained(folder)
    transformers.utils.logging.disable_progress_bar()
    return transformers.OpenAIGPTLMHeadModel.from_pretrained(folder).eval()


def random_batch(seed: int, config: OpenAIGPTConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (B, T) and a right-padded mask whose rows each hold a token."""
    generator = torch.Generator().manual_seed(seed)
    B = int(torch.randint(1, 5, (), generator=generator))
    T = int(torch.randint(1, config.n_positions + 1, (), generator=generator))
    ids = torch.randint(0, config.vocab_size, (B, T), generator=generator)
    lengths = torch.randint(1, T + 1, (B, 1), generator=generator)
    return ids, (torch.arange(T) < lengths).long()
