"""Arrays of a weights file: the common form of all formats, on numpy alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ogpt.weights.opened import Opened

E = TypeVar("E")


class Array(NamedTuple):
    """An array and the name of its dtype. numpy has no bfloat16: its bits are kept in uint16."""

    dtype: str
    data: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""
        return self.data.shape


class Stored(NamedTuple):
    """An array that a file stores raw: C-contiguous and little-endian."""

    dtype: str
    shape: tuple[int, ...]
    file: Opened
    offset: int
    """Position of its first byte in the file."""

    def read(self) -> Array:
        """Read the array into new memory.

        Raises:
            WeightsError: the file was changed since it was opened.
        """
        data = np.empty(self.shape, numpy_dtype(self.dtype))
        self.file.read_into(data, self.offset)
        return Array(self.dtype, data)


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """Return the numpy dtype that stores one of our dtypes, little-endian as in files."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")


class LazyArrays(Mapping[str, Array], Generic[E]):
    """The arrays of a file. Each access reads one array into new memory.

    Loading a model needs one array at a time, so peak memory is the model plus its largest array.
    Names and their number are known without reading.

    Args:
        entries: Description of each array, by name.
        read: Reads the array of an entry.
        stored: Returns the place of an array that the file stores raw, or None if `read` converts.

    Attributes:
        entries: The argument.
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
        """Return the place of an array that the file stores raw, else None."""
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
    """Return the place of an array that a file stores raw, else None; any mapping is accepted."""
    return arrays.stored(name) if isinstance(arrays, LazyArrays) else None
