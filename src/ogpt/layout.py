"""Names of the files of a model folder, and which of several weights files is read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

CARD_FILE = "README.md"

CONFIG_FILE = "config.json"
GENERATION_FILE = "generation_config.json"
CONFIG_FILES = (CONFIG_FILE, GENERATION_FILE)

VOCAB_FILE = "vocab.json"
MERGES_FILE = "merges.txt"
OPENAI_VOCAB_FILE = "encoder_bpe_40000.json"
OPENAI_MERGES_FILE = "vocab_40000.bpe"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
CHAT_TEMPLATE_FILE = "chat_template.jinja"
LEARNED_FROM_FILE = "learned_from.json"
"""What `ogpt train-tokenizer` trained the tokenizer on."""
TOKENIZER_FILES = (
    *(VOCAB_FILE, MERGES_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE),
    *(SPECIAL_TOKENS_FILE, ADDED_TOKENS_FILE, OPENAI_VOCAB_FILE, OPENAI_MERGES_FILE),
    CHAT_TEMPLATE_FILE,
)

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
BIN_FILE = "pytorch_model.bin"
BIN_INDEX_FILE = "pytorch_model.bin.index.json"
H5_FILE = "tf_model.h5"
SHAPES_FILE = "params_shapes.json"

_FORMATS: tuple[tuple[str, str, str], ...] = (
    # format, the file that identifies it, pattern of its further files; the preferred format first
    ("safetensors", WEIGHTS_FILE, ""),
    ("safetensors", INDEX_FILE, r"model-\d+-of-\d+\.safetensors"),
    ("bin", BIN_FILE, ""),
    ("bin", BIN_INDEX_FILE, r"pytorch_model-\d+-of-\d+\.bin"),
    ("h5", H5_FILE, ""),
    ("openai", SHAPES_FILE, r"params_\d+\.npy"),
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
