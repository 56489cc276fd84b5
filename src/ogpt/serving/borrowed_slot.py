"""A slot of the engine's decoder, lent to work that runs beside texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar, cast

import numpy as np

from ogpt.errors import OgptError
from ogpt.generation.protocol.decoder import (
    AttentionDecoder,
    Attentions,
    Computed,
    Decoder,
    Part,
    Scores,
)
from ogpt.generation.protocol.slots import (
    check_cut,
    check_open,
    check_parts,
    check_slot,
    check_targets,
)

R = TypeVar("R")


class BorrowedSlot:
    """One slot of a decoder as a Decoder of its own, whose only slot is number 0.

    Each call is cut into chunks. Closing it leaves the decoder open.

    Args:
        decoder: Owns the slot.
        slot: Its number there; it is empty.
        chunk: Maximum number of tokens of a call of the decoder.
        pause: Called between two calls of the decoder; what it raises ends the call.

    Attributes:
        paused: Whether the next call needs no pause before it.
        tokens: Number of tokens that were computed.
        failed: Whether the last call of the decoder failed for another reason than its arguments.
    """

    slots = 1

    def __init__(self, decoder: Decoder, slot: int, chunk: int, pause: Callable[[], None]) -> None:
        self.n_positions = decoder.n_positions
        self.vocab_size = decoder.vocab_size
        self.abilities = decoder.abilities._replace(device_sampling=False)
        self.paused = True
        self.tokens = 0
        self.failed = False
        self._decoder = decoder
        self._slot = slot
        self._chunk = chunk
        self._pause = pause
        self._open = True

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        """Append tokens; see Decoder."""
        [(_, ids, want)] = self._checked(parts)
        found = []
        with self._unchanged_on_error():
            for chunk in self._chunks(ids):
                last = chunk.stop == len(ids)
                part = Part(self._slot, ids[chunk], want if last or want == "all" else "none")
                call = partial(self._decoder.run, [part], hidden=hidden)
                found.append(self._call(len(part.ids), call))
        states = [one.hidden[0] for one in found if one.hidden is not None]
        return Computed(
            np.concatenate([one.logits for one in found]),
            (np.concatenate(states),) if hidden else None,
        )

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and score `targets`; see Decoder."""
        check_targets(ids, targets, top, self.vocab_size)
        [(_, ids, _)] = self._checked([Part(slot, ids)])
        found = []
        with self._unchanged_on_error():
            for chunk in self._chunks(ids):
                some, wanted = ids[chunk], targets[chunk]
                call = partial(self._decoder.score, self._slot, some, wanted, top)
                found.append(self._call(len(some), call))
        log_probs, top_ids, top_log_probs = zip(*found, strict=True)
        return Scores(
            np.concatenate(log_probs), np.concatenate(top_ids), np.concatenate(top_log_probs)
        )

    def attend(self, slot: int, token_id: int) -> Attentions:
        """Append a token and return its attention; see AttentionDecoder."""
        [(_, ids, _)] = self._checked([Part(slot, [token_id])])
        attend = cast(AttentionDecoder, self._decoder).attend
        with self._unchanged_on_error():
            return self._call(1, partial(attend, self._slot, ids[0]))

    def length(self, slot: int) -> int:
        """Number of tokens in the slot."""
        check_open(self._open)
        check_slot(slot, 1)
        return self._decoder.length(self._slot)

    def truncate(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of the slot."""
        self._decoder.truncate(self._slot, check_cut(slot, length, self.length(slot)))

    def copy(self, source: int, target: int) -> None:
        """Change nothing: there is one slot."""
        for slot in (source, target):
            self.length(slot)

    def free(self, slot: int) -> None:
        """Empty the slot."""
        self.truncate(slot, 0)

    def close(self) -> None:
        """End the loan; a second call does nothing."""
        self._open = False

    def _checked(self, parts: Sequence[Part]) -> list[Part]:
        return check_parts(parts, [self.length(0)], self.n_positions, self.vocab_size)

    def _chunks(self, ids: Sequence[int]) -> Iterator[slice]:
        for first in range(0, len(ids), self._chunk):
            yield slice(first, min(first + self._chunk, len(ids)))

    def _call(self, count: int, call: Callable[[], R]) -> R:
        """Make one call of the decoder, for a chunk of `count` tokens."""
        if not self.paused:
            self._pause()
        self.paused, self.failed = False, True
        try:
            found = call()
        except OgptError:
            self.failed = False
            raise
        self.failed = False
        self.tokens += count
        return found

    @contextmanager
    def _unchanged_on_error(self) -> Iterator[None]:
        held = self._decoder.length(self._slot)
        try:
            yield
        except BaseException:
            with suppress(Exception):  # of a decoder that has failed
                self._decoder.truncate(self._slot, held)
            raise
