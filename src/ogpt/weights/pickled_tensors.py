"""Where in a file of torch's the numbers of a tensor lie."""

from __future__ import annotations

from dataclasses import dataclass

ITEM_SIZES: dict[str, int] = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}


@dataclass(frozen=True, slots=True)
class PickledStorage:
    """Numbers of one type in a row, which several tensors may share; `key` finds them."""

    key: str
    dtype: str
    numel: int

    @property
    def nbytes(self) -> int:
        """What it takes in the file."""
        return self.numel * ITEM_SIZES[self.dtype]


@dataclass(frozen=True, slots=True)
class PickledTensor:
    """Where a tensor's numbers lie, or so the pickle says; offset and stride count elements."""

    storage: PickledStorage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def span(self) -> int:
        """Elements of the storage from its first to its last, those between included."""
        if 0 in self.size:
            return 0
        return 1 + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
