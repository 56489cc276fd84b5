"""Which slots begin with the tokens of a prompt, so that these need not be computed again.

Tokens are hashed page by page. The hash of a page covers all pages before it, so that one lookup
per page of a prompt finds all slots that begin with it, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


class Prefixes:
    """An index of the beginnings of slots.

    Args:
        page: Tokens of a page, the unit of what is found. Slots of the native decoder share whole
            pages of their KV cache.
    """

    def __init__(self, page: int) -> None:
        self._page = page
        self._ids: dict[int, list[int]] = {}  # slot -> tokens
        self._slots: dict[int, list[int]] = {}  # hash -> slots

    def hold(self, slot: int, ids: Sequence[int]) -> None:
        """Register the tokens of a slot; they replace the ones registered before."""
        self.drop(slot)
        self._ids[slot] = list(ids)
        for key in self._keys(ids):
            self._slots.setdefault(key, []).append(slot)

    def drop(self, slot: int) -> None:
        """Forget a slot."""
        for key in self._keys(self._ids.pop(slot, ())):
            self._slots[key].remove(slot)
            if not self._slots[key]:
                del self._slots[key]

    def find(self, ids: Sequence[int]) -> tuple[list[int], int]:
        """The slots that begin with the most pages of `ids`, and the number of these tokens."""
        wanted = list(ids)
        for count, key in reversed(list(enumerate(self._keys(wanted), 1))):
            end = count * self._page
            # hashes may collide: only equal tokens count
            slots = [s for s in self._slots.get(key, ()) if self._ids[s][:end] == wanted[:end]]
            if slots:
                return slots, end
        return [], 0

    def _keys(self, ids: Sequence[int]) -> Iterator[int]:
        """The hash of each full page."""
        key = 0
        for end in range(self._page, len(ids) + 1, self._page):
            key = hash((key, *ids[end - self._page : end]))
            yield key
