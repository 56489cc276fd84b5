"""From last hidden states to the results of a call: what the decoders in PyTorch share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.generation.protocol.decoder import Computed, Part

Head = Callable[[Tensor], Tensor]
"""The language-model head: (N, C) -> logits (N, V)."""


def computed(
    parts: Sequence[Part], states: Sequence[Tensor], head: Head, vocab_size: int, hidden: bool
) -> Computed:
    """The result of a call.

    Args:
        parts: Of the call.
        states: Last hidden states (T, C) of each part.
        head: Computes logits of the wanted rows, all together.
        vocab_size: V.
        hidden: Whether the hidden states are part of the result.
    """
    rows = [
        state if part.want == "all" or len(state) == 1 else state[-1:]
        for part, state in zip(parts, states, strict=True)
        if part.want != "none"
    ]
    if rows:
        logits = numpy_of(head(torch.cat(rows)))
    else:
        logits = np.empty((0, vocab_size), numpy_of(states[0][:0]).dtype)
    return Computed(logits, tuple(map(numpy_of, states)) if hidden else None)


def numpy_of(tensor: Tensor) -> NDArray[np.floating[Any]]:
    """The numbers of a tensor as float32, or as float64 where the tensor is float64."""
    wide = tensor if tensor.dtype == torch.float64 else tensor.float()
    found: NDArray[np.floating[Any]] = wide.cpu().numpy()
    return found
