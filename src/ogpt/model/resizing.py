"""Change the number of rows of an embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def resized(weight: Tensor, rows: int, std: float | None = None) -> nn.Parameter:
    """A weight with another number of rows: the last ones are cut off, or new ones appended.

    Args:
        weight: (V, C).
        rows: New number of rows, 1 or more.
        std: Initialize new rows from N(0, std). None: new rows are the mean of the old ones, so
            that no new token is more probable than a common one.
    """
    with torch.no_grad():
        count = max(0, rows - len(weight))
        # A random row's logit is near 0, above those of most trained rows, so that generation would
        # produce the new tokens. Source: Hewitt 2021, "Initializing New Word Embeddings for
        # Pretrained Language Models".
        if std is None:
            new = weight.mean(0, keepdim=True).expand(count, -1)
        else:
            new = weight.new_empty(count, weight.shape[1]).normal_(0.0, std)
        return nn.Parameter(torch.cat([weight[:rows], new]), weight.requires_grad)
