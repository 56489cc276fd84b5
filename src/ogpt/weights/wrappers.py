"""Names of weights as torch.compile and DistributedDataParallel save them, and without prefixes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ogpt.weights.arrays import Array

_WRAPPERS = re.compile(r"^((_orig_mod|module)\.)+")
"""The attribute under which `torch.compile` and `DistributedDataParallel` keep the model."""


def unwrapped(arrays: Mapping[str, Array]) -> Mapping[str, Array]:
    """Return the arrays of a saved wrapper by the names of the model inside; others as they are.

    Names that would become equal stay as they are.
    """
    names = {_WRAPPERS.sub("", name): name for name in arrays}
    if len(names) < len(arrays) or all(map(str.__eq__, names, names.values())):
        return arrays
    return _Unwrapped(arrays, names)


def source_name(arrays: Mapping[str, Array], name: str) -> str:
    """Return the name of an array in its file."""
    return arrays.names[name] if isinstance(arrays, _Unwrapped) else name


class _Unwrapped(Mapping[str, Array]):
    def __init__(self, arrays: Mapping[str, Array], names: dict[str, str]) -> None:
        self._arrays = arrays
        self.names = names

    def __getitem__(self, name: str) -> Array:
        return self._arrays[self.names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
