"""Convert between torch tensors and the framework-free arrays of ogpt.weights, without copying.

And whether the values of a tensor can be read at all.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor

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


def is_readable(x: Tensor) -> bool:
    """Whether reading the values of a tensor is possible and cheap.

    On a GPU it would wait for the device at every step. Under torch.compile and torch.export it
    would break the graph; under vmap, and for tensors without values, it is an error.
    """
    plain = type(x) is Tensor or type(x) is nn.Parameter
    on_cpu = x.device.type == "cpu"
    return plain and on_cpu and not torch.compiler.is_compiling() and not is_wrapped(x)


def is_wrapped(x: Tensor) -> bool:
    """Whether vmap or grad of torch.func holds the tensor; torch.compile cannot ask."""
    return not torch.compiler.is_compiling() and is_functorch_wrapped_tensor(x)
