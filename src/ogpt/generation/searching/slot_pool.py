"""The slots of a decoder: which are in use, and which tokens each of them holds.

A slot that is released keeps its tokens as a cache until it is allocated again, the least recently
used slot first. A prompt is looked up in all slots, in use or not, and what one of them begins with
is copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.searching.prefixes import Prefixes

_PAGE = 64  # tokens, where the decoder has no pages: less is not worth a copy


class PrefixCounts(NamedTuple):
    """Tokens of prompts, and of windows that moved."""

    queries: int = 0
    """Looked up."""
    hits: int = 0
    """Found in a slot, so that they were not computed."""


class SlotPool:
    """Allocates the slots of a decoder.

    Args:
        decoder: All of its slots are emptied.

    Attributes:
        counts: What was looked up so far.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.counts = PrefixCounts()
        self._decoder = decoder
        self._idle = deque(range(decoder.slots))  # least recently used first
        self._prefixes = Prefixes(decoder.abilities.page or _PAGE)
        for slot in self._idle:
            decoder.free(slot)

    def allocate(self, count: int) -> list[int]:
        """`count` slots, the one with most tokens first, as these may serve; none if too few."""
        if count > len(self._idle):
            return []
        slots = [self._idle.popleft() for _ in range(count)]
        first, *others = sorted(slots, key=self._decoder.length, reverse=True)
        for slot in others:
            self._empty(slot)
        return [first, *others]

    def release(self, slots: Sequence[int], held: Sequence[int] | None) -> None:
        """Release slots.

        Args:
            slots: As they were allocated.
            held: Tokens that the first one begins with; None: those that it was allocated with.
        """
        first, *others = slots
        if held is not None:
            self._hold(first, held[: self._decoder.length(first)])
        self._idle.append(first)
        for slot in others:
            self._empty(slot)
            self._idle.appendleft(slot)

    def lend(self) -> int | None:
        """An empty slot that the caller fills itself; None if all are in use."""
        slots = self.allocate(1)
        if not slots:
            return None
        self._empty(slots[0])
        return slots[0]

    def take_back(self, slot: int) -> None:
        """Empty and release a slot that was lent."""
        self._empty(slot)
        self._idle.appendleft(slot)

    def fill(self, slot: int, ids: Sequence[int], reuse: bool = True) -> bool:
        """Replace what a slot holds by the longest beginning of `ids` that any slot holds.

        The caller appends the rest, at least one token.

        Args:
            slot: Allocated to the caller.
            ids: What the slot will hold.
            reuse: Whether another slot may be copied; else the slot is emptied.

        Returns:
            False if another slot is being filled with the same tokens and does not hold them all
            yet. Nothing is changed then, and the caller should wait.
        """
        shared = 0
        # Unless the decoder is bitwise, logits depend on how their tokens were cut into calls.
        if reuse and self._decoder.abilities.bitwise:
            slots, shared = self._prefixes.find(ids[:-1])
            ready = [one for one in slots if self._decoder.length(one) >= shared]
            if shared and not ready:
                return False
            if shared and slot not in ready:
                self._copy(ready[0], slot)
        if shared:
            self._decoder.truncate(slot, shared)
        else:
            self._decoder.free(slot)
        self._hold(slot, ids)
        self._count(len(ids), shared)
        return True

    def duplicate(self, source: int, target: int, ids: Sequence[int]) -> None:
        """Make a slot equal to another one, which holds `ids`."""
        self._copy(source, target)
        self._hold(target, ids)
        self._count(len(ids), len(ids))

    def _count(self, queries: int, hits: int) -> None:
        self.counts = PrefixCounts(self.counts.queries + queries, self.counts.hits + hits)

    def _copy(self, source: int, target: int) -> None:
        self._decoder.copy(source, target)
        if source in self._idle:  # least recently used, not least recently filled
            self._idle.remove(source)
            self._idle.append(source)

    def _hold(self, slot: int, ids: Sequence[int]) -> None:
        if self._decoder.abilities.bitwise:
            self._prefixes.hold(slot, ids)

    def _empty(self, slot: int) -> None:
        self._prefixes.drop(slot)
        self._decoder.free(slot)
