"""A small model and small files to fine-tune with."""

import json
from pathlib import Path

import numpy as np
import torch

import ogpt
from tests.tasks.small import tokenizer

SHAPE = {"n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}
FAST = (
    "finetune.batch_size=8",
    "finetune.learning_rate=3e-3",
    "finetune.threads=1",
    "finetune.dropout=0.0",
)


def base_model(folder: Path, **shape: int) -> Path:
    """A small language model with random weights; its shape is SHAPE but for what is passed."""
    words = tokenizer()
    torch.manual_seed(0)
    config = ogpt.OpenAIGPTConfig(vocab_size=len(words), **(SHAPE | shape))
    ogpt.OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def write(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def polarity(count: int, seed: int):
    """Texts that are good or bad by one word at a place of its own."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        words = list(rng.choice(["a", "film", "story", "with", "the", "end", "this"], 6))
        label = str(rng.choice(["good", "bad"]))
        words.insert(int(rng.integers(0, 7)), label)
        rows.append({"text": " ".join(words), "label": label + " film"})
    return rows


def task_files(folder: Path) -> dict[str, Path]:
    """Training, validation and test files of such texts."""
    return {
        "train": write(folder / "train.jsonl", polarity(192, 0)),
        "valid": write(folder / "valid.jsonl", polarity(32, 1)),
        "test": write(folder / "test.jsonl", polarity(24, 2)),
    }
