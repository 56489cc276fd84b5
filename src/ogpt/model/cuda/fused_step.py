"""The kernels of a pass of rows on a CUDA device: fewer launches, each of which does more.

Imported only where there is a device, as `triton_kernels` is. The layer-norm kernel also adds the
residual and the bias. With few rows a matrix product is limited by reading the weights: our kernel
splits the inputs among programs, and the layer norm adds up their sums. With many rows cuBLAS is
faster, and adds the residual or applies the GELU as it writes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ogpt.model.cuda import triton_kernels
from ogpt.model.cuda.static_step import Kernels, StepRows, logits_of, product
from ogpt.model.cuda.static_weights import Layer, Linear, Norm, Weights
from ogpt.model.transformer import ACT_FNS

_FEW_ROWS = 16  # for float weights: the rows that one tensor core multiplies at once


def fused_kernels() -> Kernels:
    """The kernels of a pass on a CUDA device."""
    return Kernels(_embed, _into, _remember, _attend, _after_attention, _head)


def _embed(weights: Weights, rows: StepRows) -> Tensor:
    return triton_kernels.embed(rows.ids, rows.positions, weights.tokens, weights.positions)


def _remember(given: Tensor, held: Tensor, rows: StepRows) -> None:
    triton_kernels.remember(given, held, rows.slots, rows.positions)


def _attend(query: Tensor, held: Tensor, rows: StepRows) -> Tensor:
    return triton_kernels.attend_rows(query, held, rows.slots, rows.positions)


def _into(x: Tensor, layer: Linear) -> Tensor:
    if _is_few(x, layer):
        return triton_kernels.few_rows_product(x, layer, x.dtype)[0]
    return product(x, layer)


def _after_attention(x: Tensor, mixed: Tensor, layer: Layer, weights: Weights) -> Tensor:
    """The rest of a block; may overwrite x."""
    n = _sum_and_norm(x, mixed, layer.out_of, layer.norm_1, weights.epsilon)
    inner = _activated(n, layer.up, weights)
    return _sum_and_norm(n, inner, layer.down, layer.norm_2, weights.epsilon)


def _head(hidden: Tensor, head: Linear) -> Tensor:
    if head.scale is not None and _is_few(hidden, head):
        return triton_kernels.few_rows_product(hidden, head, torch.float32)[0]
    return logits_of(hidden, head)


def _is_few(x: Tensor, layer: Linear) -> bool:
    return len(x) <= (_FEW_ROWS if layer.scale is None else triton_kernels.MOST_ROWS)


def _sum_and_norm(x: Tensor, given: Tensor, layer: Linear, norm: Norm, epsilon: float) -> Tensor:
    """The norm of x plus the layer's output; may overwrite x."""
    if _is_few(given, layer):
        parts = triton_kernels.few_rows_product(given, layer, torch.float32, in_parts=True)
        return triton_kernels.add_norm(x, parts, layer.bias, norm, epsilon)
    if layer.scale is None:
        x.addmm_(given, layer.weight.t())
        return triton_kernels.add_norm(x, None, layer.bias, norm, epsilon)
    return triton_kernels.add_norm(x, product(given, layer)[None], None, norm, epsilon)


def _activated(x: Tensor, layer: Linear, weights: Weights) -> Tensor:
    is_gelu = weights.activation is ACT_FNS["gelu"]
    if _is_few(x, layer):
        inner = triton_kernels.few_rows_product(x, layer, x.dtype, gelu=is_gelu)[0]
        return inner if is_gelu else weights.activation(inner)
    if is_gelu and layer.scale is None and layer.bias is not None:
        # cuBLASLt applies the tanh approximation, which GPT-1 was trained with
        return torch._addmm_activation(layer.bias, x, layer.weight.t(), use_gelu=True)
    return weights.activation(product(x, layer))
