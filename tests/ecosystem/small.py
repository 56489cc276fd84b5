"""A small model, tokenizer and texts for other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ogpt.integrations import transformers as door

TEXTS = [
    "the sea was calm and the boat was small",
    "a small boat on the calm sea",
    "he was very happy and she was calm",
    "the old man and the sea",
]
IDS = torch.tensor([[4, 8, 15, 16, 23, 42], [9, 3, 7, 11, 2, 5]])
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def config(**changes: Any) -> Any:
    sizes = {"vocab_size": 50, "n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return door.OpenAIGPTConfig(**(sizes | NO_DROPOUT | {"pad_token_id": 0} | changes))


def model(kind: Any, **changes: Any) -> Any:
    """A model with the same random weights each time."""
    torch.manual_seed(0)
    return kind(config(**changes)).eval()


def folder(path: Path, kind: Any, **changes: Any) -> Any:
    """Write a model and a tokenizer of TEXTS with pad and end tokens; return the tokenizer."""
    empty = door.OpenAIGPTTokenizerFast(vocab={"<unk>": 0}, merges=[])
    tokenizer = empty.train_new_from_iterator(TEXTS * 2, vocab_size=60)
    tokenizer.add_special_tokens({"pad_token": "<pad>", "eos_token": "<eos>"})
    tokenizer.padding_side = "left"  # generate() of transformers needs it
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    made = model(kind, **(sizes | {"initializer_range": 0.3} | changes))
    made.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return tokenizer
