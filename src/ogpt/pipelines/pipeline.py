"""`ogpt.pipeline`: a function of texts for a task and a model, as transformers' pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogpt.errors import ConfigError
from ogpt.folders.model_folder import ModelFolder, check_vocabulary
from ogpt.hub import HubOptions
from ogpt.model.architectures import model_class
from ogpt.notices import tell
from ogpt.pipelines.base_pipeline import Pipeline, check_batch_size
from ogpt.pipelines.feature_extraction import FeatureExtractionPipeline
from ogpt.pipelines.text_classification import TextClassificationPipeline
from ogpt.pipelines.text_generation import TextGenerationPipeline
from ogpt.reporting import Reporter, silent
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.weights.shapes import ARCHITECTURES

if TYPE_CHECKING:
    import torch

    from ogpt.model.pretrained import OpenAIGPTPreTrainedModel

TASKS: dict[str, type[Pipeline]] = {
    "text-generation": TextGenerationPipeline,
    "text-classification": TextClassificationPipeline,
    "sentiment-analysis": TextClassificationPipeline,
    "feature-extraction": FeatureExtractionPipeline,
}
"""The pipeline of each task; sentiment-analysis is another name of text-classification."""

_CLASSES = {
    "text-generation": ("OpenAIGPTLMHeadModel", "OpenAIGPTDoubleHeadsModel"),
    "text-classification": ("OpenAIGPTForSequenceClassification",),
    "feature-extraction": ARCHITECTURES,
}
"""The model classes of each task; a folder that names none of them is loaded as the first one."""

_LOADING = ("attn_implementation", "torch_dtype", "device_map", "model_kwargs")


def pipeline(
    task: str,
    model: str | Path | ModelFolder | OpenAIGPTPreTrainedModel | None = None,
    tokenizer: str | Path | BPETokenizer | None = None,
    *,
    device: int | str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    batch_size: int = 1,
    reporter: Reporter = silent,
    **kwargs: Any,
) -> Pipeline:
    """Make a function that applies a model to texts.

    Its calls and results are those of transformers' pipelines; the class of each task documents its
    arguments. Unlike in transformers, batches need no padding token.

    >>> import ogpt
    >>> tokenizer = ogpt.OpenAIGPTTokenizerFast(vocab={"<unk>": 0, "a</w>": 1}, merges=[])
    >>> config = ogpt.OpenAIGPTConfig(vocab_size=2, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    >>> write = ogpt.pipeline("text-generation", ogpt.OpenAIGPTLMHeadModel(config), tokenizer)
    >>> write("A", max_new_tokens=2, suppress_tokens=[0])
    [{'generated_text': 'A a a'}]

    Args:
        task: text-generation, text-classification (or sentiment-analysis) or feature-extraction.
        model: A model folder, a run, an id of the Hub, or a model of ogpt, which is moved to
            `device` if one is given. A notice names a head that a folder does not have, or that the
            task does not use.
        tokenizer: A folder, an id of the Hub, or a tokenizer of ogpt; the default is the model's.
            It is required for a model object.
        device: Number of an accelerator (the CPU, with a notice, if there is none), -1 for the CPU,
            or a torch.device or its name. None: the device of a model object, else the accelerator
            if there is one.
        dtype: Weight dtype, a torch.dtype or its name; None or "auto": as stored.
        batch_size: Number of texts per batch.
        reporter: Receives progress events of a list of texts.
        **kwargs: `revision`, `cache_dir`, `token`, `local_files_only`, `force_download` and
            `subfolder` as in `ogpt.hub.model_folder`; attn_implementation as in `from_pretrained`;
            model_kwargs, a dict for `from_pretrained`; torch_dtype and device_map (one device, or
            "auto") as other names of dtype and device. The rest are arguments of the task.

    Raises:
        BackendMissing: PyTorch is not installed.
        ConfigError: an unknown task or device, no model, a model without the head that the task
            needs, a model object without a tokenizer, or an argument outside its range.
        UnknownArgument: an argument that the task does not have.
        CheckpointError, TokenizerError, WeightsError, VocabularyMismatch: a model or tokenizer that
            is missing, damaged, or not the other's.
    """
    kind = _kind(task)
    hub = {name: kwargs.pop(name) for name in HubOptions.__annotations__ if name in kwargs}
    loading = {name: kwargs.pop(name) for name in _LOADING if name in kwargs}
    loading = {**(loading.pop("model_kwargs", None) or {}), **loading}
    dtype = loading.pop("torch_dtype", loading.pop("dtype", dtype))
    place = loading.pop("device_map", None)
    if device is None and place != "auto":
        device = place
    kind.checked(kwargs)
    check_batch_size(batch_size)
    classes = tuple(model_class(name, "a pipeline") for name in _CLASSES[kind.task])
    if isinstance(model, str | Path | ModelFolder):
        where = _device(device)
        folder = ModelFolder.open(model, **hub)
        if tokenizer is None:
            opened = folder.tokenizer
        else:
            opened = _tokenizer(tokenizer, hub)
            check_vocabulary(opened, folder.config, folder.path)
        chosen = next((one for one in classes if one.__name__ == folder.architecture), classes[0])
        options = {"dtype": dtype, "device": where, **loading}
        loaded = chosen.from_pretrained(folder, **options)
    else:
        if not isinstance(model, classes):
            raise ConfigError(
                f"the model of {task} is {_kind_of(model)}; allowed: a model folder, a run, an id "
                f"of the Hub, {', '.join(one.__name__ for one in classes)}",
                hint="pass for example model='openai-community/openai-gpt'",
            )
        for_files = {**hub, **loading, **({} if dtype is None else {"dtype": dtype})}
        if for_files:
            raise ConfigError(
                f"{', '.join(for_files)} given with a model that is already loaded; allowed: with "
                "a folder or an id",
                hint="pass it where the model is loaded",
            )
        opened = _tokenizer(tokenizer, {})
        check_vocabulary(opened, model.config, "memory")
        loaded = model if device is None else model.to(_device(device))
    return kind(loaded, opened, batch_size=batch_size, reporter=reporter, **kwargs)


def _kind(task: str) -> type[Pipeline]:
    if task not in TASKS:
        near = get_close_matches(str(task), TASKS, n=1)
        raise ConfigError(
            f"task is {task!r}; allowed: {', '.join(TASKS)}",
            hint=f"did you mean {near[0]}?" if near else "choose one of these",
        )
    return TASKS[task]


def _kind_of(model: object) -> str:
    return "missing" if model is None else f"of the class {type(model).__name__}"


def _tokenizer(given: str | Path | BPETokenizer | None, hub: Mapping[str, Any]) -> BPETokenizer:
    """A tokenizer, opened if it is a folder or id; its revision is not that of the model."""
    if isinstance(given, str | Path):
        of_model = ("revision", "subfolder")
        return open_tokenizer(given, **{k: v for k, v in hub.items() if k not in of_model})
    if not isinstance(given, BPETokenizer):
        raise ConfigError(
            f"tokenizer is {given!r}; allowed: a folder, an id of the Hub, OpenAIGPTTokenizer, "
            "OpenAIGPTTokenizerFast",
            hint="pass for example tokenizer=ogpt.OpenAIGPTTokenizer.from_pretrained(folder)",
        )
    return given


def _device(given: int | str | torch.device | None) -> torch.device:
    """The device to compute on."""
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if given is None:
        return accelerator or torch.device("cpu")
    problem = "there is no such device"
    try:
        if isinstance(given, int):
            if given == -1:
                return torch.device("cpu")
            if accelerator is None and given >= 0:
                tell("no-accelerator", device=given)
                return torch.device("cpu")
            found = torch.device(accelerator.type if accelerator else "cpu", given)
        else:
            found = torch.device(given)
        count = torch.accelerator.device_count()
        there = accelerator is not None and accelerator.type == found.type
        if found.type == "cpu" or (there and (found.index or 0) < count):
            return found
    except (RuntimeError, TypeError) as error:
        problem = str(error)
    raise ConfigError(
        f"device is {given!r}: {problem}; allowed: -1 or 'cpu'"
        + (f", 0 to {torch.accelerator.device_count() - 1}" if accelerator else ""),
        hint="omit it to use the best one",
    )
