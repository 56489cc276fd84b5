"""Packing: short documents share a window whole, so that none is cut and little is padding."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Packing(NamedTuple):
    """P pieces of documents in W windows; memory is a few numbers per piece."""

    starts: NDArray[np.int64]
    """(P,) index of the piece's first token in the stream, sorted by window."""
    lengths: NDArray[np.int64]
    """(P,) number of tokens of the piece, at most n_ctx."""
    ends_document: NDArray[np.bool_]
    """(P,) whether the piece is the last one of its document."""
    windows: NDArray[np.int64]
    """(W + 1,) first piece of each window, then P."""


def pack(document_starts: NDArray[np.int64], n_tokens: int, n_ctx: int) -> Packing:
    """Cut documents into pieces of at most n_ctx tokens and pack the pieces into windows.

    A piece of one token at the end of its document is skipped, as it has no next token to predict.

    Pieces are placed longest first, each into the fullest window that has room for it (best-fit
    decreasing; Ding et al., "Fewer Truncations Improve Language Modeling", 2024). A bit set of the
    room that open windows have makes each placement O(1).
    """
    starts, lengths, ends_document = _cut(document_starts, n_tokens, n_ctx)
    order = np.argsort(-lengths, kind="stable")
    window_of = np.empty(len(lengths), np.int64)
    open_windows: list[list[int]] = [[] for _ in range(n_ctx + 1)]  # by room, in tokens
    has_open = 0  # bit r: some window has r tokens of room
    count = 0
    for piece, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        fitting = has_open >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1  # the lowest set bit: best fit
            window = open_windows[room].pop()
            if not open_windows[room]:
                has_open ^= 1 << room
        else:
            room, window = n_ctx, count
            count += 1
        window_of[piece] = window
        if room > length:
            open_windows[room - length].append(window)
            has_open |= 1 << (room - length)
    by_window = np.argsort(window_of, kind="stable")
    windows = np.searchsorted(window_of[by_window], np.arange(count + 1))
    return Packing(starts[by_window], lengths[by_window], ends_document[by_window], windows)


def _cut(
    document_starts: NDArray[np.int64], n_tokens: int, n_ctx: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    sizes = np.diff(document_starts, append=n_tokens)
    pieces = -(-sizes // n_ctx)  # pieces of each document, rounded up
    document = np.repeat(np.arange(len(sizes)), pieces)
    first = np.cumsum(pieces) - pieces
    within = np.arange(len(document)) - first[document]  # 0, 1, ... in each document
    starts = document_starts[document] + within * n_ctx
    lengths = np.minimum(sizes[document] - within * n_ctx, n_ctx)
    ends_document = within == pieces[document] - 1
    kept = ~(ends_document & (lengths == 1))
    return starts[kept], lengths[kept], ends_document[kept]
