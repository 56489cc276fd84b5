"""Windows: a stream of tokens becomes batches, in an order that depends on (seed, index) alone.

contiguous: every epoch cuts the stream into windows from a new random offset, so that the cuts fall
elsewhere, and visits them in a new random order. packed: whole documents share windows and do not
attend to each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ogpt.data.batch import IGNORED, Batch
from ogpt.data.packing import Packing, pack
from ogpt.data.permutation import draw, permute
from ogpt.data.shards import TokenStream
from ogpt.errors import DataError


class Windows:
    """Windows of n_ctx tokens over a stream.

    Args:
        stream: The tokens of one split.
        n_ctx: Tokens in a window, 1 or more.
        seed: Seed of offsets and order.
        packed: Pack whole documents into windows, instead of cutting running text.
    """

    def __init__(
        self, stream: TokenStream, n_ctx: int, *, seed: int = 0, packed: bool = False
    ) -> None:
        self.stream = stream
        self.n_ctx = n_ctx
        self.seed = seed
        self.packed = packed

    @cached_property
    def n_windows(self) -> int:
        """Windows in an epoch, the same in every epoch.

        Raises:
            DataError: the stream is shorter than one window and its last target; or, packed, no
                document has 2 tokens.
        """
        if self.packed:
            if len(self._packing.starts):
                return len(self._packing.windows) - 1
            raise DataError(
                f"none of the {self.stream.n_documents:,} documents has 2 tokens, the minimum to "
                "learn from",
                hint="pass longer documents, or --set data.windows=contiguous",
            )
        if len(self.stream) <= self.n_ctx:
            raise DataError(
                f"the text has {len(self.stream):,} tokens; one window needs {self.n_ctx + 1:,} "
                "(model.n_positions and the token after them)",
                hint="pass more text, or a smaller window: --set model.n_positions=N",
            )
        # 1 window fewer than fits, so that every offset below n_ctx leaves room for all of them
        return max(1, (len(self.stream) - self.n_ctx) // self.n_ctx)

    def batch(self, first: int, count: int) -> Batch:
        """Windows first to first + count - 1 of the endless sequence of epochs.

        A pure function of (seed, first, count): a resumed run continues from a step number alone.
        Window i belongs to epoch i // n_windows.
        """
        indices = np.arange(first, first + count)
        epochs = indices // self.n_windows
        chosen = np.empty(count, np.int64)
        offsets = np.zeros(count, np.int64)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            within = indices[here] - epoch * self.n_windows
            chosen[here] = permute(within, self.n_windows, "order", self.seed, epoch)
            if not self.packed:
                slack = min(self.n_ctx, len(self.stream) - self.n_windows * self.n_ctx)
                offsets[here] = draw(slack, "offset", self.seed, epoch)
        if self.packed:
            return self._packed_batch(chosen)
        return self._contiguous_batch(offsets + chosen * self.n_ctx)

    def sequential(self, batch_size: int) -> Iterator[Batch]:
        """Yield every token once, in the order of the stream, for evaluation.

        The last window is padded with id 0 and IGNORED targets; the last batch may be smaller.
        """
        if self.packed:
            for first in range(0, self.n_windows, batch_size):
                last = min(first + batch_size, self.n_windows)
                yield self._packed_batch(np.arange(first, last))
            return
        starts = np.arange(0, len(self.stream), self.n_ctx)
        for at in range(0, len(starts), batch_size):
            yield self._contiguous_batch(starts[at : at + batch_size])

    @cached_property
    def _packing(self) -> Packing:
        return pack(self.stream.document_starts, len(self.stream), self.n_ctx)

    def _contiguous_batch(self, starts: NDArray[np.int64]) -> Batch:
        ids = np.zeros((len(starts), self.n_ctx), np.int64)
        targets = np.full((len(starts), self.n_ctx), IGNORED, np.int64)
        for row, start in enumerate(starts.tolist()):
            tokens = self.stream[start : start + self.n_ctx + 1]
            ids[row, : len(tokens)] = tokens[: self.n_ctx]
            targets[row, : len(tokens) - 1] = tokens[1:]
        return Batch(ids, targets)

    def _packed_batch(self, chosen: NDArray[np.int64]) -> Batch:
        packing = self._packing
        ids = np.zeros((len(chosen), self.n_ctx), np.int64)
        targets = np.full((len(chosen), self.n_ctx), IGNORED, np.int64)
        documents = np.full((len(chosen), self.n_ctx), -1, np.int64)
        for row, window in enumerate(chosen.tolist()):
            at = 0
            pieces = range(packing.windows[window], packing.windows[window + 1])
            for number, piece in enumerate(pieces):
                start, length = int(packing.starts[piece]), int(packing.lengths[piece])
                follows = 0 if packing.ends_document[piece] else 1
                tokens = self.stream[start : start + length + follows]
                ids[row, at : at + length] = tokens[:length]
                targets[row, at : at + len(tokens) - 1] = tokens[1:]
                documents[row, at : at + length] = number
                at += length
        return Batch(ids, targets, documents)
