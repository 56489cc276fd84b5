"""Tokenizer and PyTorch model of a model folder, a run or a model on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import CheckpointError
from ogpt.folders.model_folder import load_tokenizer, resolve
from ogpt.hub import HubOptions
from ogpt.model.architectures import WITH_HEAD, model_class
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.weights.model_weights import folder_config
from ogpt.weights.shapes import architecture_of

if TYPE_CHECKING:
    from ogpt.model.pretrained import OpenAIGPTPreTrainedModel


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
    chosen = _chosen(config, folder)
    tokenizer = load_tokenizer(folder, config)  # what is wrong with it is said before weights load
    return tokenizer, chosen.from_pretrained(folder, config=config, **options)


def _chosen(config: OpenAIGPTConfig, folder: Path) -> type[OpenAIGPTPreTrainedModel]:
    named = architecture_of(config)
    name = "OpenAIGPTLMHeadModel" if named == "OpenAIGPTModel" else named
    if name not in WITH_HEAD:
        raise CheckpointError(
            f"the model in {folder} is a {named}; allowed: {', '.join(WITH_HEAD)}",
            hint="fix architectures in config.json, or load it with the class that you want",
        )
    return model_class(name, "loading a model")
