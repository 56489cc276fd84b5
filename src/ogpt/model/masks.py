"""Who sees whom: the caller's mask and the causal one as one, and positions that follow a mask.

Ours is boolean: what is hidden has no weight at all, and a query that may see nothing sees itself,
so that every row is defined and finite in every dtype. The additive masks of other implementations
(their large negative numbers leak where scores are larger still) are there for parity only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ogpt.config.parity import Parity
from ogpt.errors import ConfigError
from ogpt.model.cache import KVCache

_CAUSAL_FILL = {"transformers": -1e4, "tensorflow": -1e4, "2018": -1e9}
"""What the other implementations put in place of the scores of later tokens."""


class AdditiveMask(NamedTuple):
    """Scores after the causal mask are replaced by `fill`; then `padding` is added to all."""

    causal: Tensor
    """(T, S), bool."""
    fill: float
    padding: Tensor | None
    """(N, 1, 1, S) or (N, 1 or n_head, T, S), float."""


Visible = Tensor | AdditiveMask | None
"""Bool (1 or N, 1 or n_head, T, S), another's additive mask, or None: plainly causal."""


def causal(T: int, S: int, device: torch.device) -> Tensor:
    """The causal mask, (T, S), bool: the last query sees all keys, each one before it one less."""
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)


def visible(
    mask: Tensor | None, T: int, cache: KVCache | None, hidden: Tensor, masking: str
) -> Visible:
    """The caller's mask and the causal one as one.

    Args:
        mask: (N, S), (N, T, S) or (N, n_head, T, S), bool; S counts cached positions, too.
        T: New positions.
        cache: What is held already.
        hidden: Of the dtype and device to compute in.
        masking: `Parity.masking`.
    """
    device = hidden.device
    if mask is not None and masking == "boolean" and _all_kept(mask):
        mask = None
    allowed = None if cache is None else cache.allowed(T)
    if masking == "boolean" and mask is None:
        return allowed
    S = T if cache is None else max(cache.starts()) + T
    if allowed is None:
        allowed = causal(T, S, device)
    seen = None if mask is None else _four_axes(mask.to(device))
    if masking != "boolean":
        return _additive(allowed, seen, masking, hidden.dtype)
    assert seen is not None  # a boolean mask of ones was dropped above
    both = allowed & seen
    places = torch.arange(T, device=device)[None] if cache is None else cache.positions(T)
    itself = (places[..., None] == torch.arange(S, device=device))[:, None]
    return both | (itself & ~both.any(-1, keepdim=True))


def of_heads(seen: Visible, heads: Sequence[int]) -> Visible:
    """What these heads see: a mask for each head of the whole model, less the pruned ones."""
    mask = seen.padding if isinstance(seen, AdditiveMask) else seen
    if mask is None or mask.shape[1] <= len(heads):
        return seen
    left = mask[:, list(heads)]
    return seen._replace(padding=left) if isinstance(seen, AdditiveMask) else left


def check_mask(mask: Tensor, N: int, T: int, S: int, n_head: int) -> Tensor:
    """A mask of N rows as bool, its shape checked.

    Raises:
        ConfigError: another shape, or numbers that are neither 0 nor 1 (CPU tensors, outside
            compile and export), such as the additive masks of other libraries.
    """
    shape = tuple(mask.shape)
    if mask.ndim == 2:  # no other comparison then, which export would make a guard
        fits = shape == (N, S)
    else:
        square = shape[-2:] == (T, S) and shape[0] in (1, N)
        fits = square and (mask.ndim == 3 or (mask.ndim == 4 and shape[1] in (1, n_head)))
    if not fits:
        raise ConfigError(
            f"attention_mask has the shape {shape}; allowed: {(N, S)}, {(N, T, S)} "
            f"or {(N, n_head, T, S)}",
            hint="give one value for each token, those in the cache included",
        )
    kept = mask != 0
    watched = mask.device.type == "cpu" and not torch.compiler.is_compiling()
    if watched and mask.dtype != torch.bool and not torch.equal(kept.to(mask.dtype), mask):
        odd = mask[(mask != 0) & (mask != 1)].flatten()[0].item()
        raise ConfigError(
            f"attention_mask holds {odd}; allowed: 1 for what may be seen, 0 for what may not",
            hint="an additive mask becomes one of ours by `mask == 0`",
        )
    return kept


def positions_of(mask: Tensor, places: Tensor | None) -> Tensor:
    """Positions that count kept tokens only, (N, T), for a mask (N, S): padding takes none.

    Args:
        mask: (N, S); S counts cached tokens, too.
        places: As of pick.
    """
    return pick((mask.long().cumsum(-1) - 1).clamp(min=0), places)


def pick(x: Tensor, places: Tensor | None) -> Tensor:
    """The values (N, T) at `places` (N or 1, T) of (N, S); None: all."""
    return x if places is None else x.gather(-1, places.expand(len(x), -1))


def follows_mask(parity: Parity, mask: Tensor | None) -> bool:
    """Whether positions are counted by the mask: where it says which tokens are padding."""
    return parity.positions == "mask" and mask is not None and mask.ndim == 2


def _all_kept(mask: Tensor) -> bool:
    """Whether a mask hides nothing; not asked where the answer would stop the device."""
    return (
        mask.device.type == "cpu" and not torch.compiler.is_compiling() and bool(mask.all().item())
    )


def _four_axes(mask: Tensor) -> Tensor:
    if mask.ndim == 2:  # (N, S) -> (N, 1, 1, S)
        return mask[:, None, None, :]
    return mask[:, None] if mask.ndim == 3 else mask  # (N, T, S) -> (N, 1, T, S)


def _additive(
    allowed: Tensor, seen: Tensor | None, masking: str, dtype: torch.dtype
) -> AdditiveMask:
    smallest = torch.finfo(dtype).min  # float16 has no -1e9
    fill = max(_CAUSAL_FILL[masking], smallest)
    least = smallest if masking == "transformers" else fill
    padding = None if seen is None else (~seen).to(dtype) * least
    return AdditiveMask(allowed, fill, padding)
