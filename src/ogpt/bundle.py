"""A model folder: config, weights, tokenizer. Where a model is asked for, a run serves too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from ogpt.config.model import CONFIG_FILE, OpenAIGPTConfig
from ogpt.errors import BackendMissing, CheckpointError, VocabularyMismatch
from ogpt.tokens.fast import OpenAIGPTTokenizerFast

if TYPE_CHECKING:
    from ogpt.model.heads import OpenAIGPTLMHeadModel

RUN_FILE = "run.json"
CHECKPOINTS = "checkpoints"


def resolve(path: str | Path) -> Path:
    """The model folder that `path` names: itself, or a run's best, else last, checkpoint.

    Raises:
        CheckpointError: there is no such folder, or it holds neither a model nor a checkpoint.
    """
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError(
            f"there is no folder {path}",
            hint="give a model folder (config.json, model.safetensors) or the folder of a run",
        )
    if (path / CONFIG_FILE).exists():
        return path
    if not (path / RUN_FILE).exists():
        raise CheckpointError(
            f"{path} holds no {CONFIG_FILE} and no {RUN_FILE}, so it is no model and no run",
            hint="give a model folder (config.json, model.safetensors) or the folder of a run",
        )
    try:
        facts = json.loads((path / RUN_FILE).read_text("utf-8"))
        name = facts["best"] or facts["last"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path / RUN_FILE} is damaged: {error!r}",
            hint=f"give one of the folders in {path / CHECKPOINTS} instead",
        ) from error
    if name is None:
        raise CheckpointError(
            f"the run in {path} has no checkpoint yet", hint="let it train on with --resume"
        )
    return path / CHECKPOINTS / Path(name).name


def read_config(path: str | Path) -> OpenAIGPTConfig:
    """The configuration of a model folder or run.

    Raises:
        CheckpointError: as resolve, or config.json is damaged.
        ConfigError: a value outside its range.
    """
    return OpenAIGPTConfig.from_pretrained(resolve(path))


def load_tokenizer(path: str | Path) -> OpenAIGPTTokenizerFast:
    """The tokenizer of a model folder or run, checked against the model's vocabulary.

    Raises:
        CheckpointError: as resolve.
        TokenizerError: the tokenizer's files are missing or damaged.
        VocabularyMismatch: the tokenizer has ids that the model has not.
    """
    folder = resolve(path)
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    check_vocabulary(tokenizer, OpenAIGPTConfig.from_pretrained(folder), folder)
    return tokenizer


def check_vocabulary(
    tokenizer: OpenAIGPTTokenizerFast, config: OpenAIGPTConfig, what: str | Path
) -> None:
    """Check that every id of the tokenizer has a row in the model.

    Raises:
        VocabularyMismatch: it has not.
    """
    if len(tokenizer) > config.vocab_size:
        raise VocabularyMismatch(
            f"the tokenizer has {len(tokenizer)} entries; the model in {what} has "
            f"{config.vocab_size} rows",
            hint="use the tokenizer that the model was trained with",
        )


def load(path: str | Path) -> tuple[OpenAIGPTTokenizerFast, OpenAIGPTLMHeadModel]:
    """Tokenizer and PyTorch model of a model folder or run.

    Raises:
        BackendMissing: PyTorch is not installed.
        CheckpointError: as resolve.
        WeightsError: the weights are damaged or do not fit.
    """
    try:
        from ogpt.model.heads import OpenAIGPTLMHeadModel
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"loading a model needs PyTorch: {error}", hint="pip install 'ogpt[torch]'"
        ) from error
    folder = resolve(path)
    return load_tokenizer(folder), OpenAIGPTLMHeadModel.from_pretrained(folder)
