"""Quantized model folders: matrices as small integers, with one step size per group of inputs.

In place of a matrix NAME, model.safetensors has two arrays. NAME has a row per output and a column
per input, zero-padded to full groups of 64: int8, or for 4 bits two values per byte (uint8), the
earlier one in the low half, both plus 8. `NAME.step_sizes`, float32 (outputs, groups), has the size
of one step in each group. All other weights are float32. config.json has `quantization_config`.

transformers only warns about an unknown quantization method, and initializes missing weights
randomly. Therefore NAME itself is kept, with a shape that transformers refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, WeightsError
from ogpt.layout import WEIGHTS_FILE
from ogpt.weights.arrays import Array, Stored
from ogpt.weights.opened import damaged
from ogpt.weights.precision import is_finite
from ogpt.weights.safetensors_file import Entry, open_safetensors
from ogpt.weights.shapes import BLOCK_MATRICES, architecture_of, weight_shapes

METHOD = "ogpt"
GROUP_SIZE = 64
"""Number of inputs that share a step size."""

BITS = {"int8": 8, "int4": 4}
"""Quantized dtype -> bits per weight."""

SIZES = ".step_sizes"
"""Ending of the names of step sizes."""

_CONFIG = "quantization_config"
_EMBEDDING = "tokens_embed.weight"


class Rounded(NamedTuple):
    """A quantized matrix: integer steps and step sizes."""

    dtype: str
    """int8 or int4."""
    steps: Array | Stored
    """As in the file: int8 (out, padded in), or uint8 with two int4 per byte."""
    sizes: NDArray[np.float32]
    """(out, groups)"""


def is_quantized(name: str) -> bool:
    """Return whether a weight is quantized: the matrices of the blocks, and the embedding."""
    return name.endswith((*BLOCK_MATRICES, _EMBEDDING))


def is_embedding(name: str) -> bool:
    """Return whether a weight is the token embedding, which is also the head."""
    return name.endswith(_EMBEDDING)


def inputs_and_outputs(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the dimensions of a matrix: all are (in, out), except the embedding as a head."""
    rows, columns = shape
    return (columns, rows) if is_embedding(name) else (rows, columns)


def quantization_config(dtype: str) -> dict[str, Any]:
    """Return the entry in config.json of a folder quantized to this dtype."""
    return {"quant_method": METHOD, "bits": BITS[dtype], "group_size": GROUP_SIZE}


def quantized_dtype(config: OpenAIGPTConfig) -> str | None:
    """Return int8 or int4 for the configuration of a quantized folder, otherwise None.

    Raises:
        ConfigError: the weights were quantized by another program, or with other settings.
    """
    found = getattr(config, _CONFIG, None)
    if found is None:
        return None
    for dtype in BITS:
        if found == quantization_config(dtype):
            return dtype
    raise ConfigError(
        f"{_CONFIG} is {found!r}; allowed: quant_method {METHOD!r}, bits 8 or 4, "
        f"group_size {GROUP_SIZE}",
        hint="load it with the program that quantized it, or use the original model",
    )


def quantized_arrays(name: str, rounded: Rounded) -> dict[str, Array]:
    """Return the two arrays that represent a matrix in a file."""
    steps = rounded.steps
    return {
        name: steps if isinstance(steps, Array) else steps.read(),
        name + SIZES: Array("float32", rounded.sizes),
    }


def steps_layout(dtype: str, outputs: int, groups: int) -> tuple[str, tuple[int, int]]:
    """Return dtype and shape of the steps of a matrix in a file."""
    columns = groups * GROUP_SIZE
    return ("int8", (outputs, columns)) if dtype == "int8" else ("uint8", (outputs, columns // 2))


class QuantizedWeights(Mapping[str, Array | Rounded]):
    """The weights of a quantized folder under the names of `weight_shapes`, read on access."""

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


def open_quantized(folder: Path, config: OpenAIGPTConfig) -> QuantizedWeights:
    """Open a quantized folder; names, shapes and dtypes are checked against the configuration.

    Args:
        folder: The model folder.
        config: Its configuration, with `quantization_config`.

    Raises:
        ConfigError: as quantized_dtype, or the configuration is not of a quantized folder.
        WeightsError: the file is missing, damaged, or does not match the configuration. Later,
            when a weight is read: it has NaN or infinite numbers.
    """
    dtype = quantized_dtype(config)
    if dtype is None:
        raise ConfigError(
            f"the config.json in {folder} has no {_CONFIG}; a quantized folder has one",
            hint="load the folder without quantization",
        )
    file = folder / WEIGHTS_FILE
    arrays = open_safetensors(file)
    shapes = weight_shapes(config, architecture_of(config))
    expected = _layout(shapes, dtype)
    _check_layout(file, arrays.entries, expected)

    def finite(name: str) -> Array:
        array = arrays[name]
        if not is_finite(array):
            raise damaged(file, f"{name} contains NaN or infinity")
        return array

    def read(name: str) -> Array | Rounded:
        if not is_quantized(name):
            return finite(name)
        return Rounded(dtype, arrays.stored(name) or arrays[name], finite(name + SIZES).data)

    return QuantizedWeights(list(shapes), read)


def refuse_quantized(folder: Path, arrays: Mapping[str, Array]) -> None:
    """Refuse a quantized folder where floating-point weights are needed.

    Raises:
        WeightsError: the arrays are those of a quantized folder.
    """
    if any(name.endswith(SIZES) for name in arrays):
        raise WeightsError(
            f"the weights in {folder} were quantized by ogpt, and only the native decoder reads "
            "them; allowed here: floating-point weights",
            hint="generate, score and evaluate with the decoder 'native'; for anything else use "
            "the original model",
        )


def _layout(
    shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """List the arrays of the file: name -> dtype and shape."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name, shape in shapes.items():
        if not is_quantized(name):
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
        seen = (entries[name].dtype, entries[name].shape) if name in entries else "missing"
        if seen != expected.get(name, "missing"):
            raise damaged(
                file,
                f"{name} is {seen}; config.json requires {expected.get(name, 'no such array')}",
            )
