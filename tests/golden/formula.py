"""Weights that anyone can make again: the formula of the golden files. Needs only numpy."""

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray


def formula(
    shapes: Mapping[str, Iterable[int]], factors: Mapping[str, float] | None = None
) -> dict[str, NDArray[np.float32]]:
    """An array for each name, float32.

    For the i-th name in sorted order value j (row-major) is 0.3 * sin(0.37 * j + i) in float64,
    times the factor of the ending that the name has, if any; plus 1 for `ln_*.weight`.
    """
    arrays = {}
    for i, name in enumerate(sorted(shapes)):
        shape = tuple(shapes[name])
        values = 0.3 * np.sin(0.37 * np.arange(np.prod(shape)) + i)
        for ending, factor in (factors or {}).items():
            values = values * (factor if name.endswith(ending) else 1.0)
        values = values + (".ln_" in name and name.endswith(".weight"))
        arrays[name] = values.reshape(shape).astype(np.float32)
    return arrays
