"""Read the config.json of a model folder as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from ogpt.errors import CheckpointError
from ogpt.hub import HubOptions, model_folder
from ogpt.layout import CONFIG_FILE, weights_files
from ogpt.reading import parse_json, unreadable


def config_values(path_or_id: str | Path, **hub: Unpack[HubOptions]) -> dict[str, Any]:
    """The values in the config.json of a model, as they are.

    Args:
        path_or_id: A model folder, a JSON file, or a Hub id.
        **hub: How to fetch from the Hub, as in `ogpt.hub.model_folder`.

    Raises:
        CheckpointError: the file is missing or damaged.
        HubError: the download failed.
    """
    file = Path(path_or_id)
    if not file.is_file():
        file = model_folder(path_or_id, tokenizer_only=True, **hub) / CONFIG_FILE
    return read_values(file)


def read_values(file: Path) -> dict[str, Any]:
    """Read the object in a JSON file.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        values = parse_json(file.read_text("utf-8"))
    except FileNotFoundError as error:
        if weights_files(item.name for item in file.parent.glob("*")).format == "openai":
            raise CheckpointError(
                f"{file.parent} holds OpenAI's files of 2018, which have no {file.name}",
                hint="use ogpt.load, or create a model folder with ogpt convert",
            ) from error
        raise CheckpointError(
            f"{file.parent} has no {file.name}, so it is not a model folder",
            hint="pass a folder with config.json and model.safetensors, or a run folder",
        ) from error
    except OSError as error:
        raise unreadable(file, error, CheckpointError) from error
    except ValueError as error:
        raise CheckpointError(
            f"{file} is damaged: {error}", hint="restore the file from a copy of the model"
        ) from error
    if not isinstance(values, dict):
        raise CheckpointError(
            f"{file} is damaged: it holds {type(values).__name__}, not an object",
            hint="restore the file from a copy of the model",
        )
    return values
