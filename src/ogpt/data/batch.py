"""What the data room hands to training: one batch of windows as plain arrays."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IGNORED = -100
"""A target that no loss counts (Hugging Face's label value)."""


class Batch(NamedTuple):
    """B windows of T tokens and what each position should predict."""

    ids: NDArray[np.int64]
    """(B, T) token ids."""
    targets: NDArray[np.int64]
    """(B, T) the token that follows each position, or IGNORED."""
    documents: NDArray[np.int64] | None = None
    """(B, T) packed windows: which document of the window a position belongs to, from 0; -1 for
    padding. A position sees its own document only, and its position counts from that document's
    start. None: the window is one running text."""
