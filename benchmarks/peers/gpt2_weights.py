"""Random GPT-2 weights, the same for every baseline that cannot run GPT-1.

NumPy only, as the baselines' environments have little else.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-5
"""Epsilon of the layer norms."""

Array = NDArray[np.float32]


def names_and_shapes(shape: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Shapes by the names of transformers; matrices are input x output, as in Conv1D."""
    C = shape["n_embd"]
    found: dict[str, tuple[int, ...]] = {
        "wte.weight": (shape["vocab_size"], C),
        "wpe.weight": (shape["n_positions"], C),
    }
    for layer in range(shape["n_layer"]):
        for part, rows, columns in (
            ("attn.c_attn", C, 3 * C),
            ("attn.c_proj", C, C),
            ("mlp.c_fc", C, 4 * C),
            ("mlp.c_proj", 4 * C, C),
        ):
            found[f"h.{layer}.{part}.weight"] = (rows, columns)
            found[f"h.{layer}.{part}.bias"] = (columns,)
        for norm in ("ln_1", "ln_2"):
            found |= {f"h.{layer}.{norm}.{each}": (C,) for each in ("weight", "bias")}
    return found | {f"ln_f.{each}": (C,) for each in ("weight", "bias")}


def draw(shape: dict[str, int]) -> dict[str, Array]:
    """Initialize each weight from its name; greedy text then does not repeat a single token."""
    std = 0.6 * shape["n_embd"] ** -0.5
    found = {}
    for name, size in names_and_shapes(shape).items():
        numbers = np.random.default_rng(zlib.crc32(name.encode()))
        drawn = numbers.standard_normal(size, np.float32)
        drawn *= 7 * std if name == "wpe.weight" else std
        if "ln_" in name and name.endswith(".weight"):
            drawn += 1.0
        found[name] = drawn
    return found
