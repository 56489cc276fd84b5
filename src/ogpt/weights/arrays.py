"""A named array's value: what every weights file becomes, numpy only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from numpy.typing import NDArray

E = TypeVar("E")


class Array(NamedTuple):
    """An array and the name of its dtype; numpy has no bfloat16, whose bits stand in uint16."""

    dtype: str
    data: NDArray[Any]


class LazyArrays(Mapping[str, Array], Generic[E]):
    """The arrays of a file, each read anew, into memory of its own, when it is asked for.

    Names, their number and membership are known without reading.

    Attributes:
        entries: What the file says of each array beforehand, by name.
    """

    def __init__(self, entries: Mapping[str, E], read: Callable[[E], Array]) -> None:
        self.entries = entries
        self._read = read

    def __getitem__(self, name: str) -> Array:
        return self._read(self.entries[name])

    def __contains__(self, name: object) -> bool:
        return name in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)
