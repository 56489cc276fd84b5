"""Names of the files of a model folder, and which of several weights files is read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

CARD_FILE = "README.md"

CONFIG_FILES = ("config.json", "generation_config.json")
TOKENIZER_FILES = (
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "encoder_bpe_40000.json",  # OpenAI's names for vocab.json and merges.txt
    "vocab_40000.bpe",
)

_FORMATS: tuple[tuple[str, str, str], ...] = (
    # format, the file that identifies it, pattern of its further files; the preferred format first
    ("safetensors", "model.safetensors", ""),
    ("safetensors", "model.safetensors.index.json", r"model-\d+-of-\d+\.safetensors"),
    ("bin", "pytorch_model.bin", ""),
    ("bin", "pytorch_model.bin.index.json", r"pytorch_model-\d+-of-\d+\.bin"),
    ("h5", "tf_model.h5", ""),
    ("openai", "params_shapes.json", r"params_\d+\.npy"),
)


class WeightsFiles(NamedTuple):
    """The weights of a folder; of several formats, the preferred one."""

    format: str
    """safetensors, bin, h5, openai, or empty for none."""
    files: tuple[str, ...]
    """The index first, then the shards."""


def weights_files(names: Iterable[str]) -> WeightsFiles:
    """Find the weights among these file names, in the preferred format."""
    names = set(names)
    for form, first, others in _FORMATS:
        if first in names:
            shards = sorted(name for name in names if re.fullmatch(others, name))
            return WeightsFiles(form, (first, *shards))
    return WeightsFiles("", ())


def model_files(names: Iterable[str]) -> list[str]:
    """Select the file names of a model folder: configuration, tokenizer, weights in one format."""
    names = set(names)
    wanted = (*CONFIG_FILES, *TOKENIZER_FILES, *weights_files(names).files)
    return [name for name in wanted if name in names]
