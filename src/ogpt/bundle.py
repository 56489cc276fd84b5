"""A model folder: config, weights, tokenizer. Where a model is asked for, a run serves too."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogpt.config.model import CONFIG_FILE, OpenAIGPTConfig
from ogpt.errors import BackendMissing, CheckpointError, VocabularyMismatch
from ogpt.notices import tell
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.opening import open_tokenizer
from ogpt.weights.safetensors_file import WEIGHTS_FILE

if TYPE_CHECKING:
    from ogpt.model.heads import OpenAIGPTLMHeadModel
    from ogpt.model.pretrained import OpenAIGPTPreTrainedModel

RUN_FILE = "run.json"
CHECKPOINTS = "checkpoints"
TOKENIZER_FINGERPRINT = "tokenizer_fingerprint"
"""Key of config.json: which tokenizer the model was trained with."""
CHECKPOINT_NAME = r"step-\d+"


def resolve(path: str | Path) -> Path:
    """The model folder that `path` names: itself, or a run's best, else last, checkpoint.

    A checkpoint that lost its configuration or weights is passed over with the notice
    `checkpoint-set-aside`.

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
    facts = read_run_facts(path)
    named = list(dict.fromkeys(name for name in (facts["best"], facts["last"]) if name))
    if not named:
        raise CheckpointError(
            f"the run in {path} has no checkpoint yet", hint="let it train on with --resume"
        )
    for name in named:
        folder = path / CHECKPOINTS / str(name)
        missing = [file for file in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / file).is_file()]
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
    return OpenAIGPTConfig.from_pretrained(resolve(path))


def load_tokenizer(path: str | Path) -> BPETokenizer:
    """The tokenizer of a model folder or run, checked against the model's vocabulary.

    Raises:
        CheckpointError: as resolve.
        TokenizerError: the tokenizer's files are missing or damaged.
        VocabularyMismatch: the tokenizer is not the model's.
    """
    folder = resolve(path)
    tokenizer = open_tokenizer(folder)
    check_vocabulary(tokenizer, OpenAIGPTConfig.from_pretrained(folder), folder)
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


def add_pad_token(
    tokenizer: BPETokenizer, model: OpenAIGPTPreTrainedModel, pad_token: str = "<pad>"
) -> int:
    """Give tokenizer and model a padding token together; GPT-1 has none.

    Returns:
        Its id: that of the token in the vocabulary, or a new one with a new row in the model.

    Raises:
        VocabularyMismatch: the two do not belong together.
    """
    check_vocabulary(tokenizer, model.config, "memory")
    tokenizer.add_special_tokens({"pad_token": pad_token})
    pad_id: int = tokenizer.convert_tokens_to_ids(pad_token)
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = pad_id
    setattr(model.config, TOKENIZER_FINGERPRINT, tokenizer.fingerprint)
    return pad_id


def load(path: str | Path) -> tuple[BPETokenizer, OpenAIGPTLMHeadModel]:
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
