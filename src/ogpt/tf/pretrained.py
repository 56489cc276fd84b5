"""Load and save model folders: from_pretrained, save_pretrained, push_to_hub, SavedModel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self, overload

import keras
import tensorflow as tf

from ogpt.config.changes import changed
from ogpt.config.lstm_config import read_config
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.folders.model_card import write_card
from ogpt.folders.model_folder import ModelFolder
from ogpt.hub import HubOptions, model_folder, push_folder
from ogpt.layout import CONFIG_FILE, H5_FILE
from ogpt.notices import tell
from ogpt.storage import whole_files
from ogpt.tf.base import check_config
from ogpt.tf.keras_fit import TFTrainableModel
from ogpt.tf.loading import load_weights
from ogpt.tokens.tokenizer_folder import write_max_length
from ogpt.weights.arrays import Array
from ogpt.weights.h5_writer import write_h5
from ogpt.weights.load_report import LoadReport, check_depth, warn_report
from ogpt.weights.model_weights import write_weights, written_weights
from ogpt.weights.shapes import ARCHITECTURES
from ogpt.weights.sharded import size_in_bytes

_NO_EFFECT = {
    "from_pt": "every format is found by its name",
    "use_safetensors": "safetensors are always preferred",
    "trust_remote_code": "code is never downloaded",
    "proxies": "the environment variable HTTPS_PROXY names one",
}
"""Arguments of transformers that have no effect here, and why."""


class TFOpenAIGPTPreTrainedModel(TFTrainableModel):
    """Base of the GPT-1 models: loading and saving. It is not a model itself.

    >>> from tempfile import TemporaryDirectory
    >>> from ogpt import OpenAIGPTConfig, TFOpenAIGPTLMHeadModel, TFOpenAIGPTPreTrainedModel
    >>> config = OpenAIGPTConfig(vocab_size=50, n_positions=8, n_embd=16, n_layer=2, n_head=2)
    >>> model = TFOpenAIGPTLMHeadModel(config)
    >>> isinstance(model, TFOpenAIGPTPreTrainedModel)
    True
    >>> with TemporaryDirectory() as folder:
    ...     model.save_pretrained(folder)
    ...     again = TFOpenAIGPTLMHeadModel.from_pretrained(folder)
    >>> again.num_parameters() == model.num_parameters()
    True
    """

    _noticed = False  # whether notice_only_ogpt has emitted its notice

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        max_shard_size: int | str = "5GB",
        safe_serialization: bool = True,
        saved_model: bool = False,
    ) -> None:
        """Write config.json and safetensors, which PyTorch models and transformers load too.

        All files are written before the first one replaces an older one: if the save fails, the
        files of an earlier save are unchanged.

        Args:
            save_directory: Created if missing; other files in it stay.
            max_shard_size: Maximum size of a file of safetensors in bytes, or as "5GB"; a larger
                model becomes several files and an index.
            safe_serialization: False writes tf_model.h5 in the layout of transformers 4 instead,
                always one file: max_shard_size then has no effect, with a notice if it is smaller.
            saved_model: Also write a SavedModel below `saved_model/1`, as export_saved_model.

        Raises:
            ConfigError: an invalid size, or tf_model.h5 of a class that extends none of the models.
            BackendMissing: h5py is not installed, and tf_model.h5 is asked for.
            StorageError: the disk is full or not writable; the older files are unchanged.
        """
        limit = size_in_bytes(max_shard_size)
        self.notice_only_ogpt()
        arrays = {name: stored.array() for name, stored in self.stored_variables().items()}
        if not safe_serialization and sum(one.data.nbytes for one in arrays.values()) > limit:
            reason = "tf_model.h5 is always one file"
            tell("setting-without-effect", setting="max_shard_size", reason=reason)
        dtypes = {array.dtype for array in arrays.values()}
        architecture = _architecture(type(self))
        saved = changed(
            self.config,
            architectures=[architecture],
            dtype=dtypes.pop() if len(dtypes) == 1 else None,
        )
        target = Path(save_directory)
        # config.json moves last: with it a folder counts as a model
        with whole_files(target, _replaced, last=CONFIG_FILE) as folder:
            saved.save_pretrained(folder)
            if safe_serialization:
                write_weights(folder, arrays, limit)
            else:
                write_h5(folder / H5_FILE, arrays, architecture)
            self.write_beside(folder)
        write_max_length(target, saved.n_positions)
        if saved_model:
            self.export_saved_model(target / "saved_model" / "1")

    def notice_only_ogpt(self) -> None:
        """Emit the notice `only-ogpt` once if other libraries cannot load the model."""
        if self.config.only_ogpt and not self._noticed:
            self._noticed = True
            tell("only-ogpt", reason=self.config.only_ogpt)

    def read_beside(self, folder: Path) -> None:
        """Read the files that a kind of model keeps beside its weights."""

    def write_beside(self, folder: Path) -> None:
        """Write the files that a kind of model keeps beside its weights."""

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the model to the Hugging Face Hub, with a model card made from its facts.

        Args:
            repo_id: `owner/name`.
            **options: private, token, revision, commit_message (ogpt.hub.push_folder).

        Returns:
            The address of the upload.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            write_card(Path(folder))
            return push_folder(folder, repo_id, **options)

    @property
    def input_signature(self) -> dict[str, tf.TensorSpec]:
        """The inputs of a SavedModel by name: int32, (B, T), or for double heads (B, K, T)."""
        choices = "mc_token_ids" in _names(self)
        tokens = [None, None, None] if choices else [None, None]
        axes = {"input_ids": tokens, "attention_mask": tokens}
        if choices:
            axes["mc_token_ids"] = tokens[:2]
        return {name: tf.TensorSpec(one, tf.int32, name=name) for name, one in axes.items()}

    def export_saved_model(self, folder: str | Path) -> None:
        """Write a SavedModel that TensorFlow's own loader and TensorFlow Serving run.

        Its signatures, `serving_default` for int32 and `int64_serving`, take input_ids and
        attention_mask, (B, T) or for double heads (B, K, T); mc_token_ids, (B, K), too for those.
        They return the fields of the model's output by name.

        Args:
            folder: Of the SavedModel; its parent is created if missing.
        """
        signature = self.input_signature

        def serve(*given: Any) -> dict[str, Any]:
            out = self(**dict(zip(signature, given, strict=True)), return_dict=True)
            return {name: value for name, value in out.items() if not isinstance(value, tuple)}

        archive = keras.export.ExportArchive()
        archive.track(self)
        for endpoint, dtype in (("serving_default", tf.int32), ("int64_serving", tf.int64)):
            specs = [tf.TensorSpec(one.shape, dtype, name=one.name) for one in signature.values()]
            archive.add_endpoint(endpoint, serve, specs)
        archive.write_out(str(folder), verbose=False)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | ModelFolder,
        *,
        output_loading_info: Literal[False] = False,
        **options: Any,
    ) -> Self: ...

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | ModelFolder,
        *,
        output_loading_info: Literal[True],
        **options: Any,
    ) -> tuple[Self, dict[str, Any]]: ...

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path | ModelFolder,
        *,
        config: OpenAIGPTConfig | str | Path | None = None,
        dtype: Any = None,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        **options: Any,
    ) -> Self | tuple[Self, dict[str, Any]]:
        """Load a model folder or a model of the Hub.

        Formats: safetensors, .bin, tf_model.h5 and OpenAI's .npy files, in one file or in shards,
        with or without the prefix `transformer.`. PyTorch is not needed for any of them. If the
        file has no weights for a head, the head is initialized as in a new model, with a notice.

        Args:
            pretrained_model_name_or_path: Folder with config.json and weights, an open
                ModelFolder, or `owner/name`.
            config: Used instead of the folder's config.json; or the folder or file of one.
            dtype: A Keras dtype policy or its name, such as float32, float64 or mixed_bfloat16;
                None: Keras's global policy, float32 unless set otherwise.
            ignore_mismatched_sizes: Reinitialize weights of another shape, with a notice.
            output_loading_info: Return (model, loading info), the info as in transformers.
            **options: revision, cache_dir, token, local_files_only, force_download, subfolder,
                variant for the Hub. Any other name must be a field of the configuration; it
                replaces its value.

        Raises:
            CheckpointError: no model folder, a damaged one, or one that cannot be downloaded.
            ConfigError: a name that is not a field of the configuration, or an unknown dtype.
            WeightsError: weights missing, of another shape, or not finite.
        """
        hub = {name: options.pop(name) for name in HubOptions.__annotations__ if name in options}
        for name in [name for name in options if name in _NO_EFFECT]:
            del options[name]
            tell("setting-without-effect", setting=name, reason=_NO_EFFECT[name])
        policy = as_policy(dtype)  # every argument is checked before the first download
        named = pretrained_model_name_or_path
        if isinstance(named, ModelFolder):
            opened = ModelFolder.open(named, **hub)
        else:
            opened = ModelFolder.at(model_folder(named, **hub), variant=hub.get("variant"))
        # a copy: models change their configuration, a ModelFolder keeps its own
        given = read_config(config) if isinstance(config, str | Path) else config
        settings = given or opened.config.copy()
        check_config(settings)
        arrays = opened.weights
        if options:
            settings = OpenAIGPTConfig.from_dict(settings.to_dict(), **options)
        check_depth(arrays, settings.n_layer)
        model = cls(settings) if policy is None else cls(settings, dtype=policy)
        report = model.load_arrays(arrays, ignore_mismatched_sizes=ignore_mismatched_sizes)
        warn_report(report, str(opened.path) if isinstance(named, ModelFolder) else str(named))
        model.read_beside(opened.path)
        return (model, report.as_loading_info()) if output_loading_info else model

    def load_arrays(
        self, arrays: Mapping[str, Array], *, ignore_mismatched_sizes: bool = False
    ) -> LoadReport:
        """Replace the weights by named arrays, with or without the prefix `transformer.`.

        Args:
            arrays: Weights by PyTorch's names.
            ignore_mismatched_sizes: Keep the weights whose array has another shape.

        Returns:
            What does not come from the arrays.

        Raises:
            WeightsError: weights of the transformer missing, or of another shape, or not finite.
        """
        stored = self.stored_variables()
        return load_weights(stored, arrays, ignore_mismatched_sizes=ignore_mismatched_sizes)


def as_policy(dtype: Any) -> Any:
    """A Keras dtype policy by its name; None for None.

    Raises:
        ConfigError: Keras knows no such policy, or it is not one of floating-point numbers.
    """
    if dtype is None:
        return None
    try:
        policy = keras.dtype_policies.get(dtype)
        floats = "float" in policy.compute_dtype
    except (ValueError, TypeError, AttributeError):
        floats = False
    if not floats:
        raise ConfigError(
            f"dtype is {dtype!r}; allowed: float32, float64, bfloat16, float16, mixed_bfloat16, "
            "mixed_float16, or a Keras dtype policy",
            hint="use mixed_bfloat16 to train with float32 weights and bfloat16 activations",
        )
    return policy


def _architecture(kind: type) -> str:
    """Name of a model's class in files, that of PyTorch's; for a caller's own, that of its base.

    transformers writes the name of the caller's class, which no other program knows.
    """
    names = [base.__name__.removeprefix("TF") for base in kind.__mro__]
    return next((name for name in names if name in ARCHITECTURES), names[0])


def _names(model: TFOpenAIGPTPreTrainedModel) -> tuple[str, ...]:
    """Names of the arguments of a model's call."""
    code = type(model).call.__code__
    return code.co_varnames[: code.co_argcount]


def _replaced(folder: Path) -> set[Path]:
    """Find the files of an earlier save, in either format."""
    h5 = folder / H5_FILE
    return written_weights(folder) | ({h5} if h5.exists() else set())
