"""A model folder: config, weights, tokenizer.

Where a model is asked for, a run serves too, and an id of the Hugging Face Hub.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ogpt.config.model import CONFIG_FILE, TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.errors import BackendMissing, CheckpointError, VocabularyMismatch
from ogpt.hub import HubOptions, model_folder, push_folder
from ogpt.model_card import write_card
from ogpt.model_files import CARD_FILE, weights_files
from ogpt.notices import tell
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.opening import open_tokenizer
from ogpt.weights.folder import folder_config
from ogpt.weights.openai_files import SHAPES_FILE
from ogpt.weights.safetensors_file import WEIGHTS_FILE
from ogpt.weights.shapes import architecture_of

if TYPE_CHECKING:
    from ogpt.model.pretrained import OpenAIGPTPreTrainedModel

RUN_FILE = "run.json"
CHECKPOINTS = "checkpoints"
CHECKPOINT_NAME = r"step-\d+"
MODEL_CLASSES = {
    "OpenAIGPTLMHeadModel": "ogpt.model.heads",
    "OpenAIGPTDoubleHeadsModel": "ogpt.model.double_heads",
    "OpenAIGPTForSequenceClassification": "ogpt.model.classification",
}
"""The module of each class that config.json may name under `architectures`."""


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


def load(
    path: str | Path, *, subfolder: str = "", **options: Any
) -> tuple[BPETokenizer, OpenAIGPTPreTrainedModel]:
    """Tokenizer and PyTorch model of a model folder, a run or a model on the Hub.

    The model is of the class that config.json names under `architectures`; of a checkpoint that
    names none, or the bare OpenAIGPTModel, it is the language model, whose head is the embedding.

    Args:
        path: A model folder, the folder of a run, or an id of the Hub.
        subfolder: Where the model lies inside it.
        **options: `revision`, `cache_dir`, `token`, `local_files_only` and `force_download` as
            `ogpt.hub.model_folder`; the others (`dtype`, `device`, ...) go to `from_pretrained`.

    Raises:
        BackendMissing: PyTorch is not installed.
        CheckpointError: as resolve, or `architectures` names another class.
        WeightsError: the weights are damaged or do not fit.
    """
    hub = {name: options.pop(name) for name in HubOptions.__annotations__ if name in options}
    folder = resolve(path, subfolder=subfolder, **hub)
    config = folder_config(folder)
    model_class = _model_class(config, folder)
    tokenizer = load_tokenizer(folder, config)  # what is wrong with it is said before weights load
    return tokenizer, model_class.from_pretrained(folder, config=config, **options)


def push_to_hub(
    path: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    commit_message: str = "Upload a GPT-1 model",
) -> str:
    """Push a model folder, or the best checkpoint of a run, to the Hub.

    Its configuration, weights, tokenizer and card go, and nothing else. A folder without a card
    gets one first. Models in memory have a method of this name.

    Args:
        path: A model folder or the folder of a run.
        repo_id: `name` or `owner/name`; made if it is not there.
        private: Whether a new repository is private; None: as the owner's default is.
        token: Of the Hub, with the right to write; None: the one that `hf auth login` saved.
        revision: The branch, made if it is not there; None: `main`.
        commit_message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: as resolve, or the folder holds no weights or no configuration.
        HubError: the Hub does not take it.
    """
    folder = resolve(path)
    if not (folder / CONFIG_FILE).exists():
        raise CheckpointError(
            f"{folder} holds OpenAI's files of 2018 without a {CONFIG_FILE}, which transformers "
            "needs",
            hint="make a model folder of them first: ogpt convert IN OUT",
        )
    if not (folder / CARD_FILE).exists():
        write_card(folder)
    return push_folder(
        folder,
        repo_id,
        private=private,
        token=token,
        revision=revision,
        commit_message=commit_message,
    )


def _model_class(config: OpenAIGPTConfig, folder: Path) -> type[OpenAIGPTPreTrainedModel]:
    named = architecture_of(config)
    name = "OpenAIGPTLMHeadModel" if named == "OpenAIGPTModel" else named
    if name not in MODEL_CLASSES:
        raise CheckpointError(
            f"the model in {folder} is a {named}; allowed: {', '.join(MODEL_CLASSES)}",
            hint="mend architectures in config.json, or load it with the class that you want",
        )
    try:
        found: type[OpenAIGPTPreTrainedModel] = getattr(import_module(MODEL_CLASSES[name]), name)
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"loading a model needs PyTorch: {error}", hint="pip install 'ogpt[torch]'"
        ) from error
    return found
