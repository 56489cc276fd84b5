"""A model's named weights become a native core, one array at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.balancing import balanced
from ogpt.decoding.native.library import WEIGHTS, Core, Shape, chosen_kernels
from ogpt.errors import WeightsError
from ogpt.weights.arrays import Array, LazyArrays
from ogpt.weights.names import PREFIX, stored_names, unused_names
from ogpt.weights.precision import DTYPES, as_floats, cast
from ogpt.weights.quantised import BITS, QuantisedWeights, Rounded
from ogpt.weights.shapes import weight_shapes

Weights = Mapping[str, Array] | QuantisedWeights

_EMBEDDINGS = (f"{PREFIX}.tokens_embed.weight", f"{PREFIX}.positions_embed.weight")
_TIED_HEAD = "lm_head.weight"
_A_MATRIX = "h.0.mlp.c_fc.weight"
_LARGEST_BFLOAT16 = 3.3895e38


def unfit(config: OpenAIGPTConfig) -> str:
    """Why the native decoder cannot run the model; empty where it can."""
    if config.pruned_heads:
        return "it knows no pruned heads"
    if not config.tie_word_embeddings:
        return "it knows no head apart from the token embedding (tie_word_embeddings is false)"
    if config.parity.masking != "boolean":
        return f"it knows no masking by numbers (parity.masking is {config.parity.masking!r})"
    return ""


def stored_dtype(arrays: Weights) -> str:
    """The dtype in which a file holds the matrices."""
    homes = stored_names(arrays, [_A_MATRIX])
    return arrays[homes[_A_MATRIX]].dtype if homes else "float32"


def unused_weights(arrays: Weights, config: OpenAIGPTConfig) -> list[str]:
    """Names in the file that the language model has no use for; a copy of the embedding counts."""
    homes = stored_names(arrays, weight_shapes(config))
    unused = unused_names(arrays, homes)
    if _TIED_HEAD in unused:
        one, other = arrays[homes[_EMBEDDINGS[0]]], arrays[_TIED_HEAD]
        if isinstance(one, Array) and np.array_equal(one.data, other[1]):
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
        config: Of the model.
        arrays: Its weights, each read once.
        precision: One of library.PRECISIONS; of rounded weights, theirs.
        slots: Sequences held at once.
        threads: That compute, with the caller's.
        half_cache: Keep keys and values in bfloat16.

    Raises:
        BackendMissing: the library is not built.
        ConfigError: OGPT_KERNELS names no kernels.
        DecoderError: the processor lacks them, or memory cannot be had.
        WeightsError: weights missing, of another shape, no finite numbers, or too large.
    """
    shapes = weight_shapes(config)
    homes = stored_names(arrays, shapes)
    missing = [name for name in shapes if name not in homes]
    if missing:
        raise WeightsError(
            f"the weights do not fit: missing {', '.join(missing[:6])}"
            f"{' and more' if len(missing) > 6 else ''}",
            hint="check that config.json and the weights file belong together",
        )
    weights = _named(arrays, homes, precision)
    core = Core(_shape(config, precision, slots, threads, half_cache), chosen_kernels())
    try:
        for name, shape in shapes.items():
            weight, layer = _place(name)
            array = weights[name]
            if isinstance(array, Rounded):
                core.set_rounded(weight, layer, array)
            else:
                core.set(weight, layer, _numbers(name, array, shape, precision))
    except BaseException:
        core.close()
        raise
    return core


def _named(arrays: Weights, homes: Mapping[str, str], precision: str) -> Weights:
    """The weights under the model's names, balanced where they will be rounded."""
    if isinstance(arrays, QuantisedWeights):
        return arrays
    stored = arrays
    named = LazyArrays(homes, lambda home: stored[home])
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
    """The number of a weight in abi.h, and its layer."""
    if name in _EMBEDDINGS:
        return _EMBEDDINGS.index(name), 0
    layer, _, rest = name.removeprefix(f"{PREFIX}.h.").partition(".")
    return len(_EMBEDDINGS) + WEIGHTS.index(rest), int(layer)


def _numbers(
    name: str, array: Array, shape: tuple[int, ...], precision: str
) -> NDArray[np.float32]:
    """The array as float32, checked."""
    if array.dtype not in DTYPES:
        raise WeightsError(
            f"{name} is of {array.dtype}; allowed: {', '.join(DTYPES)}",
            hint="a quantised folder loads with the decoder that made it",
        )
    if array.data.shape != shape:
        raise WeightsError(
            f"{name} has shape {array.data.shape}; the configuration asks for {shape}",
            hint="check that config.json and the weights file belong together",
        )
    found = as_floats(array)
    largest = max(float(found.max()), -float(found.min()))  # NaN where a number is
    if not np.isfinite(largest):
        raise WeightsError(
            f"{name} holds {int((~np.isfinite(found)).sum())} numbers that are NaN or infinite; "
            "allowed: finite numbers",
            hint="the training that made it diverged, or the file is damaged: use another one",
        )
    if precision == "bfloat16" and largest > _LARGEST_BFLOAT16:
        raise WeightsError(
            f"{name} holds {largest:g}, which is too large for bfloat16",
            hint="use float32",
        )
    wide: NDArray[np.float32] = as_floats(cast(name, array, "float32"))
    return wide
