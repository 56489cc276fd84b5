"""Scaled dot-product attention: torch's fused kernel, or ours where that leaves its fast path.

On a CPU torch's fused kernel knows no dropout and falls back to materialised (T, T) scores with a
sequential generator. Ours walks over blocks of queries, skips what lies after them, and lets the
compiler fuse mask, softmax and dropout.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt.model.dropout import dropout

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
            seen = causal(query[..., :stop, :], key[..., :stop, :])[start:]
        else:
            seen = allowed[..., start:stop, :] if allowed.shape[-2] > 1 else allowed
        probs = probabilities(query[..., start:stop, :], key[..., :reach, :], seen)
        probs = dropout(probs, pdrop, seed, site + start)  # each block its own mask
        blocks.append(probs @ value[..., :reach, :])
    return torch.cat(blocks, dim=-2)


def probabilities(query: Tensor, key: Tensor, allowed: Tensor) -> Tensor:
    """softmax(query . key / sqrt(head_dim)) over the allowed keys, (B, n_head, T, S)."""
    scores = query @ key.transpose(-1, -2)
    scores = scores.float() * query.shape[-1] ** -0.5
    scores = scores.masked_fill(~allowed, float("-inf"))
    return F.softmax(scores, dim=-1).to(query.dtype)


def causal(query: Tensor, key: Tensor) -> Tensor:
    """The causal mask, (T, S), bool: the last query sees all keys, each one before it one less."""
    T, S = query.shape[-2], key.shape[-2]
    return torch.ones(T, S, dtype=torch.bool, device=query.device).tril(S - T)
