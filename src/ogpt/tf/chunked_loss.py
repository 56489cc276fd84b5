"""Cross-entropy over the vocabulary in chunks, without storing the (B, T, V) logits.

Full logits at the paper's batch (64 x 512 tokens, V = 40,478) take 5.3 GB in float32, before their
gradient. In chunks, only one slice of logits exists at a time.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from keras import ops

from ogpt.tf.losses import IGNORE_INDEX, at_least_float32
from ogpt.tf.tensors import Tensor

CHUNK_ELEMENTS = 2**25
"""Number of logits computed at once: 64 MiB in bfloat16."""


def chunk_loss_and_grad(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Summed loss of a chunk and its gradient with respect to the logits, in their dtype.

    The gradient of -log softmax(logits)[label] is softmax(logits) - onehot(label).

    Args:
        logits: (N, V).
        labels: (N,) token ids; IGNORE_INDEX is not counted.
    """
    counted = ops.not_equal(labels, IGNORE_INDEX)
    safe = ops.where(counted, labels, 0)
    scores = at_least_float32(logits)
    top = ops.max(scores, axis=-1, keepdims=True)
    exps = ops.exp(scores - top)
    sums = ops.sum(exps, axis=-1, keepdims=True)
    here = ops.equal(ops.arange(logits.shape[-1], dtype=safe.dtype)[None], safe[:, None])
    chosen = ops.sum(ops.where(here, scores, 0.0), axis=-1, keepdims=True)
    losses = (ops.log(sums) + top - chosen)[:, 0]
    grad = ops.where(counted[:, None], exps / sums - ops.cast(here, scores.dtype), 0.0)
    return ops.sum(ops.where(counted, losses, 0.0)), ops.cast(grad, logits.dtype)


def summed_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, needs_grad: bool = True
) -> Tensor:
    """Sum over positions of -log softmax(hidden . weight^T)[target], (), float32 or wider.

    Args:
        hidden: (N, C) last hidden states.
        weight: (V, C), the tied embedding; its dtype may be wider than that of `hidden`.
        targets: (N,) token ids; IGNORE_INDEX is not counted.
        needs_grad: Whether the gradient may be asked for. It is computed with the loss, in the same
            pass over the chunks: later the logits are gone.
    """
    wide = at_least_float32(weight).dtype
    compute = ops.cast(weight, hidden.dtype)
    rows, labels = _chunks(hidden, targets, weight.shape[0])

    def loss_of(part: int, total: Tensor) -> tuple[Tensor, Tensor]:
        logits = tf.matmul(rows[part], compute, transpose_b=True)  # (chunk, C) -> (chunk, V)
        return part + 1, total + chunk_loss_and_grad(logits, labels[part])[0]

    def step(part: int, total: Tensor, of_weight: Tensor, of_rows: Any) -> tuple[Any, ...]:
        logits = tf.matmul(rows[part], compute, transpose_b=True)
        loss, grad = chunk_loss_and_grad(logits, labels[part])
        # the gradient of the weight sums over all chunks, so it is kept in float32
        of_weight = of_weight + tf.cast(tf.matmul(grad, rows[part], transpose_a=True), wide)
        return part + 1, total + loss, of_weight, of_rows.write(part, tf.matmul(grad, compute))

    n = ops.shape(rows)[0]
    first = (tf.constant(0), tf.zeros((), wide))
    if not needs_grad:
        return tf.while_loop(lambda part, *_: part < n, loss_of, first)[1]

    def loss_and_gradients(hidden: Tensor, weight: Tensor) -> Any:
        start = (*first, tf.zeros(weight.shape, wide), tf.TensorArray(hidden.dtype, n))
        _, total, of_weight, of_rows = tf.while_loop(lambda part, *_: part < n, step, start)
        of_hidden = ops.reshape(of_rows.stack(), (-1, weight.shape[1]))[: ops.shape(hidden)[0]]

        def backward(upstream: Tensor) -> tuple[Tensor, Tensor]:
            of_all = tf.cast(of_weight * upstream, weight.dtype)
            return of_hidden * tf.cast(upstream, hidden.dtype), of_all

        return total, backward

    return tf.custom_gradient(loss_and_gradients)(hidden, weight)


def _chunks(hidden: Tensor, targets: Tensor, vocabulary: int) -> tuple[Tensor, Tensor]:
    """Hidden states (n, chunk, C) and targets (n, chunk), filled up with ignored ones."""
    N, C = ops.shape(hidden)[0], hidden.shape[1]
    most = max(1, CHUNK_ELEMENTS // vocabulary)
    n = (N + most - 1) // most
    chunk = (N + n - 1) // n  # all of a size, so that little is filled up
    fill = n * chunk - N
    rows = ops.pad(hidden, ((0, fill), (0, 0)))
    labels = ops.pad(targets, ((0, fill),), constant_values=IGNORE_INDEX)
    return ops.reshape(rows, (n, chunk, C)), ops.reshape(labels, (n, chunk))
