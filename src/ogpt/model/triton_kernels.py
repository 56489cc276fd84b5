"""The two kernels that torch has not, in Triton: attention over slots, and int8 weights.

Imported only where tensors are on a CUDA device, or under Triton's interpreter.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_ROWS = 64
"""Of `rounded_product`; for more, widening the weights first costs less."""

_PLACES = 64  # keys read at a time
_COLUMNS, _INNER = 16, 128  # of the weights that a program reads at a time


@triton.jit
def _attend(
    query,
    held,
    slots,
    positions,
    out,
    scale,
    query_stride,
    slot_stride,
    place_stride,
    value_offset,
    out_stride,
    head_dim: tl.constexpr,
    width: tl.constexpr,
    places: tl.constexpr,
):
    row, head = tl.program_id(0), tl.program_id(1)
    slot = tl.load(slots + row)
    reach = tl.load(positions + row) + 1
    dims = tl.arange(0, width)
    inside = dims < head_dim
    at = row * query_stride + head * head_dim + dims
    q = tl.load(query + at, mask=inside, other=0.0).to(tl.float32) * scale
    slot_at = held + slot * slot_stride + head * head_dim
    best = tl.full((), -float("inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    mixed = tl.zeros([width], tl.float32)
    for start in range(0, reach, places):
        place = start + tl.arange(0, places)
        seen = place < reach
        both = seen[:, None] & inside[None, :]
        keys = slot_at + place[:, None] * place_stride + dims[None, :]
        k = tl.load(keys, mask=both, other=0.0).to(tl.float32)
        v = tl.load(keys + value_offset, mask=both, other=0.0).to(tl.float32)
        scores = tl.where(seen, tl.sum(q[None, :] * k, 1), -float("inf"))
        top = tl.maximum(best, tl.max(scores, 0))
        shrink = tl.exp(best - top)
        p = tl.exp(scores - top)
        total = total * shrink + tl.sum(p, 0)
        mixed = mixed * shrink + tl.sum(p[:, None] * v, 0)
        best = top
    at = row * out_stride + head * head_dim + dims
    tl.store(out + at, (mixed / total).to(out.dtype.element_ty), mask=inside)


def attend_rows(query: Tensor, held: Tensor, slots: Tensor, positions: Tensor) -> Tensor:
    """Attention of each row (R, C) over the first `positions` + 1 places of its slot, (R, C).

    Args:
        query: (R, C), any stride between rows.
        held: (slots, P, 2, n_head, head_dim), contiguous.
        slots: (R,) int64.
        positions: (R,) int64.
    """
    R, C = query.shape
    n_head, head_dim = held.shape[3:]
    out = torch.empty(R, C, dtype=query.dtype, device=query.device)
    _attend[(R, n_head)](
        query,
        held,
        slots,
        positions,
        out,
        1 / math.sqrt(head_dim),
        query.stride(0),
        held.stride(0),
        held.stride(1),
        held.stride(2),
        C,
        head_dim=head_dim,
        width=triton.next_power_of_2(head_dim),
        places=_PLACES,
        num_warps=4,
    )
    return out


@triton.jit
def _multiply(
    x,
    weight,
    scale,
    bias,
    out,
    R,
    N,
    K,
    x_stride,
    has_bias: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
    inner: tl.constexpr,
):
    row = tl.arange(0, rows)
    column = tl.program_id(0) * columns + tl.arange(0, columns)
    total = tl.zeros([rows, columns], tl.float32)
    for start in range(0, K, inner):
        k = start + tl.arange(0, inner)
        left = (row < R)[:, None] & (k < K)[None, :]
        right = (k < K)[:, None] & (column < N)[None, :]
        a = tl.load(x + row[:, None] * x_stride + k[None, :], mask=left, other=0.0)
        b = tl.load(weight + column[None, :] * K + k[:, None], mask=right, other=0)
        total += tl.dot(a, b.to(a.dtype), input_precision="ieee")  # -127 to 127 fit in bfloat16
    total *= tl.load(scale + column, mask=column < N, other=0.0)[None, :]
    if has_bias:
        total += tl.load(bias + column, mask=column < N, other=0.0).to(tl.float32)[None, :]
    both = (row < R)[:, None] & (column < N)[None, :]
    tl.store(out + row[:, None] * N + column[None, :], total, mask=both)


def rounded_product(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """(R, in) times int8 weights (out, in), (R, out) float32; each weight is read once.

    Args:
        x: (R, in), R at most MOST_ROWS.
        weight: (out, in) int8, contiguous.
        scale: (out,) float32.
        bias: (out,).
    """
    R, K = x.shape
    N = len(weight)
    out = torch.empty(R, N, dtype=torch.float32, device=x.device)
    _multiply[(triton.cdiv(N, _COLUMNS),)](
        x,
        weight,
        scale,
        scale if bias is None else bias,
        out,
        R,
        N,
        K,
        x.stride(0),
        has_bias=bias is not None,
        rows=max(16, triton.next_power_of_2(R)),
        columns=_COLUMNS,
        inner=_INNER,
        num_warps=4,
    )
    return out
