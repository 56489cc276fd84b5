"""Losses of logits that are there anyway: next tokens (paper, equation 1) and classes (equation 4).

What a batch without a single label that counts gives is zero, with a notice.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.errors import ConfigError
from ogpt.model.inputs import Rows, check_rows, tensor, to_rows, whole_numbers
from ogpt.notices import tell

IGNORE_INDEX = -100
"""The label that counts nothing."""

_TOKENS = "labels are token ids of this tokenizer's vocabulary; -100 counts nothing"
_LABELS = "give a label for each token, -100 for those that count nothing"


def next_token_loss(
    logits: Tensor,
    rows: Rows,
    table: nn.Embedding,
    labels: Tensor | None,
    shift_labels: Tensor | None = None,
    num_items_in_batch: Tensor | int | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor | None:
    """Mean of -log p(label) over the labels that count, (), float32 or wider; None without labels.

    Args:
        logits: (..., T, V).
        rows: The shape of the input.
        table: The token embedding, to check labels against.
        labels: (..., T) token ids: the label of a position is predicted by the one before it.
        shift_labels: (..., T) labels that are shifted already; they go before `labels`.
        num_items_in_batch: Divide the sum by this, not by the labels that count: for steps of
            several micro-batches.
        ignore_index: The label that counts nothing.

    Raises:
        ConfigError: labels of another shape than the input, or no whole numbers.
        TokenOutOfRange: a label outside the vocabulary (CPU tensors, outside compile).
    """
    if labels is None and shift_labels is None:
        return None
    flat = logits.reshape(rows.N, rows.T, -1)
    if shift_labels is not None:
        shifted = whole_numbers(shift_labels, "shift_labels")
        targets = to_rows(shifted, rows, "shift_labels", _LABELS, one_for_all=False)
    else:
        assert labels is not None  # one of the two, see above
        whole = to_rows(whole_numbers(labels, "labels"), rows, "labels", _LABELS, one_for_all=False)
        targets = whole[:, 1:]
        flat = flat[:, :-1]
    targets = targets.reshape(-1).to(logits.device)
    counted = targets != ignore_index
    check_rows(targets.where(counted, 0), table, "label", _TOKENS)
    return _mean_cross_entropy(
        flat.reshape(-1, flat.shape[-1]), targets, ignore_index, num_items_in_batch
    )


def class_loss(logits: Tensor, labels: Tensor, name: str, leading: tuple[int, ...]) -> Tensor:
    """Mean of -log softmax(logits)[label] over the labels that are not -100, ().

    Args:
        logits: (N, classes).
        labels: `leading`, or (N,) or (N, 1), whole numbers, 0 to classes - 1, or -100.
        name: Of the labels, for errors.
        leading: The shape of the examples, N in all.

    Raises:
        ConfigError: labels of another shape, none that are whole numbers, or a class that is not
            there (CPU tensors, outside compile).
    """
    shape = tuple(tensor(labels, name).shape)
    if shape not in (leading, (len(logits),), (len(logits), 1)):
        raise ConfigError(
            f"{name} have the shape {shape}; allowed: {leading or (1,)}",
            hint="give one label for each example",
        )
    flat = whole_numbers(labels, name).reshape(-1).to(logits.device)
    if flat.device.type == "cpu" and not torch.compiler.is_compiling():
        odd = flat[(flat != IGNORE_INDEX) & ((flat < 0) | (flat >= logits.shape[-1]))]
        if len(odd):
            raise ConfigError(
                f"{name} holds {odd[0].item()}; allowed: 0 to {logits.shape[-1] - 1}, or "
                f"{IGNORE_INDEX} for no label",
                hint="check the number of labels or choices",
            )
    return _mean_cross_entropy(logits, flat, IGNORE_INDEX)


def _mean_cross_entropy(
    logits: Tensor,
    targets: Tensor,
    ignore_index: int,
    num_items: Tensor | int | None = None,
) -> Tensor:
    total = F.cross_entropy(
        at_least_float32(logits), targets, reduction="sum", ignore_index=ignore_index
    )
    if num_items is not None:
        return total / (
            num_items.clamp(min=1) if isinstance(num_items, Tensor) else max(num_items, 1)
        )
    counted = (targets != ignore_index).sum()
    if targets.device.type == "cpu" and not torch.compiler.is_compiling() and not counted:
        tell("nothing-to-learn", ignored=ignore_index)
    return total / counted.clamp(min=1)


def at_least_float32(x: Tensor) -> Tensor:
    """Losses are summed in float32, or wider where the model is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
