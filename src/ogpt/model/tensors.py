"""Between torch tensors and framework-free arrays, without copying."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ogpt.weights.arrays import Array


def array_of(tensor: Tensor) -> Array:
    """The tensor's memory as an Array; bfloat16 travels as its 16 bits."""
    plain = tensor.detach().cpu().contiguous()
    if plain.dtype == torch.bfloat16:
        return Array("bfloat16", plain.view(torch.uint16).numpy())
    return Array(str(plain.dtype).removeprefix("torch."), plain.numpy())


def tensor_of(array: Array) -> Tensor:
    """A tensor over the array's memory, which must not be written to when it is a file's."""
    plain = torch.from_numpy(np.asarray(array.data))
    return plain.view(torch.bfloat16) if array.dtype == "bfloat16" else plain
