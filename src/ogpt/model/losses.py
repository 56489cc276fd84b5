"""Losses of logits: of next tokens (paper, equation 1) and of classes (equation 4).

Training on long batches uses chunked_loss.py instead, which never stores all logits at once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.config.call_errors import ONE_LABEL_PER_TOKEN, TOKENS_AS_LABELS, refused
from ogpt.model.inputs import InputShape, check_embedding_ids, check_tensor, integers, to_rows
from ogpt.model.tensors import is_readable
from ogpt.notices import tell

IGNORE_INDEX = -100
"""The label that losses ignore (torch's and Hugging Face's number)."""


def next_token_loss(
    logits: Tensor,
    shape: InputShape,
    table: nn.Embedding,
    labels: Tensor | None,
    shift_labels: Tensor | None = None,
    num_items_in_batch: Tensor | int | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Mean of -log p(label) over the labels that are not ignored, (), float32 or wider.

    Args:
        logits: (..., T, V).
        shape: Of the input.
        table: The token embedding; labels must be ids of it.
        labels: (..., T) token ids: the logits of a position predict the label after it.
        shift_labels: (..., T) labels that are already shifted; used instead of `labels`.
        num_items_in_batch: Divide the sum by this instead of the number of labels, for optimizer
            steps of several micro-batches.
        ignore_index: The label to ignore.

    Raises:
        ConfigError: labels in another shape than the input, or labels that are not integers.
        TokenOutOfRange: a label outside the vocabulary (CPU tensors, outside compile).
    """
    flat = logits.reshape(shape.N, shape.T, -1)  # (..., T, V) -> (N, T, V)
    if shift_labels is not None:
        shifted = integers(shift_labels, "shift_labels")
        targets = to_rows(shifted, shape, "shift_labels", ONE_LABEL_PER_TOKEN, one_for_all=False)
    else:
        assert labels is not None  # callers pass one of the two
        whole = to_rows(
            integers(labels, "labels"), shape, "labels", ONE_LABEL_PER_TOKEN, one_for_all=False
        )
        # the first token has no prediction, the last position no label
        targets = whole[:, 1:]
        flat = flat[:, :-1]
    targets = targets.reshape(-1).to(logits.device)
    counted = targets != ignore_index
    check_embedding_ids(targets.where(counted, 0), table, "label", TOKENS_AS_LABELS)
    return _mean_cross_entropy(
        flat.reshape(-1, flat.shape[-1]), targets, ignore_index, num_items_in_batch
    )


def class_loss(
    logits: Tensor,
    labels: Tensor,
    name: str,
    leading: tuple[int, ...],
    num_items_in_batch: Tensor | int | None = None,
) -> Tensor:
    """Mean of -log softmax(logits)[label] over the labels that are not -100, ().

    Args:
        logits: (N, classes).
        labels: `leading`, (N,) or (N, 1); integers from 0 to classes - 1, or -100.
        name: Of the labels, for errors.
        leading: Shape of the examples, N in all.
        num_items_in_batch: Divide the sum by this instead of the number of labels.

    Raises:
        ConfigError: labels of another shape, labels that are not integers, or a class that does
            not exist (CPU tensors, outside compile).
    """
    shape = tuple(check_tensor(labels, name).shape)
    if shape not in (leading, (len(logits),), (len(logits), 1)):
        raise refused("class-shape", name=name, shape=shape, allowed=leading or (1,))
    flat = integers(labels, name).reshape(-1).to(logits.device)
    if is_readable(flat):
        odd = flat[(flat != IGNORE_INDEX) & ((flat < 0) | (flat >= logits.shape[-1]))]
        if len(odd):
            last = logits.shape[-1] - 1
            raise refused(
                "no-class", name=name, value=odd[0].item(), last=last, ignored=IGNORE_INDEX
            )
    return _mean_cross_entropy(logits, flat, IGNORE_INDEX, num_items_in_batch)


def _mean_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    ignore_index: int,
    num_items: Tensor | int | None = None,
) -> Tensor:
    """The sum over targets, divided by num_items or by their number; 0 without any target."""
    total = F.cross_entropy(
        at_least_float32(logits), targets, reduction="sum", ignore_index=ignore_index
    )
    if num_items is not None:
        return mean_over(total, num_items)
    counted = (targets != ignore_index).sum()
    if is_readable(targets) and not counted:
        tell("nothing-to-learn", ignored=ignore_index)
    return mean_over(total, counted)


def mean_over(total: Tensor, count: Tensor | int) -> Tensor:
    """A sum divided by a number of labels; 0 without any label."""
    # torch's own mean would be 0 / 0 = NaN, and one such batch would ruin all weights
    return total / (count.clamp(min=1) if isinstance(count, Tensor) else max(count, 1))


def at_least_float32(x: Tensor) -> Tensor:
    """Widen half precision to float32: a sum over tens of thousands of entries needs its bits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
