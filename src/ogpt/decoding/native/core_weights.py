"""Packs the named weights of a model into a native core, one array at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.balancing import balanced
from ogpt.decoding.native.library import READABLE, WEIGHTS, Core, Shape, chosen_kernels
from ogpt.errors import WeightsError
from ogpt.weights.arrays import Array, LazyArrays, Stored, stored
from ogpt.weights.names import PREFIX, stored_names, unused_names
from ogpt.weights.precision import DTYPES, as_floats, cast, is_finite
from ogpt.weights.quantized import BITS, QuantizedWeights, Rounded
from ogpt.weights.shapes import weight_shapes

Weights = Mapping[str, Array] | QuantizedWeights

_EMBEDDINGS = (f"{PREFIX}.tokens_embed.weight", f"{PREFIX}.positions_embed.weight")
_TIED_HEAD = "lm_head.weight"
_A_MATRIX = "h.0.mlp.c_fc.weight"
_LARGEST_BFLOAT16 = 3.3895e38
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


def unfit(config: OpenAIGPTConfig) -> str:
    """Why the native decoder cannot run the model; empty where it can."""
    if isinstance(config, LSTMConfig):
        return config.only_ogpt
    if config.pruned_heads:
        return "pruned heads are not supported"
    if not config.tie_word_embeddings:
        return "the head is not tied to the token embedding (tie_word_embeddings is false)"
    if config.parity.masking != "boolean":
        return f"additive masks are not supported (parity.masking is {config.parity.masking!r})"
    return ""


def stored_dtype(arrays: Weights) -> str:
    """The dtype of the matrices in a file."""
    homes = stored_names(arrays, [_A_MATRIX])
    if not homes:
        return "float32"
    home = homes[_A_MATRIX]
    return (stored(arrays, home) or arrays[home]).dtype


def unused_weights(arrays: Weights, config: OpenAIGPTConfig) -> list[str]:
    """Names in the file that the language model does not use; a copy of the embedding is used."""
    homes = stored_names(arrays, weight_shapes(config))
    unused = unused_names(arrays, homes)
    if _TIED_HEAD in unused:
        both = [arrays[homes[_EMBEDDINGS[0]]], arrays[_TIED_HEAD]]
        numbers = [each.data for each in both if isinstance(each, Array)]
        if len(numbers) == 2 and np.array_equal(numbers[0], numbers[1]):
            unused.remove(_TIED_HEAD)
    return unused


def load_core(
    config: OpenAIGPTConfig,
    arrays: Weights,
    *,
    precision: str = "float32",
    slots: int = 1,
    threads: int = 1,
    half_cache: bool = False,
) -> Core:
    """Pack the weights of a language model that is not `unfit`.

    Args:
        config: Configuration of the model.
        arrays: Weights of the model. Each is read once.
        precision: One of library.PRECISIONS. For quantized weights it must be theirs.
        slots: Number of sequences held at the same time.
        threads: Number of threads that compute, including the caller's.
        half_cache: Store the KV cache in bfloat16.

    Raises:
        BackendMissing: the library is not built.
        ConfigError: OGPT_KERNELS is not in library.KERNELS.
        DecoderError: the CPU does not have the kernels, or there is too little memory.
        WeightsError: weights missing, of another shape, not finite, or too large for the precision.
    """
    shapes = weight_shapes(config)
    homes = stored_names(arrays, shapes)
    missing = [name for name in shapes if name not in homes]
    if missing:
        raise WeightsError(
            f"the file lacks weights of the model: {', '.join(missing[:6])}"
            f"{' and more' if len(missing) > 6 else ''}",
            hint="check that config.json and the weights file belong together",
        )
    weights = _named(arrays, homes, precision)
    most = _LARGEST_BFLOAT16 if precision == "bfloat16" else _LARGEST_FLOAT32
    core = Core(_shape(config, precision, slots, threads, half_cache), chosen_kernels(precision))
    try:
        for name, shape in shapes.items():
            weight, layer = _place(name)
            source = stored(weights, name) or weights[name]
            if isinstance(source, Rounded):
                core.set(weight, layer, source.steps, source.sizes)
                continue
            largest = core.set(weight, layer, _readable(name, source, shape))
            if not largest <= most:  # also true for NaN
                raise _refused(name, _in_memory(source), largest)
    except BaseException:
        core.close()
        raise
    return core


def _named(arrays: Weights, homes: Mapping[str, str], precision: str) -> Weights:
    """The weights under the names of the model. Those to be rounded here are balanced first."""
    if isinstance(arrays, QuantizedWeights):
        return arrays
    given = arrays
    named = LazyArrays(homes, given.__getitem__, lambda home: stored(given, home))
    return balanced(named) if precision in BITS else named


def _shape(
    config: OpenAIGPTConfig, precision: str, slots: int, threads: int, half_cache: bool
) -> Shape:
    activation = {"gelu_new": "gelu", "swish": "silu"}.get(config.afn, config.afn)
    return Shape(
        config.vocab_size,
        config.n_positions,
        config.n_embd,
        config.n_layer,
        config.n_head,
        precision,
        "gelu-erf" if config.parity.gelu == "erf" else activation,
        slots,
        threads,
        half_cache,
        config.layer_norm_epsilon,
    )


def _place(name: str) -> tuple[int, int]:
    """The number of a weight in abi.h, and the number of its layer."""
    if name in _EMBEDDINGS:
        return _EMBEDDINGS.index(name), 0
    layer, _, rest = name.removeprefix(f"{PREFIX}.h.").partition(".")
    return len(_EMBEDDINGS) + WEIGHTS.index(rest), int(layer)


def _readable(name: str, source: Array | Stored, shape: tuple[int, ...]) -> Array | Stored:
    """Check dtype and shape of a weight; return it in a dtype that the core reads."""
    if source.dtype not in DTYPES:
        raise WeightsError(
            f"{name} has dtype {source.dtype}; allowed: {', '.join(DTYPES)}",
            hint="load a quantized folder by its path, so that its config.json is used",
        )
    if source.shape != shape:
        raise WeightsError(
            f"{name} has shape {source.shape}; allowed by the configuration: {shape}",
            hint="check that config.json and the weights file belong together",
        )
    if source.dtype in READABLE:
        return source
    array = _in_memory(source)
    if not is_finite(array):
        raise _refused(name, array, np.nan)
    return cast(name, array, "float32")


def _in_memory(source: Array | Stored) -> Array:
    return source if isinstance(source, Array) else source.read()


def _refused(name: str, array: Array, largest: float) -> WeightsError:
    """The error for a weight with numbers that are not finite, or too large."""
    if np.isfinite(largest):
        return WeightsError(
            f"{name} holds {largest:g}; allowed in bfloat16: up to {_LARGEST_BFLOAT16:g}",
            hint="use float32",
        )
    return WeightsError(
        f"{name} holds {int((~np.isfinite(as_floats(array))).sum())} numbers that are NaN or "
        "infinite; allowed: finite numbers",
        hint="use another checkpoint: its training diverged, or the file is damaged",
    )
