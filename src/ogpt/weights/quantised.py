"""Quantised model folders: matrices as small whole numbers, each group of them with a step size.

In place of a matrix NAME the file model.safetensors holds two arrays. NAME itself has a row for
each output and a column for each input, filled up with zeros to whole groups of 64: int8, or for
4 bits two to a byte (uint8), the earlier one in the low half, both plus 8. `NAME.step_sizes`,
float32 (outputs, groups), holds what one step of a group is worth. All other weights are float32.
config.json says so in `quantization_config`. transformers complains of its unknown method and goes
on, with new weights for those that it misses; so none is missing, but the shapes of NAME are not
those that it wants, which it refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, WeightsError
from ogpt.weights.arrays import Array, Stored
from ogpt.weights.opened import damaged
from ogpt.weights.precision import is_finite
from ogpt.weights.safetensors_file import WEIGHTS_FILE, Entry, open_safetensors
from ogpt.weights.shapes import architecture_of, weight_shapes

METHOD = "ogpt"
GROUP_SIZE = 64
"""Inputs that share a step size."""

BITS = {"int8": 8, "int4": 4}
"""Of each dtype that weights are quantised to."""

SIZES = ".step_sizes"

_CONFIG = "quantization_config"
_EMBEDDING = "tokens_embed.weight"
_MATRICES = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


class Rounded(NamedTuple):
    """A matrix as whole steps."""

    dtype: str
    """int8 or int4."""
    steps: Array | Stored
    """As a file holds them: int8 (out, padded in), or of int4 two to a byte, uint8."""
    sizes: NDArray[np.float32]
    """(out, groups)"""


def is_quantised(name: str) -> bool:
    """Whether a weight of this name is rounded: the matrices of the blocks, and the embedding."""
    return name.endswith((*_MATRICES, _EMBEDDING))


def is_embedding(name: str) -> bool:
    """Whether a weight of this name is the token embedding, which is the head as well."""
    return name.endswith(_EMBEDDING)


def inputs_and_outputs(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Of a matrix: all are (in, out) but the embedding, which is (out, in) to the head."""
    rows, columns = shape
    return (columns, rows) if is_embedding(name) else (rows, columns)


def quantization_config(dtype: str) -> dict[str, Any]:
    """What config.json says of a folder quantised to this dtype."""
    return {"quant_method": METHOD, "bits": BITS[dtype], "group_size": GROUP_SIZE}


def quantised_dtype(config: OpenAIGPTConfig) -> str | None:
    """int8 or int4 for the configuration of a quantised folder, otherwise None.

    Raises:
        ConfigError: weights quantised by another program, or in another way.
    """
    told = getattr(config, _CONFIG, None)
    if told is None:
        return None
    for dtype in BITS:
        if told == quantization_config(dtype):
            return dtype
    raise ConfigError(
        f"{_CONFIG} is {told!r}; allowed: quant_method {METHOD!r}, bits 8 or 4, "
        f"group_size {GROUP_SIZE}",
        hint="load it with the program that quantised it, or take the model that it was made from",
    )


def quantised_arrays(name: str, rounded: Rounded) -> dict[str, Array]:
    """The two arrays that stand for a matrix in a file."""
    steps = rounded.steps
    return {
        name: steps if isinstance(steps, Array) else steps.read(),
        name + SIZES: Array("float32", rounded.sizes),
    }


def steps_layout(dtype: str, outputs: int, groups: int) -> tuple[str, tuple[int, int]]:
    """Dtype and shape of a matrix's steps in a file."""
    columns = groups * GROUP_SIZE
    return ("int8", (outputs, columns)) if dtype == "int8" else ("uint8", (outputs, columns // 2))


class QuantisedWeights(Mapping[str, Array | Rounded]):
    """The weights of a quantised folder under the names of `weight_shapes`, read when asked for."""

    def __init__(self, names: list[str], read: Callable[[str], Array | Rounded]) -> None:
        self._names = names
        self._read = read

    def __getitem__(self, name: str) -> Array | Rounded:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open_quantised(folder: Path, config: OpenAIGPTConfig) -> QuantisedWeights:
    """Open a quantised folder; names, shapes and dtypes of the file are then as they must be.

    Args:
        folder: The model folder.
        config: Its configuration, with `quantization_config`.

    Raises:
        ConfigError: as quantised_dtype, or the configuration is of no quantised folder.
        WeightsError: the file is missing or damaged, or is not what the configuration says. Later,
            from reading a weight: it holds no finite numbers.
    """
    dtype = quantised_dtype(config)
    if dtype is None:
        raise ConfigError(
            f"the config.json in {folder} has no {_CONFIG}; a quantised folder has one",
            hint="load the folder as an ordinary one",
        )
    file = folder / WEIGHTS_FILE
    arrays = open_safetensors(file)
    shapes = weight_shapes(config, architecture_of(config))
    expected = _layout(shapes, dtype)
    _check_layout(file, arrays.entries, expected)

    def finite(name: str) -> Array:
        array = arrays[name]
        if not is_finite(array):
            raise damaged(file, f"{name} holds NaN or infinite numbers")
        return array

    def read(name: str) -> Array | Rounded:
        if not is_quantised(name):
            return finite(name)
        return Rounded(dtype, arrays.stored(name) or arrays[name], finite(name + SIZES).data)

    return QuantisedWeights(list(shapes), read)


def refuse_quantised(folder: Path, arrays: Mapping[str, Array]) -> None:
    """Say who reads a quantised folder, where floating-point weights are wanted.

    Raises:
        WeightsError: the arrays are those of a quantised folder.
    """
    if any(name.endswith(SIZES) for name in arrays):
        raise WeightsError(
            f"the weights in {folder} were quantised by ogpt; allowed here: floating-point "
            "numbers. Only the native decoder reads them",
            hint="generate, score and evaluate with the decoder 'native'; for anything else take "
            "the model that was quantised",
        )


def _layout(
    shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> dtype and shape of every array in the file."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        if not is_quantised(name):
            found[name] = ("float32", shape)
            continue
        inputs, outputs = inputs_and_outputs(name, shape)
        groups = -(-inputs // GROUP_SIZE)
        found[name] = steps_layout(dtype, outputs, groups)
        found[name + SIZES] = ("float32", (outputs, groups))
    return found


def _check_layout(
    file: Path,
    entries: Mapping[str, Entry],
    expected: Mapping[str, tuple[str, tuple[int, ...]]],
) -> None:
    for name in sorted(entries.keys() | expected.keys()):
        seen = (entries[name].dtype, entries[name].shape) if name in entries else "not there"
        if seen != expected.get(name, "not there"):
            raise damaged(
                file,
                f"{name} is {seen}; its config.json asks for {expected.get(name, 'no such array')}",
            )
