"""The default arguments of generate(), and what a call makes of them: generation_config.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import CheckpointError, SamplingError
from ogpt.generation.choosing.arguments import GenerationConfig
from ogpt.layout import GENERATION_FILE
from ogpt.reading import parse_json, unreadable
from ogpt.storage import write_json

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
    for layer in (_by_name(defaults), _by_name(configured), arguments):
        # one kind of length replaces the other: they must not both apply
        if any(layer.get(name) is not None for name in _LENGTHS):
            given = {name: value for name, value in given.items() if name not in _LENGTHS}
        given = {**given, **layer}
    return given


def read_defaults(folder: Path) -> GenerationConfig | None:
    """The generation_config.json of a model folder; None if it has none.

    Raises:
        CheckpointError: it cannot be read, or is damaged.
    """
    file = folder / GENERATION_FILE
    if not file.exists():
        return None
    try:
        values = parse_json(file.read_text("utf-8"))
        public = {k: v for k, v in values.items() if not k.startswith("_")}
    except OSError as error:
        raise unreadable(file, error, CheckpointError) from error
    except (ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{file} is damaged: {error!r}",
            hint="restore it from a copy of the model, or delete it: it only holds defaults",
        ) from error
    return GenerationConfig(public)


def write_defaults(folder: Path, config: OpenAIGPTConfig, defaults: Any) -> None:
    """Write generation_config.json.

    Args:
        folder: Of the model.
        config: Of the model; its special tokens are written too.
        defaults: The model's `generation_config`.
    """
    values = {**_tokens(config), **_by_name(defaults)}
    bias = values.get("sequence_bias")
    if isinstance(bias, Mapping):  # JSON keys cannot be tuples
        values["sequence_bias"] = [[list(ids), value] for ids, value in bias.items()]
    write_json(folder / GENERATION_FILE, values)


def _tokens(config: OpenAIGPTConfig) -> dict[str, Any]:
    return {name: value for name in _TOKENS if (value := getattr(config, name)) is not None}


def _by_name(configured: Any) -> dict[str, Any]:
    """The arguments that a generation configuration sets, without those that are None.

    Raises:
        SamplingError: it is neither a dict nor an object with to_dict().
    """
    if configured is not None and not isinstance(configured, Mapping):
        to_dict = getattr(configured, "to_diff_dict", None) or getattr(configured, "to_dict", None)
        if to_dict is None:
            raise SamplingError(
                f"generation_config is {type(configured).__name__}; allowed: a dict, or an object "
                "with to_dict()",
                hint="pass the arguments by name",
            )
        configured = to_dict()
    items = (configured or {}).items()
    return {name: value for name, value in items if value is not None and not name.startswith("_")}
