"""The choice of decoder, dtype and threads for a model folder."""

from __future__ import annotations

import ctypes
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ogpt import processor
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.balancing import balanced
from ogpt.decoding.native.core_weights import Weights, stored_dtype, unfit, unused_weights
from ogpt.decoding.native.library import PRECISIONS, is_built
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.errors import BackendMissing, ConfigError
from ogpt.folders.model_folder import resolve
from ogpt.generation.protocol.decoder import Decoder
from ogpt.notices import tell
from ogpt.weights.model_weights import folder_config, open_weights
from ogpt.weights.quantised import open_quantised, quantised_dtype

if TYPE_CHECKING:
    from ogpt.model.cuda.static_decoder import StaticDecoder
    from ogpt.model.decoder.torch_decoder import TorchDecoder
    from ogpt.model.heads import OpenAIGPTLMHeadModel

DecoderName = Literal["auto", "native", "torch"]
DtypeName = Literal["auto", "float32", "bfloat16", "int8", "int4"]
CacheDtypeName = Literal["float32", "bfloat16"]

_QUANTISED = PRECISIONS[2:]
_CACHE_OF_TORCH = "the decoder torch keeps keys and values in the dtype of its weights"


def open_decoder(
    model: str | Path,
    *,
    config: OpenAIGPTConfig | None = None,
    decoder: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
    slots: int = 1,
    cache_dtype: str = "float32",
    deterministic: bool = False,
) -> Decoder:
    """Load a model folder or run into a decoder.

    Args:
        model: Model folder, or a run (its best, else last, checkpoint).
        config: Of the model, where it was read already.
        decoder: native (C++, on the CPU), torch, or auto: torch where it has a GPU, otherwise
            native; torch, with a notice, where native is not built or cannot run the model.
        dtype: Of the weights: float32, bfloat16, natively int8 or int4, and for torch on a GPU
            int8; auto: as stored, but bfloat16 for torch on a GPU, and natively float32 where
            float16 is stored. Quantised folders have one dtype.
        threads: CPU threads; 0: all cores.
        slots: Sequences held at once, 1 or more.
        cache_dtype: Of keys and values in the native decoder: float32, or bfloat16 in half the
            memory. PyTorch keeps them in the dtype of its weights.
        deterministic: The same tokens and log-probabilities alone or in any batch. The native
            decoder promises that always; torch runs every token in one fixed shape for it, which
            costs time.

    Raises:
        ConfigError: a value outside its range, or one that the decoder does not know.
        DecoderError: memory cannot be had, or OGPT_KERNELS names what the processor has not.
        BackendMissing: the decoder's library or framework is not installed.
        CheckpointError, WeightsError: the folder is no model, or is damaged.
    """
    for name, value, allowed in (
        ("decoder", decoder, get_args(DecoderName)),
        ("dtype", dtype, get_args(DtypeName)),
        ("cache_dtype", cache_dtype, get_args(CacheDtypeName)),
    ):
        if value not in allowed:
            raise ConfigError(
                f"{name} is {value!r}; allowed: {', '.join(allowed)}", hint="choose one of these"
            )
    for name, number, least in (("threads", threads, 0), ("slots", slots, 1)):
        if number < least:
            raise ConfigError(
                f"{name} is {number}; allowed: {least} or more", hint="leave it at its default"
            )
    if decoder == "torch" and dtype in _QUANTISED and not (dtype == "int8" and _torch_has_gpu()):
        raise ConfigError(
            f"dtype is {dtype!r}; the decoder torch knows float32 and bfloat16, and int8 on a GPU",
            hint="use --decoder native",
        )
    if decoder == "torch" and cache_dtype != "float32":
        raise ConfigError(
            f"cache_dtype is {cache_dtype!r}; {_CACHE_OF_TORCH}",
            hint="use --decoder native, or give --dtype bfloat16 alone",
        )
    folder = resolve(model)
    config = config or folder_config(folder)
    threads = threads or processor.cores()
    quantised = quantised_dtype(config)
    if quantised is not None:
        if dtype not in ("auto", quantised):
            raise ConfigError(
                f"dtype is {dtype!r}; the weights in {folder} are quantised to {quantised}",
                hint="leave dtype out, or take the model that was quantised",
            )
        dtype = quantised
    if decoder == "torch" or (decoder == "auto" and dtype not in _QUANTISED and _torch_has_gpu()):
        return _open_torch(folder, config, dtype, threads, slots, cache_dtype, deterministic)
    arrays: Weights
    arrays = open_weights(folder) if quantised is None else open_quantised(folder, config)
    stored = stored_dtype(arrays)
    why = unfit(config)
    if stored == "float64" and dtype == "auto":
        why = "it knows no float64, in which the weights are stored"
    if decoder == "auto" and dtype not in _QUANTISED:
        why = why or ("" if is_built() else "it is not built")
        if why:
            tell("native-decoder-unused", reason=why)
            return _open_torch(folder, config, dtype, threads, slots, cache_dtype, deterministic)
    elif why:
        raise ConfigError(
            f"the native decoder cannot run {folder}: {why}",
            hint="use --decoder torch, or another --dtype",
        )
    if dtype == "auto":
        dtype = "bfloat16" if stored == "bfloat16" else "float32"
    return _open_native(folder, config, arrays, dtype, threads, slots, cache_dtype)


def _open_native(
    folder: Path,
    config: OpenAIGPTConfig,
    arrays: Weights,
    dtype: str,
    threads: int,
    slots: int,
    cache_dtype: str,
) -> NativeDecoder:
    opened = NativeDecoder(
        config, arrays, dtype=dtype, threads=threads, slots=slots, cache_dtype=cache_dtype
    )
    if unused := unused_weights(arrays, config):
        report = f"in the file but not in the model: {', '.join(unused)}"
        tell("weights-not-from-file", name=str(folder), report=report)
    return opened


def _open_torch(
    folder: Path,
    config: OpenAIGPTConfig,
    dtype: str,
    threads: int,
    slots: int,
    cache_dtype: str,
    deterministic: bool,
) -> StaticDecoder | TorchDecoder:
    if cache_dtype != "float32":
        tell("setting-without-effect", setting="cache_dtype", reason=_CACHE_OF_TORCH)
    try:
        import torch
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"generating needs PyTorch: {error}", hint="pip install 'ogpt[torch]'"
        ) from error
    from ogpt.model.decoder.packed_weights import pack_weights
    from ogpt.model.decoder.torch_decoder import TorchDecoder
    from ogpt.model.heads import OpenAIGPTLMHeadModel

    torch.set_num_threads(threads)
    on_gpu = torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    if on_gpu or deterministic:
        why = _static_unfit(config, on_gpu)
        if not why:
            return _open_static(folder, config, dtype, slots, deterministic, device)
        if deterministic or dtype in _QUANTISED:
            raise ConfigError(
                f"dtype {dtype} with deterministic {deterministic} cannot be had of {folder} in "
                f"PyTorch: {why}",
                hint="use --decoder native where it runs the model, or float32 or bfloat16",
            )
        tell("static-decoder-unused", reason=why)
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(dtype)
    if kind is None and on_gpu:
        kind = torch.bfloat16
    loaded = OpenAIGPTLMHeadModel.from_pretrained(folder, config=config, dtype=kind, device=device)
    return TorchDecoder(pack_weights(loaded), slots)


def _static_unfit(config: OpenAIGPTConfig, on_gpu: bool) -> str:
    """Why captured steps cannot run the model here; empty where they can."""
    from ogpt.model.cuda.static_weights import unfit

    if on_gpu and find_spec("triton") is None:
        return "the package triton is not installed"
    return unfit(config)


def _open_static(
    folder: Path,
    config: OpenAIGPTConfig,
    dtype: str,
    slots: int,
    deterministic: bool,
    device: str,
) -> StaticDecoder:
    import torch

    from ogpt.model.cuda.static_decoder import StaticDecoder
    from ogpt.model.heads import OpenAIGPTLMHeadModel

    if dtype == "auto" and device == "cuda":
        dtype = "bfloat16"
    precision = None if dtype == "auto" else dtype
    # int8 is rounded once, from float32
    kind = precision and (torch.bfloat16 if precision == "bfloat16" else torch.float32)
    model = OpenAIGPTLMHeadModel.from_pretrained(folder, config=config, dtype=kind)
    if dtype == "int8":
        _balance(model)
    return StaticDecoder(model.to(device), slots, precision=precision, deterministic=deterministic)


def _balance(model: OpenAIGPTLMHeadModel) -> None:
    """Make value channels equally large, as before every rounding."""
    import torch

    from ogpt.model.tensors import array_of, tensor_of

    parameters = dict(model.named_parameters())
    arrays = balanced({name: array_of(weight) for name, weight in parameters.items()})
    with torch.no_grad():
        for name, weight in parameters.items():
            weight.copy_(tensor_of(arrays[name]))


def _torch_has_gpu() -> bool:
    """Whether PyTorch has a GPU; it is imported, to be asked, only where there is a driver."""
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
