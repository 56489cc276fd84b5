"""Writes quantized model folders: the native core rounds the weights, as it does at load time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ogpt import processor
from ogpt.decoding.native.balancing import balanced
from ogpt.decoding.native.library import PRECISIONS, load_library
from ogpt.folders.model_card import write_card
from ogpt.layout import CARD_FILE, GENERATION_FILE, TOKENIZER_FILES, WEIGHTS_FILE
from ogpt.tokens.tokenizer_folder import write_max_length
from ogpt.weights.arrays import Array, LazyArrays
from ogpt.weights.matching import match_weights
from ogpt.weights.model_weights import folder_config, open_weights, write_weights
from ogpt.weights.precision import as_floats, cast
from ogpt.weights.quantized import (
    GROUP_SIZE,
    Rounded,
    inputs_and_outputs,
    is_embedding,
    is_quantized,
    quantization_config,
    quantized_arrays,
    steps_layout,
)
from ogpt.weights.safetensors_file import write_arrays

TARGETS = ("int8", "int4", "bf16")
"""Formats of a folder: 8-bit or 4-bit integers for the native decoder, or bfloat16."""

_TOKENS, _MATRIX = 0, 2  # numbers of weights in abi.h: one (out, in), and one (in, out)
_SHARD_BYTES = 5_000_000_000


def round_matrix(name: str, values: NDArray[np.float32], dtype: str) -> Rounded:
    """Round a matrix, or the token embedding, as the native core does.

    Args:
        name: Of the weight. The embedding is (out, in), all others are (in, out).
        values: The weight; all numbers finite.
        dtype: int8 or int4.

    Raises:
        BackendMissing: the native core is not built.
    """
    inputs, outputs = inputs_and_outputs(name, values.shape)
    groups = -(-inputs // GROUP_SIZE)
    kind, shape = steps_layout(dtype, outputs, groups)
    steps = np.empty(shape, kind)
    sizes = np.empty((outputs, groups), np.float32)
    values = np.ascontiguousarray(values, np.float32)
    load_library().ogpt_quantize(
        PRECISIONS.index(dtype),
        _TOKENS if is_embedding(name) else _MATRIX,
        inputs,
        outputs,
        *(array.ctypes.data for array in (values, steps, sizes)),
    )
    return Rounded(dtype, Array(kind, steps), sizes)


def write_rounded(
    source: Path, folder: Path, to: str, progress: Callable[[int, int], None], threads: int = 0
) -> None:
    """Write a quantized copy of the model folder `source`.

    Args:
        source: Is not changed.
        folder: Where the copy is written; exists and is empty.
        to: One of TARGETS.
        progress: Called with the number of arrays done, and of all arrays.
        threads: Number of threads that round; 0 uses all cores.

    Raises:
        BackendMissing: the native core is not built.
        CheckpointError, ConfigError: the configuration is missing or damaged.
        WeightsError: weights missing, unused, damaged, already quantized, or not finite.
        StorageError: the disk is full, or does not accept writes.
    """
    config = folder_config(source)
    arrays = open_weights(source)
    plan = match_weights(arrays, config)
    saved = config.copy()
    saved.architectures = [plan.architecture]
    if to == "bf16":
        plan.check(arrays, "bfloat16", lambda done: progress(done, len(plan.homes)))
        saved.dtype = "bfloat16"
        weights = LazyArrays(plan.homes, lambda home: cast(home, arrays[home], "bfloat16"))
        write_weights(folder, weights, _SHARD_BYTES)
    else:
        plan.check(arrays, "float32")
        saved.dtype = "float32"
        saved.quantization_config = quantization_config(to)
        weights = balanced(LazyArrays(plan.homes, lambda home: arrays[home]))
        made = {}
        with ThreadPoolExecutor(threads or processor.cores()) as pool:
            parts = pool.map(lambda name: _rounded(name, weights[name], to), weights)
            for done, part in enumerate(parts, 1):
                made.update(part)
                progress(done, len(plan.homes))
        write_arrays(folder / WEIGHTS_FILE, made)
    saved.save_pretrained(folder)
    for name in (*TOKENIZER_FILES, GENERATION_FILE, CARD_FILE):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    write_max_length(folder, config.n_positions)
    if not (folder / CARD_FILE).exists():
        write_card(folder)


def _rounded(name: str, array: Array, to: str) -> dict[str, Array]:
    """The arrays of the file for one weight."""
    wide = cast(name, array, "float32")
    if not is_quantized(name):
        return {name: wide}
    return quantized_arrays(name, round_matrix(name, as_floats(wide), to))
