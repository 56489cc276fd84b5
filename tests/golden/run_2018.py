"""The golden run of the 2018 code as a model, and as a batch (README.md, 2018/golden_2018.npz)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ogpt import OpenAIGPTConfig, OpenAIGPTDoubleHeadsModel
from ogpt.data.batch import IGNORED, Batch

FILE = Path(__file__).parent / "2018" / "golden_2018.npz"
N_TOKENS, N_POSITIONS = 53, 12


def read() -> dict[str, Any]:
    """All arrays by name."""
    with np.load(FILE) as file:
        return {name: file[name] for name in file.files}


def model_of(golden: dict[str, Any], start: str, parity: str = "2018", **fields: Any) -> Any:
    """A model whose weights are the arrays START0, START1, ...: p initial values, g gradients."""
    config = OpenAIGPTConfig(
        vocab_size=N_TOKENS,
        n_positions=N_POSITIONS,
        n_embd=16,
        n_layer=2,
        n_head=2,
        parity=parity,
        **fields,
    )
    model = OpenAIGPTDoubleHeadsModel(config).eval()
    for i, name in enumerate(golden["names"]):
        value = torch.from_numpy(golden[f"{start}{i}"])
        if name == "model/we:0":  # tokens, three special ones, then positions
            model.transformer.tokens_embed.weight.data = value[:N_TOKENS].clone()
            model.transformer.positions_embed.weight.data = value[N_TOKENS:].clone()
            continue
        path = str(name).removeprefix("model/").removesuffix(":0").split("/")
        if path[0] == "clf":
            head = model.multiple_choice_head.summary
            part, value = (head.weight, value.T) if path[1] == "w" else (head.bias, value)
        else:
            module = model.transformer.h[int(path[0][1:])].get_submodule(".".join(path[1:-1]))
            part = module.bias if path[-1] == "b" else module.weight
        part.data = value.reshape(part.shape).clone()
    model.tie_weights()
    return model


def batch_of(golden: dict[str, Any]) -> Batch:
    """Its examples: (B, 2, T)."""
    ids = golden["X"][..., 0].astype(np.int64)
    kept = golden["M"] > 0
    targets = np.full_like(ids, IGNORED)
    targets[..., :-1] = np.where(kept[..., 1:], ids[..., 1:], IGNORED)
    return Batch(
        ids,
        targets=targets,
        attention_mask=kept,
        labels=golden["Y"].astype(np.int64),
        places=(ids == 52).argmax(-1),
    )
