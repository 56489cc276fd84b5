"""A long word during the training of merges: a merge touches only the places of its pair.

`str.replace` reads the whole word for each merge, which for a word of 100,000 characters (base64,
DNA) would take hours. Here the symbols are a linked list, with an index from pairs to places.
"""

from __future__ import annotations

LONG = 256
"""Symbols from which a word is kept this way; `str.replace` is faster for shorter ones."""


class LongWord:
    """The symbols of a word.

    Args:
        symbols: One character each.
    """

    def __init__(self, symbols: str) -> None:
        self._symbols = list(symbols)
        self._next = [*range(1, len(symbols)), -1]
        self._previous = list(range(-1, len(symbols) - 1))
        self._places: dict[str, set[int]] = {}
        for place in range(len(symbols) - 1):
            self._places.setdefault(symbols[place : place + 2], set()).add(place)

    def merge(self, pair: str, joined: str) -> dict[str, int]:
        """Join a pair from left to right, as `str.replace` does.

        Returns:
            By how much the number of each pair of neighbours changed.
        """
        changes: dict[str, int] = {}

        def change(left: int, right: int, by: int) -> None:
            if left < 0 or right < 0:
                return
            seen = self._symbols[left] + self._symbols[right]
            changes[seen] = changes.get(seen, 0) + by
            places = self._places.setdefault(seen, set())
            places.add(left) if by > 0 else places.discard(left)
            if not places:
                del self._places[seen]

        for place in sorted(self._places.get(pair, ())):
            after = self._next[place]
            # in a run (aaa), the merge before may have taken the first symbol of this one
            if after < 0 or self._symbols[place] + self._symbols[after] != pair:
                continue
            before, following = self._previous[place], self._next[after]
            change(before, place, -1)
            change(place, after, -1)
            change(after, following, -1)
            self._symbols[place], self._symbols[after] = joined, ""
            self._next[place], self._next[after] = following, -1
            if following >= 0:
                self._previous[following] = place
            change(before, place, 1)
            change(place, following, 1)
        return changes
