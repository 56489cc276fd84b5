"""Scaled dot-product attention: which keys a query may see, and the sum of their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras
import ml_dtypes
import tensorflow as tf
from keras import ops

from ogpt.tf.tensors import Size, Tensor

# which keys a query may see


class TFAdditiveMask(NamedTuple):
    """The mask of another implementation (`Parity.masking`), for comparisons with it.

    Scores that the causal mask hides become `fill`, then `padding` is added to all scores. Hidden
    keys keep some weight where other scores are lower still; our boolean masks give them none.
    """

    causal: Tensor
    """(T, T) or (N, 1, T, S), bool."""
    fill: float
    padding: Tensor | None
    """(N, 1, 1, T) or (N, 1 or n_head, T, T), float."""


Visible = Tensor | TFAdditiveMask
"""Bool (1 or N, 1 or n_head, T, T), or an additive mask."""

_CAUSAL_FILL = {"transformers": -1e4, "tensorflow": -1e4, "2018": -1e9}
"""The score that other implementations give to later tokens."""


def causal(T: Size) -> Tensor:
    """The causal mask, (T, T), bool: a query sees the keys up to its own position."""
    places = ops.arange(T, dtype="int32")
    return places[:, None] >= places


def visible(mask: Tensor | None, T: Size, dtype: str, masking: str) -> Visible:
    """Combine the caller's mask with the causal one.

    Args:
        mask: (N, T), (N, T, T) or (N, n_head, T, T), bool.
        T: Number of tokens.
        dtype: To compute in.
        masking: `Parity.masking`.
    """
    allowed = causal(T)
    seen = None if mask is None else _four_axes(mask)
    if masking != "boolean":
        return _additive(allowed, seen, masking, dtype)
    if seen is None:
        return allowed[None, None]
    both = ops.logical_and(allowed, seen)
    # A query without a visible key, as padding on the left is, would be 0 / 0 in the softmax. It
    # sees itself instead, so that every row is finite in every dtype.
    places = ops.arange(T, dtype="int32")
    itself = places[:, None] == places
    blind = ops.logical_not(ops.any(both, axis=-1, keepdims=True))
    return ops.logical_or(both, ops.logical_and(itself, blind))


def cached(seen: Tensor, dtype: str, masking: str) -> Visible:
    """The mask of tokens that follow those of a cache, as the parity switch wants it.

    Args:
        seen: (N, 1, T, S), bool: which keys each token may see.
        dtype: To compute in.
        masking: `Parity.masking`.
    """
    return seen if masking == "boolean" else _additive(seen, None, masking, dtype)


def _four_axes(mask: Tensor) -> Tensor:
    if len(mask.shape) == 2:  # (N, T) -> (N, 1, 1, T)
        return ops.expand_dims(mask, (1, 2))  # TensorFlow Lite slices five axes at most
    return mask[:, None] if len(mask.shape) == 3 else mask  # (N, T, T) -> (N, 1, T, T)


def _additive(allowed: Tensor, seen: Tensor | None, masking: str, dtype: str) -> TFAdditiveMask:
    smallest = float(ml_dtypes.finfo(dtype).min)
    fill = max(_CAUSAL_FILL[masking], smallest)  # float16 has no -1e9
    least = smallest if masking == "transformers" else fill
    padding = None if seen is None else ops.cast(ops.logical_not(seen), dtype) * least
    return TFAdditiveMask(allowed, fill, padding)


def select_heads(seen: Visible, heads: Sequence[int]) -> Visible:
    """The part of a mask that these heads use; a mask with one head is for all of them.

    Args:
        seen: Of the whole model, whose masks count pruned heads too.
        heads: The heads that are left in a layer.
    """
    mask = seen.padding if isinstance(seen, TFAdditiveMask) else seen
    if mask is None or mask.shape[1] == 1 or mask.shape[1] == len(heads):
        return seen
    left = ops.take(mask, list(heads), axis=1)
    return seen._replace(padding=left) if isinstance(seen, TFAdditiveMask) else left


# attention over those keys


def probabilities(query: Tensor, key: Tensor, visible: Visible) -> Tensor:
    """softmax(query . key / sqrt(head_dim)) over the visible keys, (N, n_head, T, T).

    The softmax is computed in float32 or wider; with an additive mask in the dtype of the query, as
    the other implementations do.
    """
    # The dot product of head_dim independent pairs of unit variance has a standard deviation of
    # sqrt(head_dim). Unscaled, the softmax of a wide head would saturate, and its gradient vanish.
    scores = ops.matmul(query, ops.swapaxes(key, -1, -2))
    scale = query.shape[-1] ** -0.5
    if isinstance(visible, TFAdditiveMask):
        scores = ops.where(visible.causal, scores * scale, visible.fill)
        if visible.padding is not None:
            scores = scores + visible.padding
        return tf.nn.softmax(scores)
    dtype = keras.backend.standardize_dtype(query.dtype)
    # half precision has 8 or 11 bits: not enough for a sum over hundreds of keys
    wide = ops.cast(scores, "float64" if dtype == "float64" else "float32")
    # not ops.softmax, which warns of the single key of a single token
    return ops.cast(tf.nn.softmax(ops.where(visible, wide * scale, -float("inf"))), dtype)
