"""One batch of token sequences as plain arrays: what every training, of any framework, consumes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import DataError

IGNORED = -100
"""A target that no loss counts (Hugging Face's label value)."""

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)  # == of arrays is no bool
class Batch:
    """B sequences of T tokens; or B examples of K choices, each a sequence of T tokens.

    Only ids are required. An objective says which of the other arrays it needs.

    Raises:
        DataError: arrays whose shapes do not fit ids.
    """

    ids: Ids
    """(B, T) or (B, K, T) token ids."""
    targets: Ids | None = None
    """Shape of ids: the token that follows each position, or IGNORED."""
    documents: Ids | None = None
    """(B, T) packed windows: number of the document that a position belongs to, from 0 in each
    window; -1 for padding. A position attends to its own document only, and positions count from
    the start of that document. None: each window is running text."""
    attention_mask: NDArray[np.bool_] | None = None
    """Shape of ids: False for padding. None: there is no padding."""
    labels: NDArray[np.int64] | NDArray[np.float32] | None = None
    """(B,) a class, a choice or a score; (B, L) one number per label."""
    places: Ids | None = None
    """(B,) or (B, K): position of the extract token, whose state the classifier reads."""

    def __post_init__(self) -> None:
        shape = self.ids.shape
        if len(shape) not in (2, 3):
            raise DataError(
                f"ids have shape {shape}; allowed: (B, T) or (B, K, T)",
                hint="pass one row of ids per sequence",
            )
        expected = {
            "targets": shape,
            "documents": shape,
            "attention_mask": shape,
            "labels": shape[:1],
            "places": shape[:-1],
        }
        for name, allowed in expected.items():
            array = getattr(self, name)
            seen = None if array is None else array.shape[: 1 if name == "labels" else None]
            if seen not in (None, allowed):
                raise DataError(
                    f"{name} have shape {seen} for ids of shape {shape}; allowed: {allowed}",
                    hint=f"pass {name} for the same sequences as ids",
                )

    def __len__(self) -> int:
        """Number of sequences, or of examples with choices, B."""
        return len(self.ids)

    @property
    def n_tokens(self) -> int:
        """Tokens that are no padding."""
        if self.attention_mask is not None:
            return int(self.attention_mask.sum())
        if self.documents is not None:
            return int((self.documents >= 0).sum())
        return self.ids.size


def document_positions(documents: Ids) -> Ids:
    """Positions that count from the start of each document, (B, T), for documents (B, T)."""
    index = np.broadcast_to(np.arange(documents.shape[1]), documents.shape)
    starts = np.ones(documents.shape, dtype=bool)
    starts[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return np.ascontiguousarray(index - np.maximum.accumulate(np.where(starts, index, 0), axis=1))
