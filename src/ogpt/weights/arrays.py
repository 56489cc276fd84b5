"""A named array's value: what every weights file becomes, numpy only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ogpt.weights.opened import Opened

E = TypeVar("E")


class Array(NamedTuple):
    """An array and the name of its dtype; numpy has no bfloat16, whose bits stand in uint16."""

    dtype: str
    data: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the data."""
        return self.data.shape


class Stored(NamedTuple):
    """An array that lies as it is in a file: row after row, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    file: Opened
    offset: int
    """Of its first byte."""

    def read(self) -> Array:
        """The array in memory of its own.

        Raises:
            WeightsError: the file was changed since it was opened.
        """
        data = np.empty(self.shape, numpy_dtype(self.dtype))
        self.file.read_into(data, self.offset)
        return Array(self.dtype, data)


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """What holds numbers of one of our dtypes in memory and, little-endian, in files."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")


class LazyArrays(Mapping[str, Array], Generic[E]):
    """The arrays of a file, each read anew, into memory of its own, when it is asked for.

    Names, their number and membership are known without reading.

    Args:
        entries: What the file says of each array beforehand, by name.
        read: Makes an array of it.
        stored: Where an array lies as it is; None of one that reading makes.

    Attributes:
        entries: As given.
    """

    def __init__(
        self,
        entries: Mapping[str, E],
        read: Callable[[E], Array],
        stored: Callable[[E], Stored | None] = lambda entry: None,
    ) -> None:
        self.entries = entries
        self._read = read
        self._stored = stored

    def stored(self, name: str) -> Stored | None:
        """Where the array lies as it is, for whoever reads it otherwise; None where it does not."""
        return self._stored(self.entries[name])

    def __getitem__(self, name: str) -> Array:
        return self._read(self.entries[name])

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def stored(arrays: Mapping[str, Any], name: str) -> Stored | None:
    """Where one of the arrays lies as it is in a file; None where reading makes it."""
    return arrays.stored(name) if isinstance(arrays, LazyArrays) else None
