"""Open a model folder with the decoder that fits the options, the model and the machine."""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ogpt import processor
from ogpt.config.described import check_names, derived, whole_or_named
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.balancing import balanced
from ogpt.decoding.native.core_weights import Weights, stored_dtype, unfit, unused_weights
from ogpt.decoding.native.library import PRECISIONS, is_built
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.decoding.options import CACHE_OF_TORCH, DecoderOptions
from ogpt.errors import BackendMissing, ConfigError
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.decoder import Decoder
from ogpt.notices import tell

if TYPE_CHECKING:
    from ogpt.model.cuda.static_decoder import StaticDecoder
    from ogpt.model.decoder.torch_decoder import TorchDecoder
    from ogpt.model.heads import OpenAIGPTLMHeadModel
    from ogpt.tf.decoder.tensorflow_decoder import TensorFlowDecoder

_QUANTIZED = PRECISIONS[2:]


def open_decoder(
    model: str | Path | ModelFolder,
    options: DecoderOptions | None = None,
    *,
    slots: int = 1,
    **named: Any,
) -> Decoder:
    """Load a model into a decoder.

    Args:
        model: A model folder, a run, or an id of the Hub.
        options: Which decoder, and how it runs.
        slots: Number of sequences that it holds at once, 1 or more.
        **named: Fields of DecoderOptions, in place of those in `options`.

    Raises:
        ConfigError: an option outside its range, or one that does not fit the model or the machine.
        UnknownArgument: a name that is no field of DecoderOptions.
        DecoderError: there is too little memory, or OGPT_KERNELS names instructions that the
            processor does not have.
        BackendMissing: the decoder's library or framework is not installed.
        CheckpointError, WeightsError: the folder is no model, or is damaged.
    """
    check_names(open_decoder, named, DecoderOptions)
    options = whole_or_named(DecoderOptions, options, named)
    if slots < 1:
        raise ConfigError(f"slots is {slots}; allowed: 1 or more", hint="omit it for one sequence")
    decoder, dtype = options.decoder, options.dtype
    if decoder == "torch" and dtype in _QUANTIZED and not (dtype == "int8" and _torch_has_gpu()):
        raise ConfigError(
            f"dtype is {dtype!r}; the torch decoder has float32 and bfloat16, and int8 on a GPU",
            hint="use --decoder native",
        )
    folder = ModelFolder.open(model)
    if decoder == "tensorflow":
        return _open_tensorflow(folder, options, slots)
    if folder.quantized is not None:
        if dtype not in ("auto", folder.quantized):
            raise ConfigError(
                f"dtype is {dtype!r}; the weights in {folder.path} are quantized to "
                f"{folder.quantized}",
                hint="omit dtype, or use the model that was quantized",
            )
        dtype = folder.quantized
    options = derived(options, dtype=dtype, threads=options.threads or processor.cores())
    if decoder == "torch" or (decoder == "auto" and dtype not in _QUANTIZED and _torch_has_gpu()):
        return _open_torch(folder, options, slots)
    arrays: Weights
    arrays = folder.weights if folder.quantized is None else folder.quantized_weights
    stored = stored_dtype(arrays)
    why = unfit(folder.config)
    if stored == "float64" and dtype == "auto":
        why = "it has no float64, in which the weights are stored"
    if decoder == "auto" and dtype not in _QUANTIZED:
        why = why or ("" if is_built() else "it is not built")
        if why:
            tell("native-decoder-unused", reason=why)
            return _open_torch(folder, options, slots)
    elif why:
        raise ConfigError(
            f"the native decoder cannot run {folder.path}: {why}",
            hint="use --decoder torch, or another --dtype",
        )
    if dtype == "auto":
        dtype = "bfloat16" if stored == "bfloat16" else "float32"
    return _open_native(folder, arrays, derived(options, dtype=dtype), slots)


def _open_native(
    folder: ModelFolder, arrays: Weights, options: DecoderOptions, slots: int
) -> NativeDecoder:
    opened = NativeDecoder(
        folder.config,
        arrays,
        dtype=options.dtype,
        threads=options.threads,
        slots=slots,
        cache_dtype=options.cache_dtype,
    )
    if unused := unused_weights(arrays, folder.config):
        report = f"in the file but not in the model: {', '.join(unused)}"
        tell("weights-not-from-file", name=str(folder.path), report=report)
    return opened


def _open_tensorflow(folder: ModelFolder, options: DecoderOptions, slots: int) -> TensorFlowDecoder:
    if options.dtype in _QUANTIZED or folder.quantized is not None:
        raise ConfigError(
            f"dtype is {folder.quantized or options.dtype!r}; the tensorflow decoder has float32 "
            "and bfloat16",
            hint="use --decoder native",
        )
    try:
        import tensorflow as tf

        from ogpt.tf.decoder.tensorflow_decoder import TensorFlowDecoder
        from ogpt.tf.heads import TFOpenAIGPTLMHeadModel
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"the tensorflow decoder needs TensorFlow and Keras: {error}",
            hint="pip install 'ogpt[tf]'",
        ) from error
    threads = options.threads or processor.cores()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    except RuntimeError:  # it has started its threads
        running = tf.config.threading.get_intra_op_parallelism_threads()
        if options.threads and options.threads != running:
            tell(
                "setting-without-effect",
                setting="threads",
                reason="TensorFlow has already started its threads",
            )
    dtype = stored_dtype(folder.weights) if options.dtype == "auto" else options.dtype
    return TensorFlowDecoder(TFOpenAIGPTLMHeadModel.from_pretrained(folder, dtype=dtype), slots)


def _open_torch(
    folder: ModelFolder, options: DecoderOptions, slots: int
) -> StaticDecoder | TorchDecoder:
    if options.cache_dtype != "float32":
        tell("setting-without-effect", setting="cache_dtype", reason=CACHE_OF_TORCH)
    try:
        import torch
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"generating needs PyTorch: {error}", hint="pip install 'ogpt[torch]'"
        ) from error
    from ogpt.model.decoder.packed_weights import pack_weights
    from ogpt.model.decoder.torch_decoder import TorchDecoder
    from ogpt.model.heads import OpenAIGPTLMHeadModel

    torch.set_num_threads(options.threads)
    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    if on_gpu or options.deterministic:
        why = _static_unfit(folder.config, on_gpu)
        if not why:
            return _open_static(folder, options, slots, device)
        if options.deterministic or options.dtype in _QUANTIZED:
            raise ConfigError(
                f"dtype {options.dtype} with deterministic {options.deterministic} is not possible "
                f"for {folder.path} in PyTorch: {why}",
                hint="use --decoder native if it runs the model, or float32 or bfloat16",
            )
        tell("static-decoder-unused", reason=why)
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(options.dtype)
    if kind is None and on_gpu:
        kind = torch.bfloat16
    loaded = OpenAIGPTLMHeadModel.from_pretrained(folder, dtype=kind, device=device)
    return TorchDecoder(pack_weights(loaded), slots)


def _static_unfit(config: OpenAIGPTConfig, on_gpu: bool) -> str:
    """Why CUDA graphs cannot run the model here; empty if they can."""
    from ogpt.model.cuda.static_weights import unfit

    if on_gpu and find_spec("triton") is None:
        return "the package triton is not installed"
    return unfit(config)


def _open_static(
    folder: ModelFolder, options: DecoderOptions, slots: int, device: str
) -> StaticDecoder:
    import torch

    from ogpt.model.cuda.static_decoder import StaticDecoder
    from ogpt.model.heads import OpenAIGPTLMHeadModel

    dtype = "bfloat16" if options.dtype == "auto" and device == "cuda" else options.dtype
    precision = None if dtype == "auto" else dtype
    # int8 is rounded once, from float32
    kind = precision and (torch.bfloat16 if precision == "bfloat16" else torch.float32)
    model = OpenAIGPTLMHeadModel.from_pretrained(folder, dtype=kind)
    if dtype == "int8":
        _balance(model)
    return StaticDecoder(
        model.to(device), slots, precision=precision, deterministic=options.deterministic
    )


def _balance(model: OpenAIGPTLMHeadModel) -> None:
    """Balance the value channels, as before every rounding."""
    import torch

    from ogpt.model.tensors import array_of, tensor_of

    parameters = dict(model.named_parameters())
    arrays = balanced({name: array_of(weight) for name, weight in parameters.items()})
    with torch.no_grad():
        for name, weight in parameters.items():
            weight.copy_(tensor_of(arrays[name]))


def _torch_has_gpu() -> bool:
    """Whether PyTorch has a GPU; PyTorch is imported only if there is a CUDA driver."""
    if find_spec("torch") is None or not _has_cuda_driver():
        return False
    import torch

    return torch.cuda.is_available()


def _has_cuda_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
