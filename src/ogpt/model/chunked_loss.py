"""Cross-entropy over the vocabulary in chunks, without storing the (B, T, V) logits.

Full logits at the paper's batch (64 x 512 tokens, V = 40,478) take 5.3 GB in float32, before their
gradient. In chunks, only one slice of logits exists at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = 2**25
"""Number of logits computed at once: 64 MiB in bfloat16."""

ChunkLoss = Callable[[Tensor, Tensor, int, Tensor | None], tuple[Tensor, Tensor]]
"""`chunk_loss_and_grad`, or its compiled form."""


def chunk_loss_and_grad(
    logits: Tensor, labels: Tensor, ignored: int, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Summed loss of a chunk and its gradient with respect to the logits, in their dtype.

    The gradient of -log softmax(logits)[label] is softmax(logits) - onehot(label). With `weights`,
    one for each label, both are weighted.
    """
    counted = labels != ignored
    safe = torch.where(counted, labels, 0)
    scores = logits.float()
    top = scores.amax(-1, keepdim=True)
    exps = (scores - top).exp()
    sums = exps.sum(-1, keepdim=True)
    chosen = scores.gather(-1, safe[:, None])
    losses = (sums.log() + top - chosen)[:, 0]
    onehot = torch.arange(logits.shape[-1], device=logits.device)[None, :] == safe[:, None]
    grad = torch.where(counted[:, None], exps / sums - onehot.float(), 0.0)
    if weights is not None:
        losses, grad = losses * weights, grad * weights[:, None]
    return torch.where(counted, losses, 0.0).sum(), grad.to(logits.dtype)


def summed_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    ignored: int = -100,
    chunk_loss: ChunkLoss = chunk_loss_and_grad,
    weights: Tensor | None = None,
) -> Tensor:
    """Sum over positions of -log softmax(hidden . weight^T)[target], (), float32.

    Args:
        hidden: (N, C) last hidden states.
        weight: (V, C), the tied embedding; its dtype may be wider than that of `hidden`.
        targets: (N,) token ids, int64.
        ignored: The target to ignore.
        chunk_loss: chunk_loss_and_grad, or its compiled form.
        weights: (N,) weight of each position in the sum, without a gradient; None: 1.
    """
    loss: Tensor = _ChunkedCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, weight, targets, ignored, chunk_loss, weights
    )
    return loss


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Computes each chunk's gradient along with its loss; backward only scales the result."""

    # Backward cannot compute the gradient: it needs the softmax, and so the logits, which are
    # gone. The matmuls run in the dtype of `hidden`; the gradient of the weight sums over all
    # chunks, so it is kept in float32.

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        ignored: int,
        chunk_loss: ChunkLoss,
        weights: Tensor | None,
    ) -> Tensor:
        compute = weight.to(hidden.dtype)
        # a power of two divides most batches evenly: all chunks of a batch then have one size, and
        # torch.compile compiles once
        chunk = 2 ** int(math.log2(max(1, CHUNK_ELEMENTS // weight.shape[0])))
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        needs_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        grad_hidden = torch.empty_like(hidden) if needs_grad else None
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_grad else None
        for start in range(0, hidden.shape[0], chunk):
            part = hidden[start : start + chunk]
            labels = targets[start : start + chunk]
            # (chunk, C) -> (chunk, V)
            logits = part @ compute.t()
            shares = None if weights is None else weights[start : start + chunk]
            loss, grad = chunk_loss(logits, labels, ignored, shares)
            total += loss
            if grad_hidden is not None and grad_weight is not None:
                grad_hidden[start : start + chunk] = grad @ compute
                grad_weight += grad.t() @ part
        if needs_grad:
            ctx.save_for_backward(grad_hidden, grad_weight)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grad_output, grad_weight * grad_output, None, None, None, None
