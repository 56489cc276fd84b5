"""Scaled dot-product attention: torch's fused kernel, or ours where that leaves its fast path.

On a CPU torch's fused kernel knows no dropout and falls back to materialised (T, T) scores with a
sequential generator. Ours walks over blocks of queries, skips what lies after them, and lets the
compiler fuse mask, softmax and dropout.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt.errors import BackendMissing, ConfigError
from ogpt.model.dropout import dropout
from ogpt.model.masks import AdditiveMask, Visible, causal

ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
"""Names for attn_implementation (Hugging Face's)."""

_QUERY_BLOCK = 128


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    allowed: Tensor | None,
    pdrop: float = 0.0,
    seed: Tensor | None = None,
    site: int = 0,
) -> Tensor:
    """Mix values by softmax(query . key / sqrt(head_dim)), (B, n_head, T, head_dim).

    Args:
        query: (B, n_head, T, head_dim).
        key: (B, n_head, S, head_dim).
        value: (B, n_head, S, head_dim).
        allowed: Bool, broadcastable to (B, n_head, T, S): which keys a query may see. None: the
            keys up to its own position (causal; T == S).
        pdrop: Dropout on the probabilities, 0 <= pdrop < 1.
        seed: Of this pass (model/dropout.py); None: no dropout.
        site: Number of this dropout layer.
    """
    if seed is None or pdrop == 0.0:
        if query.shape[-2] == 1 and query.dtype == torch.bfloat16 and not query.is_cuda:
            # the CPU kernel widens bfloat16 key by key: 225 us for 288 keys, this way 60
            wide = attend(query.float(), key.float(), value.float(), allowed)
            return wide.to(query.dtype)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, is_causal=allowed is None
        )
    if query.is_cuda:
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=allowed, dropout_p=pdrop, is_causal=allowed is None
        )
    length = query.shape[-2]
    blocks = []
    for start in range(0, length, _QUERY_BLOCK):
        stop = min(start + _QUERY_BLOCK, length)
        reach = stop if allowed is None else key.shape[-2]
        if allowed is None:
            seen = causal(stop, stop, query.device)[start:]
        else:
            seen = allowed[..., start:stop, :] if allowed.shape[-2] > 1 else allowed
        probs = probabilities(query[..., start:stop, :], key[..., :reach, :], seen)
        probs = dropout(probs, pdrop, seed, site + start)  # each block its own mask
        blocks.append(probs @ value[..., :reach, :])
    return torch.cat(blocks, dim=-2)


def probabilities(query: Tensor, key: Tensor, visible: Visible) -> Tensor:
    """softmax(query . key / sqrt(head_dim)) over what is visible, (B, n_head, T, S).

    The softmax is taken in float32 or wider; under another implementation's additive mask in the
    dtype of the query, as there.
    """
    scores = query @ key.transpose(-1, -2)
    if isinstance(visible, AdditiveMask):
        scores = (scores * query.shape[-1] ** -0.5).where(visible.causal, visible.fill)
        if visible.padding is not None:
            scores = scores + visible.padding
        return F.softmax(scores, dim=-1)
    if visible is None:
        visible = causal(query.shape[-2], key.shape[-2], query.device)
    wide = scores if scores.dtype == torch.float64 else scores.float()
    wide = (wide * query.shape[-1] ** -0.5).masked_fill(~visible, float("-inf"))
    return F.softmax(wide, dim=-1).to(query.dtype)


def flash(query: Tensor, key: Tensor, value: Tensor, pdrop: float) -> Tensor:
    """Causal attention by the flash_attn package, (B, n_head, T, head_dim)."""
    from flash_attn import flash_attn_func  # type: ignore[import-not-found]  # optional, GPU only

    rows = (x.transpose(1, 2) for x in (query, key, value))  # it wants (B, T, n_head, head_dim)
    mixed: Tensor = flash_attn_func(*rows, dropout_p=pdrop, causal=True)
    return mixed.transpose(1, 2)


def best_attention() -> str:
    """flash_attention_2 where its package is installed, otherwise sdpa.

    The package serves what it knows (`can_flash`); all else goes by sdpa.
    """
    return "sdpa" if find_spec("flash_attn") is None else "flash_attention_2"


def check_attention(name: str) -> str:
    """Check the name of an attention implementation, and that its package is there.

    Raises:
        ConfigError: another name.
        BackendMissing: flash_attn is not installed.
    """
    if name not in ATTENTIONS:
        raise ConfigError(
            f"attn_implementation is {name!r}; allowed: {', '.join(ATTENTIONS)}",
            hint="sdpa uses torch's fused kernels",
        )
    if name == "flash_attention_2" and find_spec("flash_attn") is None:
        raise BackendMissing(
            "attn_implementation is 'flash_attention_2', which needs the package flash_attn",
            hint="pip install flash-attn, or leave attn_implementation at sdpa",
        )
    return name


def can_flash(name: str, query: Tensor, visible: Visible) -> bool:
    """Whether flash_attn serves: it was asked for, and it knows this dtype, device and mask."""
    narrow = query.dtype in (torch.float16, torch.bfloat16)
    return name == "flash_attention_2" and visible is None and query.is_cuda and narrow
