"""A named array's value: what every weights file becomes, numpy only."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray


class Array(NamedTuple):
    """An array and the name of its dtype; numpy has no bfloat16, whose bits stand in uint16."""

    dtype: str
    data: NDArray[Any]
