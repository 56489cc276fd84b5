"""Load and save model folders: from_pretrained, save_pretrained, push_to_hub."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, Self, overload

import torch
from torch import Tensor, nn

from ogpt.config.call_errors import unknown_argument
from ogpt.config.changes import changed
from ogpt.config.lstm_config import read_config
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, WeightsError
from ogpt.folders.model_card import write_card
from ogpt.folders.model_folder import ModelFolder
from ogpt.hub import HubOptions, model_folder, push_folder
from ogpt.layout import CONFIG_FILE
from ogpt.model.attention import best_attention, check_attention
from ogpt.model.base import Model
from ogpt.model.loading import as_device, as_dtype, load_weights
from ogpt.model.tensors import array_of
from ogpt.notices import tell
from ogpt.storage import whole_files
from ogpt.tokens.tokenizer_folder import write_max_length
from ogpt.weights.arrays import Array
from ogpt.weights.load_report import LoadReport, check_depth, match_to_model, warn_report
from ogpt.weights.model_weights import write_weights, written_weights
from ogpt.weights.shapes import written_architecture
from ogpt.weights.sharded import size_in_bytes
from ogpt.weights.wrappers import unwrapped

_NO_EFFECT = {
    "low_cpu_mem_usage": "weights are always loaded one by one",
    "use_safetensors": "safetensors are always preferred",
    "weights_only": "only weights are ever read",
    "trust_remote_code": "code is never downloaded",
    "proxies": "the environment variable HTTPS_PROXY names one",
}
"""Arguments of transformers that have no effect here, and why."""


class OpenAIGPTPreTrainedModel(Model):
    """Base of the GPT-1 models: loading and saving. It is not a model itself.

    >>> from tempfile import TemporaryDirectory
    >>> from ogpt import OpenAIGPTConfig, OpenAIGPTLMHeadModel, OpenAIGPTPreTrainedModel
    >>> config = OpenAIGPTConfig(vocab_size=50, n_positions=8, n_embd=16, n_layer=2, n_head=2)
    >>> model = OpenAIGPTLMHeadModel(config)
    >>> isinstance(model, OpenAIGPTPreTrainedModel)
    True
    >>> with TemporaryDirectory() as folder:
    ...     model.save_pretrained(folder)
    ...     again = OpenAIGPTLMHeadModel.from_pretrained(folder, dtype="bfloat16")
    >>> again.dtype, again.num_parameters() == model.num_parameters()
    (torch.bfloat16, True)
    """

    _noticed = False  # whether notice_only_ogpt has emitted its notice

    def stored_tensors(self) -> dict[str, Tensor]:
        """The tensors that a file stores, by name; tied ones once."""
        # named_parameters lists a shared tensor under its first name: a tied head is left out
        stored = self.state_dict()  # a layer may refuse it
        return {name: stored[name] for name, _ in self.named_parameters()}

    def save_pretrained(
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        *,
        save_function: Callable[..., Any] | None = None,
        push_to_hub: bool = False,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        variant: str | None = None,
        **hub: Any,
    ) -> None:
        """Write config.json and safetensors, which transformers loads too.

        All files are written before the first one replaces an older one: if the save fails, the
        files of an earlier save are unchanged.

        Args:
            save_directory: Created if missing; other files in it stay.
            is_main_process: False writes nothing: of several processes one saves.
            state_dict: Weights to write instead of the model's, such as those that accelerate
                gathers from several devices; prefixes of wrappers are removed.
            save_function: Has no effect, with a notice: it would write pickles.
            push_to_hub: Upload the model too.
            max_shard_size: Maximum size of a file in bytes, or as "5GB"; a larger model becomes
                several files and an index.
            safe_serialization: Must be True; pickles are never written.
            variant: Of the names of the weights files: fp16 writes model.fp16.safetensors.
            **hub: Arguments of push_to_hub; repo_id is the name of the folder by default.

        Raises:
            ConfigError: an invalid size or variant, or safe_serialization is False.
            WeightsError: the state dict is not the model's.
            StorageError: the disk is full or not writable; the older files are unchanged.
            UnknownArgument: an argument of push_to_hub without push_to_hub.
            HubError: the upload fails.
        """
        if hub and not push_to_hub:
            known = [*inspect.signature(self.save_pretrained).parameters][:-1]
            raise unknown_argument(list(hub), known, "save_pretrained")
        if not safe_serialization:
            raise ConfigError(
                f"safe_serialization is {safe_serialization}; allowed: True",
                hint="omit it: transformers reads safetensors, and pickles are unsafe",
            )
        if save_function is not None:
            reason = "safetensors are written, as in transformers"
            tell("setting-without-effect", setting="save_function", reason=reason)
        limit = size_in_bytes(max_shard_size)
        stale = partial(written_weights, variant=variant)
        if not is_main_process:
            return
        self.notice_only_ogpt()
        arrays = self._arrays(state_dict)
        dtypes = {array.dtype for array in arrays.values()}
        # transformers picks the class and the dtype by these two fields
        saved = changed(
            self.config,
            architectures=[written_architecture(self.config, type(self).__name__)],
            dtype=dtypes.pop() if len(dtypes) == 1 else None,
        )
        # config.json moves last: with it a folder counts as a model
        with whole_files(Path(save_directory), stale, last=CONFIG_FILE) as folder:
            saved.save_pretrained(folder)
            write_weights(folder, arrays, limit, variant)
            self.write_beside(folder)
        write_max_length(Path(save_directory), saved.n_positions)
        if push_to_hub:
            named = {"repo_id": Path(save_directory).absolute().name, **hub}
            self.push_to_hub(**named, max_shard_size=max_shard_size, variant=variant)

    def _arrays(self, state_dict: Mapping[str, Tensor] | None) -> dict[str, Array]:
        """The weights to store, by name: the model's, or those of a state dict.

        Raises:
            WeightsError: the state dict lacks weights, or has others.
        """
        wanted = self.stored_tensors()
        if state_dict is None:
            return {name: array_of(tensor) for name, tensor in wanted.items()}
        given = unwrapped({name: array_of(tensor) for name, tensor in state_dict.items()})
        homes, report = match_to_model(given, wanted)
        if report.new or report.unused:
            raise WeightsError(
                f"the state dict is not the model's: missing {report.new}; unused {report.unused}",
                hint="pass model.state_dict(), or what accelerate's get_state_dict returns",
            )
        return {name: given[home] for name, home in homes.items()}

    def notice_only_ogpt(self) -> None:
        """Emit the notice `only-ogpt` once if other libraries cannot load the model."""
        if self.config.only_ogpt and not self._noticed:
            self._noticed = True
            tell("only-ogpt", reason=self.config.only_ogpt)

    def read_beside(self, folder: Path) -> None:
        """Read the files that a kind of model keeps beside its weights."""

    def write_beside(self, folder: Path) -> None:
        """Write the files that a kind of model keeps beside its weights."""

    def push_to_hub(
        self,
        repo_id: str,
        *,
        max_shard_size: int | str = "5GB",
        variant: str | None = None,
        tags: Iterable[str] = (),
        **options: Any,
    ) -> str:
        """Upload the model to the Hugging Face Hub, with a model card made from its facts.

        Args:
            repo_id: `owner/name`.
            max_shard_size: As in save_pretrained.
            variant: As in save_pretrained.
            tags: Of the card, beside those of `add_model_tags`.
            **options: private, token, revision, commit_message (ogpt.hub.push_folder).

        Returns:
            The address of the upload.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, max_shard_size=max_shard_size, variant=variant)
            write_card(Path(folder), tags=[*(self.model_tags or ()), *tags])
            return push_folder(folder, repo_id, variant=variant, **options)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | ModelFolder | None,
        *,
        output_loading_info: Literal[False] = False,
        **options: Any,
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | ModelFolder | None,
        *,
        output_loading_info: Literal[True],
        **options: Any,
    ) -> tuple[Self, dict[str, Any]]: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | ModelFolder | None,
        *,
        config: OpenAIGPTConfig | str | Path | None = None,
        state_dict: Mapping[str, Tensor] | None = None,
        dtype: torch.dtype | str | None = None,
        device: torch.device | str | int = "cpu",
        attn_implementation: str | None = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **options: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Load a model folder or a model of the Hub, in evaluation mode.

        Formats: safetensors, .bin, tf_model.h5 and OpenAI's .npy files, in one file or in shards,
        with or without the prefix `transformer.`. If the file has no weights for a head, the head
        is initialized as in a new model, with a notice.

        Args:
            pretrained_model_name_or_path: Folder with config.json and weights, an open
                ModelFolder, or `owner/name`. None if config and state_dict are passed.
            config: Used instead of the folder's config.json; or the folder or file of one.
            state_dict: Weights by name, copied and used instead of the folder's.
            dtype: Weight dtype, a torch.dtype or its name; None or "auto": as stored.
            device: Device of the weights; "auto": a GPU if there is one.
            attn_implementation: sdpa, eager or flash_attention_2; None: flash_attention_2 if the
                package flash_attn is installed, otherwise sdpa.
            ignore_mismatched_sizes: Reinitialize weights of another shape, with a notice.
            output_loading_info: Return (model, loading info), the info as in transformers.
            **options: revision, cache_dir, token, local_files_only, force_download, subfolder,
                variant (fp16 reads model.fp16.safetensors) for the Hub; torch_dtype and device_map
                (one device) as other names for dtype and device. Any other name must be a field
                of the configuration; it replaces its value.

        Raises:
            CheckpointError: no model folder, a damaged one, or one that cannot be downloaded.
            ConfigError: a name that is not a field of the configuration, or several devices.
            WeightsError: weights missing, of another shape, or not finite.
        """
        hub = {name: options.pop(name) for name in HubOptions.__annotations__ if name in options}
        kind = as_dtype(options.pop("torch_dtype", dtype))
        mapped = options.pop("device_map", None)
        device = as_device(device if mapped is None else mapped)
        for name in [name for name in options if name in _NO_EFFECT]:
            del options[name]
            tell("setting-without-effect", setting=name, reason=_NO_EFFECT[name])
        # every argument is checked before the first download
        attention = check_attention(attn_implementation or best_attention())
        source = _source(pretrained_model_name_or_path, config, state_dict, hub)
        settings = source.config
        if options:
            settings = type(settings).from_dict(settings.to_dict(), **options)
        check_depth(source.arrays, settings.n_layer)
        with torch.device("meta"):  # no memory yet: each weight is the file's own array
            model = cls(settings)
        if kind is not None:
            model._change_config(dtype=kind)
        report = model.load_arrays(
            source.arrays,
            dtype=kind,
            device=device,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
        )
        warn_report(report, source.name)
        model.set_attn_implementation(attention)
        if source.folder is not None:
            model.read_beside(source.folder)
        model.eval()
        return (model, report.as_loading_info()) if output_loading_info else model

    def load_arrays(
        self,
        arrays: Mapping[str, Array],
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
        ignore_mismatched_sizes: bool = False,
    ) -> LoadReport:
        """Replace the weights by named arrays, with or without the prefix `transformer.`.

        Args:
            arrays: Weights by name.
            dtype: Weight dtype; None: as stored.
            device: Device of the weights.
            ignore_mismatched_sizes: Reinitialize weights of another shape.

        Returns:
            What does not come from the arrays.

        Raises:
            WeightsError: weights of the transformer missing, or of another shape, or not finite.
        """
        report = load_weights(
            self,
            self.stored_tensors(),
            arrays,
            dtype=dtype,
            device=device,
            ignore_mismatched_sizes=ignore_mismatched_sizes,
        )
        # what the file lacks is still on the meta device and gets its first memory here
        kind = dtype or next(p.dtype for p in self.parameters() if not p.is_meta)
        fresh = {}
        for name in [*report.new, *(name for name, _, _ in report.mismatched)]:
            parent, _, last = name.rpartition(".")
            shape = self.get_parameter(name).shape
            fresh[name] = nn.Parameter(torch.empty(shape, dtype=kind, device=device))
            setattr(self.get_submodule(parent), last, fresh[name])
        self._initialize(fresh)
        self.tie_weights()
        for module in self.modules():
            if isinstance(module, nn.RNNBase):  # cuDNN copies weights in pieces at each call
                module.flatten_parameters()
        return report


class _Source(NamedTuple):
    """What a model is loaded from."""

    config: OpenAIGPTConfig
    arrays: Mapping[str, Array]
    folder: Path | None
    """None: from a configuration and a state dict."""
    name: str


def _source(
    named: str | Path | ModelFolder | None,
    config: OpenAIGPTConfig | str | Path | None,
    state_dict: Mapping[str, Tensor] | None,
    hub: dict[str, Any],
) -> _Source:
    """Find what a model is loaded from: a folder, of which the other arguments replace parts.

    Raises:
        ConfigError: there is no folder, and no configuration or no state dict.
        CheckpointError: no model folder, or one that cannot be downloaded.
    """
    if named is None and (config is None or state_dict is None):
        missing = "config" if config is None else "state_dict"
        raise ConfigError(
            f"pretrained_model_name_or_path and {missing} are None; allowed: a model folder, or "
            "config and state_dict together",
            hint="pass a model folder or a Hub id",
        )
    opened = None
    if isinstance(named, ModelFolder):
        opened = ModelFolder.open(named, **hub)
    elif named is not None:
        opened = ModelFolder.at(model_folder(named, **hub), variant=hub.get("variant"))
    if isinstance(config, str | Path):
        config = read_config(config)
    if config is None and opened is not None:
        config = opened.config.copy()  # models change their own, a ModelFolder keeps its
    assert config is not None  # with a folder or without
    if state_dict is not None:  # copied: a model and the caller's dict share no memory
        copies = {name: array_of(tensor.detach().clone()) for name, tensor in state_dict.items()}
        folder = None if opened is None else opened.path
        return _Source(config, unwrapped(copies), folder, "the state dict")
    assert opened is not None  # or there would be a state dict
    shown = opened.path if isinstance(named, ModelFolder) else named
    return _Source(config, opened.weights, opened.path, str(shown))
