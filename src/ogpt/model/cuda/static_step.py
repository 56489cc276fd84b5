"""One pass of GPT-1 over packed weights and a static cache: pure functions of tensors.

R rows, each one token of some slot; C channels, V vocabulary, P positions of the model. Every shape
is fixed by the number of rows, and where a row writes and how far it sees are tensors, so that
a pass can be captured once and replayed. On a CPU the same functions run with torch's operators.
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
    """The functions that a pass of rows consists of. A device may have its own."""

    embed: Callable[[Weights, StepRows], Tensor]
    into: Callable[[Tensor, Linear], Tensor]
    remember: Callable[[Tensor, Tensor, StepRows], None]
    attend: Callable[[Tensor, Tensor, StepRows], Tensor]
    after: Callable[[Tensor, Tensor, Layer, Weights], Tensor]
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

    Each block writes the rows' keys and values before it attends, so that rows of one slot at
    successive positions see each other: a prompt can be read like this too.

    Args:
        weights: Of the model.
        cache: (n_layer, slots, P, 2, n_head, head_dim).
        rows: What the rows are; no two are the same position of a slot that is read later.
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
    """Last hidden states (T, C) of ids (T,) that follow `start` tokens of the slot.

    Attention is torch's fused kernel; nothing is captured, as every length is another shape.
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
    """What the rows begin with, (R, C)."""
    return weights.tokens[rows.ids] + weights.positions[rows.positions]


def remember_rows(given: Tensor, held: Tensor, rows: StepRows) -> None:
    """Write each row's key and value (R, 2 C) to its place in its slot."""
    places = rows.slots * held.shape[1] + rows.positions
    held.view(-1, given.shape[1]).index_copy_(0, places, given)


def attend_rows(query: Tensor, held: Tensor, rows: StepRows) -> Tensor:
    """Mix what each row's slot holds up to the row's own position, (R, C) -> (R, C).

    All P positions are read, and those beyond are left out.
    """
    R, _, n_head, head_dim = len(query), *held.shape[2:]
    key, value = held[rows.slots].float().unbind(2)  # (R, P, n_head, head_dim)
    beyond = torch.arange(held.shape[1], device=query.device) > rows.positions[:, None]
    wide = query.float().view(R, n_head, head_dim) / math.sqrt(head_dim)
    scores = torch.einsum("rhd,rphd->rhp", wide, key)
    probs = scores.masked_fill(beyond[:, None], -math.inf).softmax(-1)
    value = value.masked_fill(beyond[..., None, None], 0.0)  # or what is left there may be NaN
    return torch.einsum("rhp,rphd->rhd", probs, value).reshape(R, -1).to(query.dtype)


def after_attention(x: Tensor, mixed: Tensor, layer: Layer, weights: Weights) -> Tensor:
    """The rest of a block: the norm comes after each sum (post-norm)."""
    C, epsilon = x.shape[1:], weights.epsilon
    n = F.layer_norm(x + product(mixed, layer.out_of), C, *layer.norm_1, epsilon)
    inner = weights.activation(product(n, layer.up))
    return F.layer_norm(n + product(inner, layer.down), C, *layer.norm_2, epsilon)


def product(x: Tensor, layer: Linear) -> Tensor:
    """The linear layer's (N, in) -> (N, out)."""
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
