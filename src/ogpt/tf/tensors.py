"""Convert between Keras variables and the framework-free arrays of ogpt.weights."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from ogpt.errors import ConfigError
from ogpt.weights.arrays import Array
from ogpt.weights.precision import as_floats

Tensor: TypeAlias = Any
"""A tf.Tensor; neither TensorFlow nor Keras has types that mypy could check."""

Size: TypeAlias = Any
"""Size of an axis: an int, or a scalar tensor where a traced graph does not know it."""


def check_backend(backend: str) -> None:
    """Check that Keras computes with TensorFlow, in whose graphs and files our models live.

    Raises:
        ConfigError: it uses another framework.
    """
    if backend != "tensorflow":
        raise ConfigError(
            f"Keras computes with {backend!r}; allowed: 'tensorflow'",
            hint="set the environment variable KERAS_BACKEND=tensorflow before Keras is imported",
        )


check_backend(keras.backend.backend())


class StoredVariable(NamedTuple):
    """A variable of a model, as a file stores it."""

    variable: Tensor
    transposed: bool = False
    """Keras's Dense layers keep (in, out); files have torch's (out, in)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in a file."""
        shape = tuple(self.variable.shape)
        return shape[::-1] if self.transposed else shape

    def array(self) -> Array:
        """The variable as a file stores it; numpy has no bfloat16, so its bits become a uint16."""
        data = self.variable.numpy()
        data = np.ascontiguousarray(data.T if self.transposed else data)
        return Array(self.dtype, data.view(np.uint16) if self.dtype == "bfloat16" else data)

    def assign(self, array: Array) -> None:
        """Replace the numbers of the variable by those of a file, in the variable's dtype."""
        data: NDArray[Any] = as_floats(array)
        self.variable.assign(keras.ops.cast(data.T if self.transposed else data, self.dtype))

    @property
    def dtype(self) -> str:
        """Name of the variable's dtype."""
        return str(keras.backend.standardize_dtype(self.variable.dtype))
