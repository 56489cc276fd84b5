"""Dropout as a pure function of (seed, site, position): no generator state to save or to lose.

torch's generators are sequential on a CPU and cost more than the matrix products of a training
step; a hash of the position costs a few vector instructions, is the same in the backward pass
without a stored mask, and makes a resumed run draw the same masks.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: spreads neighbouring sites and positions


def draw_seed(device: torch.device) -> Tensor:
    """A seed for one forward pass, (), int64 in 0..2**31, from torch's default CPU generator.

    torch.manual_seed before the pass therefore decides every mask in it.
    """
    return torch.randint(2**31, (), dtype=torch.int64).to(device)


def keep_mask(shape: torch.Size, p: float, seed: Tensor, site: int) -> Tensor:
    """Which elements of `shape` survive, bool: each with probability 1 - p, independently.

    Args:
        shape: Shape to draw for; at most 2**32 elements differ from one another.
        p: Probability of dropping, 0 <= p < 1.
        seed: (), int64, from draw_seed.
        site: Number of the dropout layer in the model; each draws its own mask.

    Source: the finalizer is the 32-bit mix of two multiplications by C. Wellons ("lowbias32").
    """
    count = shape.numel()
    # int32 throughout: sixteen lanes of a 512-bit register, and products wrap around
    position = torch.arange(count, dtype=torch.int32, device=seed.device).view(shape)
    salt = _mix((seed + site * _GOLDEN).to(torch.int32))
    bits = _mix(position ^ salt)
    threshold = round(p * 2**32) - 2**31
    return bits >= threshold


def dropout(x: Tensor, p: float, seed: Tensor | None, site: int) -> Tensor:
    """Zero elements with probability p and scale the rest by 1 / (1 - p); seed None: identity."""
    if seed is None or p == 0.0:
        return x
    return torch.where(keep_mask(x.shape, p, seed, site), x * (1.0 / (1.0 - p)), 0.0)


def _mix(x: Tensor) -> Tensor:
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * (0x846CA68B - 2**32)
    return x ^ ((x >> 16) & 0xFFFF)
