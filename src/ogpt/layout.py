"""Names of the files of a model folder, and which of several weights files is read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ogpt.errors import ConfigError

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


def with_variant(name: str, variant: str | None) -> str:
    """The name of a weights file in a variant, as in transformers: `model.fp16.safetensors`.

    Args:
        name: The plain name; of a shard or a pattern of shards too.
        variant: Letters, digits, `_` and `-`; None: the plain name.

    Raises:
        ConfigError: another variant.
    """
    if variant is None:
        return name
    if not re.fullmatch(r"[\w-]+", variant, re.ASCII):
        raise ConfigError(
            f"variant is {variant!r}; allowed: letters, digits, _ and -",
            hint="pass for example fp16, for the file model.fp16.safetensors",
        )
    stem, dash, number = name.partition("-")
    if dash:
        return f"{stem}.{variant}-{number}"
    stem, _, suffix = name.rpartition(".")
    return f"{stem}.{variant}.{suffix}"


def weights_files(names: Iterable[str], variant: str | None = None) -> WeightsFiles:
    """Find the weights among these file names, in the preferred format.

    Args:
        names: Of the files of a folder.
        variant: As in `with_variant`.
    """
    names = set(names)
    for form, first, others in _FORMATS:
        if with_variant(first, variant) in names:
            pattern = re.compile(with_variant(others, variant) if others else "")
            shards = sorted(name for name in names if pattern.fullmatch(name))
            return WeightsFiles(form, (with_variant(first, variant), *shards))
    return WeightsFiles("", ())


def model_files(names: Iterable[str], variant: str | None = None) -> list[str]:
    """Select the file names of a model folder: configuration, tokenizer, weights in one format."""
    names = set(names)
    wanted = (*CONFIG_FILES, *TOKENIZER_FILES, *weights_files(names, variant).files)
    return [name for name in wanted if name in names]
