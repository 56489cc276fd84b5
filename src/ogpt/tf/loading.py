"""Turn named arrays into a model's variables, one at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ogpt.notices import tell
from ogpt.tf.tensors import StoredVariable
from ogpt.weights.arrays import Array
from ogpt.weights.load_report import LoadReport, fits, match_to_model, not_finite, not_numbers
from ogpt.weights.precision import DTYPES, as_floats

_BITS = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}


def load_weights(
    wanted: Mapping[str, StoredVariable],
    arrays: Mapping[str, Array],
    *,
    ignore_mismatched_sizes: bool = False,
) -> LoadReport:
    """Replace a model's weights by arrays, one after the other.

    Weights that the file lacks stay as the model initialized them.

    Args:
        wanted: Variables of the model by name, tied ones once.
        arrays: Those of the file.
        ignore_mismatched_sizes: Treat weights of another shape as missing.

    Raises:
        WeightsError: weights of the transformer are missing, a shape does not fit, or a weight is
            not a finite number.
    """
    homes, report = match_to_model(arrays, wanted)
    narrowed = set()
    for name, home in homes.items():
        array, stored = arrays[home], wanted[name]
        if not fits(report, name, array.shape, stored.shape, ignore_mismatched_sizes):
            continue
        _check_numbers(name, array)
        if _BITS[array.dtype] > _BITS[stored.dtype]:
            narrowed.add((array.dtype, stored.dtype))
        stored.assign(array)
    for of_file, of_model in sorted(narrowed):
        tell("dtype-narrowed", stored=of_file, dtype=of_model)
    return report


def _check_numbers(name: str, array: Array) -> None:
    if array.dtype not in DTYPES:
        raise not_numbers(name, array.dtype)
    finite = np.isfinite(as_floats(array))
    if not finite.all():
        raise not_finite(name, int((~finite).sum()))
