"""Losses of logits: of next tokens (paper, equation 1) and of classes (equation 4)."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from ogpt.config.call_errors import ONE_LABEL_PER_TOKEN, TOKENS_AS_LABELS, refused
from ogpt.notices import tell
from ogpt.tf.inputs import (
    TFInputShape,
    agree,
    check_range,
    integers,
    known,
    readable,
    to_rows,
)
from ogpt.tf.tensors import Size, Tensor

IGNORE_INDEX = -100
"""The label that losses ignore (torch's and Hugging Face's number)."""


def next_token_loss(logits: Tensor, shape: TFInputShape, rows: int, labels: Tensor) -> Tensor:
    """Mean of -log p(label) over the labels that are not ignored, (), float32 or wider.

    Args:
        logits: (..., T, V).
        shape: Of the input.
        rows: Of the token embedding; labels must be ids of it.
        labels: (..., T) token ids: the logits of a position predict the label after it.

    Raises:
        ConfigError: labels in another shape than the input, or labels that are not integers.
        TokenOutOfRange: a label outside the vocabulary (eager CPU tensors).
    """
    flat = ops.reshape(logits, (shape.N, shape.T, logits.shape[-1]))  # (..., T, V) -> (N, T, V)
    whole = integers(labels, "labels")
    whole = to_rows(whole, shape, "labels", ONE_LABEL_PER_TOKEN, one_for_all=False)
    # the first token has no prediction, the last position no label
    targets = whole[:, 1:]
    if readable(whole):
        check_tokens(whole.numpy(), rows)
    return _mean_cross_entropy(flat[:, :-1], targets)


def class_loss(logits: Tensor, labels: Tensor, name: str, leading: tuple[Size, ...]) -> Tensor:
    """Mean of -log softmax(logits)[label] over the labels that are not -100, ().

    Args:
        logits: (N, classes).
        labels: `leading`, (N,) or (N, 1); integers from 0 to classes - 1, or -100.
        name: Of the labels, for errors.
        leading: Shape of the examples, N in all.

    Raises:
        ConfigError: labels of another shape, labels that are not integers, or a class that does
            not exist (eager CPU tensors).
    """
    found, rows = tuple(labels.shape), logits.shape[0]
    if not any(agree(found, allowed) for allowed in (leading, (rows,), (rows, 1))):
        raise refused("class-shape", name=name, shape=found, allowed=known(leading) or (1,))
    flat = ops.reshape(integers(labels, name), (-1,))
    if readable(flat):
        check_classes(flat.numpy(), logits.shape[-1], name)
    return _mean_cross_entropy(logits, flat)


def check_tokens(labels: NDArray[Any], rows: int) -> None:
    """Check that every label that a token predicts is an id of the vocabulary, or -100.

    Args:
        labels: (..., T), integers; the first of a row is never predicted.
        rows: Of the token embedding.

    Raises:
        TokenOutOfRange: another label.
    """
    targets = labels[..., 1:]
    check_range(targets[targets != IGNORE_INDEX], rows, "label", TOKENS_AS_LABELS)


def check_classes(labels: NDArray[Any], count: int, name: str) -> None:
    """Check that every label is a class, 0 to count - 1, or -100.

    Args:
        labels: Integers in any shape.
        count: Number of classes.
        name: Of the labels, for the error.

    Raises:
        ConfigError: another label.
    """
    odd = labels[(labels != IGNORE_INDEX) & ((labels < 0) | (labels >= count))]
    if odd.size:
        value = odd[0].item()
        raise refused("no-class", name=name, value=value, last=count - 1, ignored=IGNORE_INDEX)


def _or_zero(targets: Tensor) -> Tensor:
    """The targets, with an id that has a row in place of each ignored one."""
    return ops.where(ops.not_equal(targets, IGNORE_INDEX), targets, ops.zeros_like(targets))


def _mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over the targets that are not ignored; 0 without any target."""
    counted = ops.not_equal(targets, IGNORE_INDEX)
    wide = at_least_float32(logits)
    each = ops.sparse_categorical_crossentropy(_or_zero(targets), wide, from_logits=True)
    total = ops.sum(ops.where(counted, each, ops.zeros_like(each)))
    if readable(counted) and not bool(ops.any(counted)):
        tell("nothing-to-learn", ignored=IGNORE_INDEX)
    # a mean of no numbers would be 0 / 0 = NaN, and one such batch would ruin all weights
    return total / ops.cast(ops.maximum(ops.count_nonzero(counted), 1), wide.dtype)


def at_least_float32(x: Tensor) -> Tensor:
    """Widen half precision to float32: a sum over tens of thousands of entries needs its bits."""
    narrow = keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16")
    return ops.cast(x, "float32") if narrow else x
