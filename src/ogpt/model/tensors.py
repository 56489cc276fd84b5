"""Convert between torch tensors and the framework-free arrays of ogpt.weights, without copying."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ogpt.weights.arrays import Array


def array_of(tensor: Tensor) -> Array:
    """The tensor's memory as an Array; numpy has no bfloat16, so its 16 bits become a uint16."""
    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        return Array("bfloat16", plain.view(torch.uint16).numpy())
    return Array(str(plain.dtype).removeprefix("torch."), plain.numpy())


def tensor_of(array: Array) -> Tensor:
    """A tensor that shares the array's memory; do not write to it if that is a mapped file."""
    plain = torch.from_numpy(np.asarray(array.data))
    return plain.view(torch.bfloat16) if array.dtype == "bfloat16" else plain
