"""A model folder: config, weights, tokenizer.

Where a model is asked for, a run serves too, and an id of the Hugging Face Hub.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Unpack

from ogpt.config.model import CONFIG_FILE, TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.errors import CheckpointError, VocabularyMismatch
from ogpt.hub import HubOptions, model_folder
from ogpt.layout import weights_files
from ogpt.notices import tell
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.weights.model_weights import folder_config
from ogpt.weights.openai_files import SHAPES_FILE
from ogpt.weights.safetensors_file import WEIGHTS_FILE

RUN_FILE = "run.json"
CHECKPOINTS = "checkpoints"
CHECKPOINT_NAME = r"step-\d+"


def resolve(path: str | Path, **hub: Unpack[HubOptions]) -> Path:
    """The model folder of `path`: itself, a run's best, else last, checkpoint, or a download.

    A checkpoint that lost its configuration or weights is passed over with the notice
    `checkpoint-set-aside`.

    Args:
        path: A model folder, the folder of a run, or an id of the Hub.
        **hub: How to fetch from the Hub, as `ogpt.hub.model_folder`.

    Raises:
        CheckpointError: there is no such folder, or it holds neither a model nor a checkpoint.
        HubError: no such model on the Hub, or no way to get it.
    """
    path = model_folder(path, **hub)
    if (path / CONFIG_FILE).exists() or (path / SHAPES_FILE).exists():
        return path
    if not (path / RUN_FILE).exists():
        raise CheckpointError(
            f"{path} holds no {CONFIG_FILE} and no {RUN_FILE}, so it is no model and no run",
            hint="give a model folder (config.json, model.safetensors) or the folder of a run",
        )
    facts = read_run_facts(path)
    named = list(dict.fromkeys(name for name in (facts["best"], facts["last"]) if name))
    if not named:
        raise CheckpointError(
            f"the run in {path} has no checkpoint yet", hint="let it train on with --resume"
        )
    for name in named:
        folder = path / CHECKPOINTS / str(name)
        held = {file.name for file in folder.glob("*")}
        missing = [CONFIG_FILE] if CONFIG_FILE not in held else []
        if not weights_files(held).files:
            missing.append(WEIGHTS_FILE)
        if not missing:
            return folder
        tell("checkpoint-set-aside", path=folder, reason=f"it has no {' and no '.join(missing)}")
    raise CheckpointError(
        f"the checkpoints of the run in {path} are incomplete: {', '.join(named)}",
        hint="restore one from a copy, or go on from an older one with --resume",
    )


def read_run_facts(run: Path) -> dict[str, Any]:
    """What run.json tells; `best` and `last` are names of checkpoints, or None.

    Raises:
        CheckpointError: the file is damaged.
    """
    file = run / RUN_FILE
    try:
        facts = json.loads(file.read_text("utf-8"))
        for name in (facts["best"], facts["last"]):
            if not (name is None or re.fullmatch(CHECKPOINT_NAME, name)):
                raise ValueError(f"{name!r} is not the name of a checkpoint")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file} is damaged: {error!r}",
            hint=f"restore it from a copy, or use one of the folders in {run / CHECKPOINTS}",
        ) from error
    return dict(facts)


def read_config(path: str | Path) -> OpenAIGPTConfig:
    """The configuration of a model folder or run.

    Raises:
        CheckpointError: as resolve, or config.json is damaged.
        ConfigError: a value outside its range.
    """
    return folder_config(resolve(path))


def load_tokenizer(path: str | Path, config: OpenAIGPTConfig | None = None) -> BPETokenizer:
    """The tokenizer of a model folder or run, checked against the model's vocabulary.

    Args:
        path: A model folder or the folder of a run.
        config: Of the model, where it was read already.

    Raises:
        CheckpointError: as resolve.
        TokenizerError: the tokenizer's files are missing or damaged.
        VocabularyMismatch: the tokenizer is not the model's.
    """
    folder = resolve(path)
    tokenizer = open_tokenizer(folder)
    check_vocabulary(tokenizer, config or folder_config(folder), folder)
    return tokenizer


def check_vocabulary(tokenizer: BPETokenizer, config: OpenAIGPTConfig, what: str | Path) -> None:
    """Check that tokenizer and model belong together, as far as the configuration tells.

    Every id must have a row in the model; a model that ogpt trained also remembers the
    fingerprint of its tokenizer.

    Raises:
        VocabularyMismatch: they do not.
    """
    if hasattr(config, TOKENIZER_FINGERPRINT):
        trained_with, seen = getattr(config, TOKENIZER_FINGERPRINT), tokenizer.fingerprint
        if seen != trained_with:
            raise VocabularyMismatch(
                f"the model in {what} was trained with another tokenizer "
                f"({str(trained_with)[:12]}) than this one ({seen[:12]})",
                hint="use the tokenizer that the model was trained with",
            )
    if len(tokenizer) > config.vocab_size:
        raise VocabularyMismatch(
            f"the tokenizer has {len(tokenizer)} entries; the model in {what} has "
            f"{config.vocab_size} rows",
            hint="use the tokenizer that the model was trained with",
        )
