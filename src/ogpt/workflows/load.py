"""`ogpt.load`: tokenizer and PyTorch model of a model folder, a run or a model on the Hub."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogpt.errors import CheckpointError
from ogpt.folders.model_folder import ModelFolder
from ogpt.hub import HubOptions
from ogpt.model.architectures import model_class
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.weights.shapes import BARE, WITH_HEAD

if TYPE_CHECKING:
    from ogpt.model.pretrained import OpenAIGPTPreTrainedModel


def load(
    path: str | Path | ModelFolder, *, subfolder: str = "", **options: Any
) -> tuple[BPETokenizer, OpenAIGPTPreTrainedModel]:
    """Load the tokenizer and the PyTorch model of a model folder, a run or a model on the Hub.

    The model has the class that config.json names under `architectures`. If it names none, or the
    bare OpenAIGPTModel, this is the language model, whose head is the token embedding.

    Args:
        path: A model folder, the folder of a run, or an id of the Hub.
        subfolder: Folder of the model inside the path or repository.
        **options: `revision`, `cache_dir`, `token`, `local_files_only` and `force_download` as
            `ogpt.hub.model_folder`; the others (`dtype`, `device`, ...) go to `from_pretrained`.

    Raises:
        BackendMissing: PyTorch is not installed.
        CheckpointError: there is no model, or `architectures` names another class.
        WeightsError: the weights are damaged or do not fit.
    """
    hub = {name: options.pop(name) for name in HubOptions.__annotations__ if name in options}
    folder = ModelFolder.open(path, subfolder=subfolder, **hub)
    chosen = _chosen(folder)
    # a copy, as a caller may add tokens to it; first, so that its faults precede the weights
    tokenizer = deepcopy(folder.tokenizer)
    return tokenizer, chosen.from_pretrained(folder, **options)


def _chosen(folder: ModelFolder) -> type[OpenAIGPTPreTrainedModel]:
    named = folder.architecture
    name = "OpenAIGPTLMHeadModel" if named in BARE else named
    if name not in WITH_HEAD:
        raise CheckpointError(
            f"the model in {folder.path} is a {named}; allowed: {', '.join(WITH_HEAD)}",
            hint="fix architectures in config.json, or call from_pretrained of the class you want",
        )
    return model_class(name, "loading a model")
