"""The slots of a decoder, lent to texts; what they still hold is the prefix cache.

A slot that is given back keeps its tokens until it is lent again, least recently used first. A
prompt is looked up in all slots, lent or not: what one of them begins with is copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.searching.prefixes import Prefixes

_PAGE = 64  # tokens, where the decoder has no pages: less is not worth a copy


class Lending:
    """Lends the slots of a decoder.

    Args:
        decoder: All of its slots are emptied.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._idle = deque(range(decoder.slots))  # least recently used first
        self._prefixes = Prefixes(decoder.abilities.page or _PAGE)
        for slot in self._idle:
            decoder.free(slot)

    def lend(self, count: int) -> list[int]:
        """`count` slots, the one with most tokens first, as these may serve; none if too few."""
        if count > len(self._idle):
            return []
        slots = [self._idle.popleft() for _ in range(count)]
        first, *others = sorted(slots, key=self._decoder.length, reverse=True)
        for slot in others:
            self._empty(slot)
        return [first, *others]

    def take_back(self, slots: Sequence[int], held: Sequence[int] | None) -> None:
        """Take slots back.

        Args:
            slots: As they were lent.
            held: Tokens that the first one begins with; None: those that it was lent with.
        """
        first, *others = slots
        if held is not None:
            self._hold(first, held[: self._decoder.length(first)])
        self._idle.append(first)
        for slot in others:
            self._empty(slot)
            self._idle.appendleft(slot)

    def fill(self, slot: int, ids: Sequence[int], reuse: bool = True) -> bool:
        """Replace what a slot holds by the longest beginning of `ids` that any slot holds.

        The caller appends the rest, at least one token.

        Args:
            slot: Lent to the caller.
            ids: What the slot will hold.
            reuse: Whether another slot may be copied; else the slot is emptied.

        Returns:
            False where a slot has begun with the same tokens, but does not hold them all yet: then
            nothing is changed, and the caller should wait.
        """
        shared = 0
        # How tokens are cut into calls changes their logits, unless the decoder is bitwise.
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
        return True

    def duplicate(self, source: int, target: int, ids: Sequence[int]) -> None:
        """Make a slot equal to another one, which holds `ids`."""
        self._copy(source, target)
        self._hold(target, ids)

    def _copy(self, source: int, target: int) -> None:
        self._decoder.copy(source, target)
        if source in self._idle:  # it was of use: keep it longer
            self._idle.remove(source)
            self._idle.append(source)

    def _hold(self, slot: int, ids: Sequence[int]) -> None:
        if self._decoder.abilities.bitwise:
            self._prefixes.hold(slot, ids)

    def _empty(self, slot: int) -> None:
        self._prefixes.drop(slot)
        self._decoder.free(slot)
