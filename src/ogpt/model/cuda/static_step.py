"""One pass of GPT-1 over packed weights and a static KV cache: pure functions of tensors.

A pass has R rows, each one token of some slot. Shapes depend on R only; the slot and the position
of a row are tensors. So a pass can be captured once as a CUDA graph, and replayed for any slots. On
a CPU the same functions run with torch's operators. C: channels, V: vocabulary, P: n_positions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right

from ogpt.model.cuda.static_weights import Layer, Linear, Weights


class StepRows(NamedTuple):
    """The token, slot and position of each row; all (R,) int64."""

    ids: Tensor
    slots: Tensor
    positions: Tensor


class Kernels(NamedTuple):
    """The functions of a pass of rows, in the order of their use. A device may have its own."""

    embed: Callable[[Weights, StepRows], Tensor]
    """Token and position embeddings."""
    into: Callable[[Tensor, Linear], Tensor]
    """Queries, keys and values."""
    remember: Callable[[Tensor, Tensor, StepRows], None]
    """Writes keys and values to the cache."""
    attend: Callable[[Tensor, Tensor, StepRows], Tensor]
    after: Callable[[Tensor, Tensor, Layer, Weights], Tensor]
    """The rest of a block: output projection, MLP and both norms."""
    head: Callable[[Tensor, Linear], Tensor]


def torch_kernels() -> Kernels:
    """Functions made of torch's operators, for any device."""
    return Kernels(embed_rows, product, remember_rows, attend_rows, after_attention, logits_of)


def new_cache(weights: Weights, slots: int) -> Tensor:
    """Keys and values of all layers, (n_layer, slots, P, 2, n_head, head_dim)."""
    P, C = weights.positions.shape
    shape = (len(weights.layers), slots, P, 2, weights.n_head, C // weights.n_head)
    return torch.zeros(shape, dtype=weights.tokens.dtype, device=weights.tokens.device)


def pass_of_rows(
    weights: Weights, cache: Tensor, rows: StepRows, kernels: Kernels | None = None
) -> Tensor:
    """Last hidden states (R, C) of the rows.

    Each block writes the keys and values of all rows before it attends. Rows of one slot at
    successive positions therefore see each other, and a prompt can be processed like this too.

    Args:
        weights: Of the model.
        cache: (n_layer, slots, P, 2, n_head, head_dim), written to.
        rows: No two rows may have the same slot and position, except in the slot of unused rows.
        kernels: Functions for the device; None: `torch_kernels`.
    """
    use = kernels or torch_kernels()
    x = use.embed(weights, rows)
    C = x.shape[1]
    for layer, held in zip(weights.layers, cache, strict=True):
        mixed = use.into(x, layer.into)  # (R, 3 C)
        use.remember(mixed[:, C:], held, rows)
        x = use.after(x, use.attend(mixed[:, :C], held, rows), layer, weights)
    return x


def pass_of_prompt(weights: Weights, cache: Tensor, slot: int, start: int, ids: Tensor) -> Tensor:
    """Last hidden states (T, C) of ids (T,) that follow the first `start` tokens of the slot.

    Uses torch's fused attention kernel. Nothing is captured, because every length is another shape.
    """
    T, C = len(ids), weights.tokens.shape[1]
    n_head, reach = weights.n_head, start + T
    x = weights.tokens[ids] + weights.positions[start:reach]
    causal = causal_lower_right(T, reach)
    for layer, held in zip(weights.layers, cache, strict=True):
        parts = product(x, layer.into)
        row = held[slot, :reach]
        row[start:] = parts[:, C:].view(T, 2, n_head, -1)
        # (reach, 2, n_head, head_dim) -> 2 of (1, n_head, reach, head_dim)
        key, value = row.permute(1, 2, 0, 3)[:, None]
        query = parts[:, :C].view(1, T, n_head, -1).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=causal)
        x = after_attention(x, mixed[0].transpose(0, 1).reshape(T, C), layer, weights)
    return x


def embed_rows(weights: Weights, rows: StepRows) -> Tensor:
    """The sum of token and position embeddings, (R, C)."""
    return weights.tokens[rows.ids] + weights.positions[rows.positions]


def remember_rows(given: Tensor, held: Tensor, rows: StepRows) -> None:
    """Write the key and value of each row, (R, 2 C), to its position in the cache."""
    places = rows.slots * held.shape[1] + rows.positions
    held.view(-1, given.shape[1]).index_copy_(0, places, given)


def attend_rows(query: Tensor, held: Tensor, rows: StepRows) -> Tensor:
    """Attention of each row over its slot, up to the row's own position, (R, C) -> (R, C).

    Shapes are static, so the scores of all P positions are computed, and later ones are masked.
    """
    R, _, n_head, head_dim = len(query), *held.shape[2:]
    key, value = held[rows.slots].float().unbind(2)  # (R, P, n_head, head_dim)
    beyond = torch.arange(held.shape[1], device=query.device) > rows.positions[:, None]
    wide = query.float().view(R, n_head, head_dim) / math.sqrt(head_dim)
    scores = torch.einsum("rhd,rphd->rhp", wide, key)
    probs = scores.masked_fill(beyond[:, None], -math.inf).softmax(-1)
    # Stale values of later positions may be NaN, and a probability of 0 times NaN is NaN.
    value = value.masked_fill(beyond[..., None, None], 0.0)
    return torch.einsum("rhp,rphd->rhd", probs, value).reshape(R, -1).to(query.dtype)


def after_attention(x: Tensor, mixed: Tensor, layer: Layer, weights: Weights) -> Tensor:
    """The rest of a block. Post-norm, as in the 2018 code (train.py, block())."""
    C, epsilon = x.shape[1:], weights.epsilon
    n = F.layer_norm(x + product(mixed, layer.out_of), C, *layer.norm_1, epsilon)
    inner = weights.activation(product(n, layer.up))
    return F.layer_norm(n + product(inner, layer.down), C, *layer.norm_2, epsilon)


def product(x: Tensor, layer: Linear) -> Tensor:
    """A linear layer, (N, in) -> (N, out)."""
    if layer.scale is None:
        return F.linear(x, layer.weight, layer.bias)
    return _int8_product(x, layer, layer.scale).to(x.dtype)


def logits_of(hidden: Tensor, head: Linear) -> Tensor:
    """(N, C) -> (N, V), float32: rounding logits to bfloat16 would make many of them equal."""
    if head.scale is not None:
        return _int8_product(hidden, head, head.scale)
    if hidden.is_cuda and hidden.dtype == torch.bfloat16:
        wide: Tensor = torch.mm(hidden, head.weight.t(), out_dtype=torch.float32)
        return wide
    return F.linear(hidden, head.weight).float()


def _int8_product(x: Tensor, layer: Linear, scale: Tensor) -> Tensor:
    """As `product`, (N, out) float32."""
    found = F.linear(x, layer.weight.to(x.dtype)).float() * scale
    return found if layer.bias is None else found + layer.bias.float()
