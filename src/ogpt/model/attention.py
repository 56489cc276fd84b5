"""Scaled dot-product attention: which keys a query may see, and the sum of their values.

The default is torch's fused kernel (`sdpa`). On a CPU that kernel has no dropout and falls back to
(T, T) scores with a sequential generator, so training there uses our loop over blocks of queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt.errors import BackendMissing, ConfigError
from ogpt.model.cache import KVCache
from ogpt.model.dropout import dropout
from ogpt.model.tensors import is_readable

ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
"""Allowed values of attn_implementation (Hugging Face's names)."""

_QUERY_BLOCK = 128  # blocks of 128 queries skip the keys after them (docs/log.md)


# which keys a query may see


class AdditiveMask(NamedTuple):
    """The mask of another implementation (`Parity.masking`), for comparisons with it.

    Scores that the causal mask hides become `fill`, then `padding` is added to all scores. Hidden
    keys keep some weight where other scores are lower still; our boolean masks give them none.
    """

    causal: Tensor
    """(T, S), bool."""
    fill: float
    padding: Tensor | None
    """(N, 1, 1, S) or (N, 1 or n_head, T, S), float."""


Visible = Tensor | AdditiveMask | None
"""Bool (1 or N, 1 or n_head, T, S), an additive mask, or None for the causal mask alone, which
fused kernels apply without building it."""

_CAUSAL_FILL = {"transformers": -1e4, "tensorflow": -1e4, "2018": -1e9}
"""The score that other implementations give to later tokens."""


def causal(T: int, S: int, device: torch.device) -> Tensor:
    """The causal mask, (T, S), bool: the last query sees all keys, each earlier one a key less."""
    return torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)


def visible(
    mask: Tensor | None, T: int, cache: KVCache | None, hidden: Tensor, masking: str
) -> Visible:
    """Combine the caller's mask with the causal one.

    Args:
        mask: (N, S), (N, T, S) or (N, n_head, T, S), bool; S counts cached tokens too.
        T: Number of new tokens.
        cache: Keys and values of earlier tokens, if any.
        hidden: Gives the dtype and device to compute in.
        masking: `Parity.masking`.
    """
    device = hidden.device
    # Tokenizers return a mask of ones with every batch. Without it the fused kernel needs no mask.
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
    # A query without a visible key, as padding on the left is, would be 0 / 0 in the softmax. It
    # sees itself instead, so that every row is finite in every dtype.
    columns = torch.arange(T, device=device)[None] if cache is None else cache.positions(T)
    itself = (columns[..., None] == torch.arange(S, device=device))[:, None]
    return both | (itself & ~both.any(-1, keepdim=True))


def _all_kept(mask: Tensor) -> bool:
    """Whether a mask hides nothing, where reading it neither waits for a GPU nor breaks a graph."""
    return is_readable(mask) and bool(mask.all().item())


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


def select_heads(seen: Visible, heads: Sequence[int]) -> Visible:
    """The part of a mask that these heads use; a mask with one head is for all of them.

    Args:
        seen: Of the whole model, whose masks count pruned heads too.
        heads: The heads that are left in a layer.
    """
    mask = seen.padding if isinstance(seen, AdditiveMask) else seen
    if mask is None or mask.shape[1] <= len(heads):
        return seen
    left = mask[:, list(heads)]
    return seen._replace(padding=left) if isinstance(seen, AdditiveMask) else left


# attention over those keys


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allowed: Tensor | None,
    pdrop: float = 0.0,
    seed: Tensor | None = None,
    site: int = 0,
) -> Tensor:
    """softmax(query . key / sqrt(head_dim)) . value, (B, n_head, T, head_dim).

    Args:
        query: (B, n_head, T, head_dim).
        key: (B, n_head, S, head_dim).
        value: (B, n_head, S, head_dim).
        allowed: Bool, broadcastable to (B, n_head, T, S): the keys that a query may see. None: the
            keys up to its own position (causal; T == S).
        pdrop: Dropout of the probabilities, 0 <= pdrop < 1.
        seed: Of the forward pass, from dropout.draw_seed; None: no dropout.
        site: Number of this dropout layer; each block of queries counts one more.
    """
    if seed is None or pdrop == 0.0:
        if query.shape[-2] == 1 and query.dtype == torch.bfloat16 and not query.is_cuda:
            # the CPU kernel widens bfloat16 key by key: 225 us for 288 keys, this way 60 us
            wide = attend(query.float(), key.float(), value.float(), allowed)
            return wide.to(query.dtype)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, is_causal=allowed is None
        )
    if query.is_cuda:  # there the fused kernels have dropout
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, dropout_p=pdrop, is_causal=allowed is None
        )
    # Only one block of scores is in memory, and torch.compile fuses its mask, softmax and dropout.
    length, start = query.shape[-2], 0
    blocks = []
    # range and min would compile one length; comparisons compile all with as many blocks
    while start < length:
        stop = start + _QUERY_BLOCK if start + _QUERY_BLOCK < length else length
        reach = stop if allowed is None else key.shape[-2]
        if allowed is None:
            seen = causal(stop, stop, query.device)[start:]
        else:
            seen = allowed[..., start:stop, :] if allowed.shape[-2] > 1 else allowed
        probs = probabilities(query[..., start:stop, :], key[..., :reach, :], seen)
        probs = dropout(probs, pdrop, seed, site + start)
        blocks.append(probs @ value[..., :reach, :])
        start += _QUERY_BLOCK
    return torch.cat(blocks, dim=-2)


def probabilities(query: Tensor, key: Tensor, visible: Visible) -> Tensor:
    """softmax(query . key / sqrt(head_dim)) over the visible keys, (B, n_head, T, S).

    The softmax is computed in float32 or wider; with an additive mask in the dtype of the query, as
    the other implementations do.
    """
    # The dot product of head_dim independent pairs of unit variance has a standard deviation of
    # sqrt(head_dim). Unscaled, the softmax of a wide head would saturate, and its gradient vanish.
    scores = query @ key.transpose(-1, -2)
    if isinstance(visible, AdditiveMask):
        scores = (scores * query.shape[-1] ** -0.5).where(visible.causal, visible.fill)
        if visible.padding is not None:
            scores = scores + visible.padding
        return F.softmax(scores, dim=-1)
    if visible is None:
        visible = causal(query.shape[-2], key.shape[-2], query.device)
    # half precision has 8 or 11 bits: not enough for a sum over hundreds of keys
    wide = scores if scores.dtype == torch.float64 else scores.float()
    wide = (wide * query.shape[-1] ** -0.5).masked_fill(~visible, float("-inf"))
    return F.softmax(wide, dim=-1).to(query.dtype)


def flash(query: Tensor, key: Tensor, value: Tensor, pdrop: float) -> Tensor:
    """Causal attention by the flash_attn package, (B, n_head, T, head_dim)."""
    from flash_attn import flash_attn_func  # type: ignore[import-not-found]  # optional, GPU only

    # (B, n_head, T, head_dim) -> (B, T, n_head, head_dim), and back
    rows = (x.transpose(1, 2) for x in (query, key, value))
    mixed: Tensor = flash_attn_func(*rows, dropout_p=pdrop, causal=True)
    return mixed.transpose(1, 2)


# the choice of an implementation


def can_flash(name: str, query: Tensor, visible: Visible) -> bool:
    """Whether flash_attn was asked for and supports this dtype, device and mask."""
    narrow = query.dtype in (torch.float16, torch.bfloat16)
    return name == "flash_attention_2" and visible is None and query.is_cuda and narrow


def best_attention() -> str:
    """flash_attention_2 if its package is installed, otherwise sdpa.

    Calls that the package does not support (`can_flash`) use sdpa.
    """
    return "sdpa" if find_spec("flash_attn") is None else "flash_attention_2"


def check_attention(name: str) -> str:
    """Check the name of an attention implementation, and that its package is installed.

    Raises:
        ConfigError: the name is not in ATTENTIONS.
        BackendMissing: flash_attn is not installed.
    """
    if name not in ATTENTIONS:
        raise ConfigError(
            f"attn_implementation is {name!r}; allowed: {', '.join(ATTENTIONS)}",
            hint="use sdpa for torch's fused kernels",
        )
    if name == "flash_attention_2" and find_spec("flash_attn") is None:
        raise BackendMissing(
            "attn_implementation is 'flash_attention_2', which needs the package flash_attn",
            hint="pip install flash-attn, or leave attn_implementation at sdpa",
        )
    return name
