"""Model inputs as arrays and tensors, and back."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Literal, cast

import numpy as np

from ogpt.errors import BackendMissing, TokenizerError
from ogpt.tokens.shaping import check_choice, plain

Tensors = Literal["np", "pt", "tf"]
_PACKAGES = {
    "pt": ("torch", "PyTorch", "ogpt[torch]"),
    "tf": ("tensorflow", "TensorFlow", "ogpt[tf]"),
}


def tensors_kind(kind: object) -> Tensors:
    """Check a value of `return_tensors`, also one of transformers' TensorType, and return it.

    Raises:
        TokenizerError: another value.
    """
    check_choice("return_tensors", plain(kind), Tensors)
    return cast(Tensors, plain(kind))


def to_tensor(name: str, value: Any, kind: Tensors) -> Any:
    """Convert numbers to an array: integers to int64, as (B, T) or with other dimensions.

    Args:
        name: Of the model input, for errors.
        value: Numbers, or rows of one length; a tensor of the framework stays as it is.
        kind: "np", "pt" or "tf".

    Raises:
        TokenizerError: the rows have different lengths, or values are not numbers.
        BackendMissing: the framework is not installed.
    """
    if not isinstance(value, list | tuple) and kind_of(value) == kind:
        return value
    array = _array(name, value)
    if kind == "np":
        return array
    module, package, extra = _PACKAGES[kind]
    try:
        framework = import_module(module)
    except ImportError as error:
        raise BackendMissing(
            f"return_tensors={kind!r} needs {package}, which is not installed",
            hint=f"pip install '{extra}'",
        ) from error
    if array.dtype == np.float64 and kind_of(_first(value)) is None:
        array = array.astype(np.float32)  # as the frameworks do with Python's numbers
    return framework.from_numpy(array) if kind == "pt" else framework.convert_to_tensor(array)


def _array(name: str, value: Any) -> Any:
    rows = value if isinstance(value, list | tuple) else []
    if rows and all(isinstance(row, list | tuple) for row in rows):
        lengths = list(map(len, rows))
        if len(set(lengths)) > 1:
            raise TokenizerError(
                f"{name} has rows of {min(lengths)} to {max(lengths)} tokens; allowed in an array: "
                "one length",
                hint="pass padding=True and truncation=True",
            )
    try:
        array = np.array(value)
    except ValueError:  # rows of rows
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise TokenizerError(
            f"{name} is {reprlib.repr(value)}; allowed in an array: numbers, in rows of one length",
            hint=f"remove {name} before padding, or pad it to one length",
        )
    return array if array.size and array.dtype.kind not in "iu" else array.astype(np.int64)


def kind_of(value: Any) -> Tensors | None:
    """Return "np" or "pt" if this is an array or a tensor, or a list of such; else None."""
    held = _first(value) if isinstance(value, list | tuple) else value
    if isinstance(held, np.ndarray | np.generic):
        return "np"
    return "pt" if type(held).__module__.partition(".")[0] == "torch" else None


def as_lists(value: Any) -> Any:
    """Convert arrays and tensors, and lists of them, to lists of Python's numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, tuple) or hasattr(_first(value), "tolist"):
        return [as_lists(each) for each in value]
    return value


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, Sequence) and len(value) else None
