"""Triton kernels that torch lacks: each does the work of several, so that a step has few launches.

Imported only where tensors are on a CUDA device, or under Triton's interpreter. The block sizes are
the fastest of those measured on an H200 at GPT-1's shape (docs/log.md).
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from ogpt.model.cuda.static_weights import Linear, Norm

MOST_ROWS = 64
"""Most rows of `few_rows_product`. With more rows cuBLAS is faster."""

# From this number of rows on, attention fills the GPU: smaller blocks keep more programs in flight.
_MANY_ROWS = 64
_COLUMNS, _ROW_COLUMNS = 16, 8  # outputs of one program, for several rows and for one
_INNER = 256  # inputs that a program loads at a time; half of it above _CORE_ROWS rows
_CORE_ROWS = 16  # minimum rows of tl.dot, which runs on a tensor core
_MOST_PARTS = 4  # parts of the inputs: a product of few outputs has too few programs otherwise
_LOGITS = 2048  # logits of one program in `summarize`


@triton.jit
def _embed(ids, positions, tokens, places, out, C, width: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, width)
    inside = at < C
    token = tl.load(tokens + tl.load(ids + row) * C + at, mask=inside, other=0.0)
    place = tl.load(places + tl.load(positions + row) * C + at, mask=inside, other=0.0)
    total = token.to(tl.float32) + place.to(tl.float32)
    tl.store(out + row * C + at, total.to(out.dtype.element_ty), mask=inside)


def embed(ids: Tensor, positions: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
    """The sum of token and position embedding for each row, (R, C).

    Args:
        ids: (R,) int64.
        positions: (R,) int64.
        tokens: (V, C), contiguous.
        places: (n_positions, C), contiguous.
    """
    R, C = len(ids), tokens.shape[1]
    out = torch.empty(R, C, dtype=tokens.dtype, device=tokens.device)
    width = triton.next_power_of_2(C)
    _embed[(R,)](ids, positions, tokens, places, out, C, width=width, num_warps=4)
    return out


@triton.jit
def _remember(given, held, slots, positions, size, given_stride, slot_stride, width: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, width)
    inside = at < size
    to = tl.load(slots + row) * slot_stride + tl.load(positions + row) * size
    both = tl.load(given + row * given_stride + at, mask=inside)
    tl.store(held + to + at, both, mask=inside)


def remember(given: Tensor, held: Tensor, slots: Tensor, positions: Tensor) -> None:
    """Write the key and value of each row to its position in the KV cache.

    Args:
        given: (R, 2 C), any stride between rows.
        held: (slots, P, 2, n_head, head_dim), contiguous.
        slots: (R,) int64.
        positions: (R,) int64.
    """
    R, size = given.shape
    width = triton.next_power_of_2(size)
    strides = given.stride(0), held.stride(0)
    _remember[(R,)](given, held, slots, positions, size, *strides, width=width, num_warps=4)


@triton.jit
def _attend(
    query, held, slots, positions, out, scale, query_stride, slot_stride, place_stride,
    value_offset, out_stride, head_dim: tl.constexpr, width: tl.constexpr, places: tl.constexpr,
    stages: tl.constexpr,
):  # fmt: skip
    # Heads are the fastest dimension of the grid, because they are adjacent in memory.
    head, row = tl.program_id(0), tl.program_id(1)
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
    for start in tl.range(0, reach, places, num_stages=stages):
        place = start + tl.arange(0, places)
        seen = place < reach
        both = seen[:, None]
        if head_dim < width:  # a mask of only True values would cost 10 % of the time
            both = both & inside[None, :]
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
    """Attention of each row over the first `positions` + 1 tokens of its slot, (R, C) -> (R, C).

    Args:
        query: (R, C), any stride between rows.
        held: (slots, P, 2, n_head, head_dim), contiguous.
        slots: (R,) int64.
        positions: (R,) int64.
    """
    R, C = query.shape
    n_head, head_dim = held.shape[3:]
    out = torch.empty(R, C, dtype=query.dtype, device=query.device)
    places, warps, stages = (32, 2, 2) if R >= _MANY_ROWS else (128, 4, 1)
    _attend[(n_head, R)](
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
        places=places,
        stages=stages,
        num_warps=warps,
    )
    return out


@triton.jit
def _multiply(
    x, weight, scale, bias, out, R, N, K, part, x_stride, has_scale: tl.constexpr,
    has_bias: tl.constexpr, has_gelu: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
    inner: tl.constexpr,
):  # fmt: skip
    row = tl.arange(0, rows)
    column = tl.program_id(0) * columns + tl.arange(0, columns)
    first = tl.program_id(1) * part  # a multiple of `inner`
    total = tl.zeros([rows, columns], tl.float32)
    for start in range(first, first + part, inner):
        k = start + tl.arange(0, inner)
        left = (row < R)[:, None] & (k < K)[None, :]
        right = (k < K)[:, None] & (column < N)[None, :]
        a = tl.load(x + row[:, None] * x_stride + k[None, :], mask=left, other=0.0)
        b = tl.load(weight + column[None, :] * K + k[:, None], mask=right, other=0)
        # bfloat16 holds the int8 weights -127 to 127 exactly
        total += tl.dot(a, b.to(a.dtype), input_precision="ieee")
    if has_scale:
        total *= tl.load(scale + column, mask=column < N, other=0.0)[None, :]
    if has_bias:
        total += tl.load(bias + column, mask=column < N, other=0.0).to(tl.float32)[None, :]
    if has_gelu:  # tanh approximation: 0.5 (1 + tanh u) = sigmoid(2 u)
        total *= tl.sigmoid(1.5957691216057308 * (total + 0.044715 * total * total * total))
    both = (row < R)[:, None] & (column < N)[None, :]
    at = (tl.program_id(1) * R + row[:, None]) * N + column[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=both)


@triton.jit
def _multiply_row(
    x, weight, scale, bias, out, N, K, has_scale: tl.constexpr, has_bias: tl.constexpr,
    has_gelu: tl.constexpr, steps: tl.constexpr, columns: tl.constexpr, inner: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * columns + tl.arange(0, columns)
    inside = column < N
    total = tl.zeros([columns], tl.float32)
    for step in tl.static_range(steps):  # unrolled: all loads are in flight at the same time
        k = (tl.program_id(1) * steps + step) * inner + tl.arange(0, inner)
        both = inside[:, None] & (k < K)[None, :]
        a = tl.load(x + k, mask=k < K, other=0.0).to(tl.float32)
        b = tl.load(weight + column[:, None] * K + k[None, :], mask=both, other=0).to(tl.float32)
        total += tl.sum(a[None, :] * b, 1)
    if has_scale:
        total *= tl.load(scale + column, mask=inside, other=0.0)
    if has_bias:
        total += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    if has_gelu:
        total *= tl.sigmoid(1.5957691216057308 * (total + 0.044715 * total * total * total))
    at = tl.program_id(1) * N + column
    tl.store(out + at, total.to(out.dtype.element_ty), mask=inside)


def few_rows_product(
    x: Tensor, layer: Linear, dtype: torch.dtype, *, gelu: bool = False, in_parts: bool = False
) -> Tensor:
    """A linear layer that reads each weight once: (R, in) -> (parts, R, out).

    Args:
        x: (R, in), R at most MOST_ROWS.
        layer: Its weights are contiguous, in the dtype of x or int8.
        dtype: Of the result.
        gelu: Apply GPT-1's GELU, the tanh approximation.
        in_parts: Split the inputs among programs, because the outputs alone are too few programs
            to fill a GPU. Returns partial sums without the bias, for `add_norm`. Otherwise there
            is one part.
    """
    R, K = x.shape
    N = len(layer.weight)
    inner = _INNER if R <= _CORE_ROWS else _INNER // 2
    parts = min(triton.cdiv(K, inner), _MOST_PARTS) if in_parts else 1
    part = triton.cdiv(triton.cdiv(K, parts), inner) * inner
    parts = triton.cdiv(K, part)
    out = torch.empty(parts, R, N, dtype=dtype, device=x.device)
    has_bias = layer.bias is not None and not in_parts
    given = (
        x,
        layer.weight,
        x if layer.scale is None else layer.scale,  # not read: a kernel takes no None
        layer.bias if has_bias else x,
        out,
    )
    constants = {
        "has_scale": layer.scale is not None,
        "has_bias": has_bias,
        "has_gelu": gelu,
        "inner": inner,
        "num_warps": 4,
    }
    if R == 1:
        grid = (triton.cdiv(N, _ROW_COLUMNS), parts)
        _multiply_row[grid](*given, N, K, steps=part // inner, columns=_ROW_COLUMNS, **constants)
    else:
        rows = max(_CORE_ROWS, triton.next_power_of_2(R))
        grid = (triton.cdiv(N, _COLUMNS), parts)
        _multiply[grid](
            *given, R, N, K, part, x.stride(0), rows=rows, columns=_COLUMNS, **constants
        )
    return out


@triton.jit
def _add_norm(
    x, parts, bias, gain, shift, out, epsilon, R, C, n_parts: tl.constexpr, has_bias: tl.constexpr,
    width: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    at = tl.arange(0, width)
    inside = at < C
    total = tl.load(x + row * C + at, mask=inside, other=0.0).to(tl.float32)
    for part in tl.static_range(n_parts):
        total += tl.load(parts + (part * R + row) * C + at, mask=inside, other=0.0).to(tl.float32)
    if has_bias:
        total += tl.load(bias + at, mask=inside, other=0.0).to(tl.float32)
    centred = tl.where(inside, total - tl.sum(total, 0) / C, 0.0)
    normed = centred * tl.rsqrt(tl.sum(centred * centred, 0) / C + epsilon)
    gained = normed * tl.load(gain + at, mask=inside, other=0.0).to(tl.float32)
    shifted = gained + tl.load(shift + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row * C + at, shifted.to(out.dtype.element_ty), mask=inside)


def add_norm(
    x: Tensor, parts: Tensor | None, bias: Tensor | None, norm: Norm, epsilon: float
) -> Tensor:
    """Layer norm of x + parts + bias, summed in float32, (R, C).

    Args:
        x: (R, C), contiguous.
        parts: (parts, R, C), contiguous, from `few_rows_product`. None adds nothing.
        bias: (C,). None adds nothing.
        norm: Gain and shift, (C,) each.
        epsilon: Added to the variance.
    """
    R, C = x.shape
    out = torch.empty_like(x)
    _add_norm[(R,)](
        x,
        x if parts is None else parts,
        x if bias is None else bias,
        norm.weight,
        norm.bias,
        out,
        epsilon,
        R,
        C,
        n_parts=0 if parts is None else len(parts),
        has_bias=bias is not None,
        width=triton.next_power_of_2(C),
        num_warps=4,
    )
    return out


@triton.jit
def _summarize_block(logits, tops, places, sums, V, blocks, size: tl.constexpr):
    block, row = tl.program_id(0), tl.program_id(1)
    at = block * size + tl.arange(0, size)
    some = tl.load(logits + row.to(tl.int64) * V + at, mask=at < V, other=-float("inf"))
    top, place = tl.max(some, 0, return_indices=True)
    shift = tl.where(top == -float("inf"), 0.0, top)
    to = row * blocks + block
    tl.store(tops + to, top)
    tl.store(places + to, block * size + place)
    tl.store(sums + to, tl.sum(tl.exp(some - shift), 0))


@triton.jit
def _summarize(tops, places, sums, top, best, log_sum, blocks, width: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, width)
    inside = at < blocks
    some = tl.load(tops + row * blocks + at, mask=inside, other=-float("inf"))
    highest, block = tl.max(some, 0, return_indices=True)
    shift = tl.where(some == -float("inf"), 0.0, some)
    part = tl.load(sums + row * blocks + at, mask=inside, other=0.0)
    total = tl.sum(tl.where(inside, part * tl.exp(shift - highest), 0.0), 0)
    tl.store(top + row, highest)
    tl.store(best + row, tl.load(places + row * blocks + block).to(tl.int64))
    tl.store(log_sum + row, highest + tl.log(total))


def summarize(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The largest logit of each row, its id, and the log of the sum of exponentials; all (R,).

    Of equal logits the lowest id is returned.

    Args:
        logits: (R, V), float32, contiguous. The log-sum of a row with NaN or +inf is NaN.
    """
    R, V = logits.shape
    blocks = triton.cdiv(V, _LOGITS)
    tops, sums = torch.empty(2, R, blocks, device=logits.device)
    places = torch.empty(R, blocks, dtype=torch.int32, device=logits.device)
    _summarize_block[(blocks, R)](logits, tops, places, sums, V, blocks, size=_LOGITS, num_warps=4)
    top, log_sum = torch.empty(2, R, device=logits.device)
    best = torch.empty(R, dtype=torch.int64, device=logits.device)
    width = triton.next_power_of_2(blocks)
    _summarize[(R,)](tops, places, sums, top, best, log_sum, blocks, width=width, num_warps=1)
    return top, best, log_sum
