"""The default arguments of generate(), and what a call makes of them: generation_config.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ogpt.config.model import OpenAIGPTConfig
from ogpt.generation.choosing.arguments import plain
from ogpt.generation.choosing.generation_config import GenerationConfig, by_name, read_values
from ogpt.layout import GENERATION_FILE

_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_LENGTHS = {"max_length", "max_new_tokens"}


def merged(
    config: OpenAIGPTConfig, defaults: Any, configured: Any, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """All arguments of a call of generate(): its own over those of the configurations.

    Args:
        config: Of the model; its special tokens come last.
        defaults: The model's `generation_config`.
        configured: The `generation_config` of the call.
        arguments: Of the call itself.

    Raises:
        SamplingError: a configuration is neither a dict nor an object with to_dict().
    """
    given = _tokens(config)
    for layer in (by_name(defaults), by_name(configured), arguments):
        # one kind of length replaces the other: they must not both apply
        if any(layer.get(name) is not None for name in _LENGTHS):
            given = {name: value for name, value in given.items() if name not in _LENGTHS}
        given = {**given, **layer}
    return plain(given)


def read_defaults(folder: Path) -> GenerationConfig | None:
    """The generation_config.json of a model folder; None if it has none.

    Raises:
        CheckpointError: it cannot be read, or is damaged.
    """
    file = folder / GENERATION_FILE
    return GenerationConfig.unchecked(read_values(file)) if file.exists() else None


def write_defaults(folder: Path, config: OpenAIGPTConfig, defaults: Any) -> None:
    """Write generation_config.json.

    Args:
        folder: Of the model.
        config: Of the model; its special tokens are written too.
        defaults: The model's `generation_config`.
    """
    values = {**_tokens(config), **by_name(defaults)}
    GenerationConfig.unchecked(values).to_json_file(folder / GENERATION_FILE)


def _tokens(config: OpenAIGPTConfig) -> dict[str, Any]:
    return {name: value for name in _TOKENS if (value := getattr(config, name)) is not None}
