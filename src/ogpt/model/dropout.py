"""Dropout as a pure function of (seed, layer, position), without a generator's state.

The same call gives the same mask again: backward recomputes it instead of storing it, and a
resumed run drops the same elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: spreads neighbouring sites and positions


def draw_seed(device: torch.device) -> Tensor:
    """A seed for one forward pass, (), int64 in 0..2**31, from torch's default CPU generator.

    torch.manual_seed before the pass therefore determines every mask in it.
    """
    return torch.randint(2**31, (), dtype=torch.int64).to(device)


def dropout(x: Tensor, p: float, seed: Tensor | None, site: int) -> Tensor:
    """Zero elements with probability p and scale the others by 1 / (1 - p).

    Args:
        x: Any shape.
        p: Probability of dropping an element, 0 <= p < 1.
        seed: As in keep_mask; None (evaluation mode) returns `x`.
        site: As in keep_mask.
    """
    if seed is None or p == 0.0:
        return x
    return torch.where(keep_mask(x.shape, p, seed, site), x * (1.0 / (1.0 - p)), 0.0)


def keep_mask(shape: torch.Size, p: float, seed: Tensor, site: int) -> Tensor:
    """The elements that survive dropout, bool: each with probability 1 - p, independently.

    Args:
        shape: Of the mask; beyond 2**32 elements the pattern repeats.
        p: Probability of dropping an element, 0 <= p < 1.
        seed: (), int64, from draw_seed.
        site: Number of the dropout layer in the model; each has its own mask.

    Source: the hash is C. Wellons' 32-bit mix of two multiplications ("lowbias32").
    """
    # A hash, not a generator: torch's CPU generators are sequential, and a GPT-1-size step took
    # 20 s with them, 12 s without dropout (docs/log.md). There is no RNG state to save either.
    # All in int32: sixteen lanes of a 512-bit register, and products wrap around.
    count = shape.numel()
    position = torch.arange(count, dtype=torch.int32, device=seed.device).view(shape)
    salt = _mix((seed + site * _GOLDEN).to(torch.int32))
    bits = _mix(position ^ salt)
    threshold = round(p * 2**32) - 2**31
    return bits >= threshold


def _mix(x: Tensor) -> Tensor:
    # >> of a negative int32 copies its sign bit; the masks clear those copies
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * 0x7FEB352D
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * (0x846CA68B - 2**32)
    return x ^ ((x >> 16) & 0xFFFF)
