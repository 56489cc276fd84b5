"""A word of the readable surface between its neighbours, and how it is joined to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LINE_BREAK = "\n"


@dataclass(frozen=True, slots=True)
class Place:
    """A word in lower case, and the words around it that are known."""

    word: str
    before: Sequence[str]
    """The last words, the nearest one last."""
    following: Sequence[str]
    """The next words: as many as the decisions about this word may use."""

    @property
    def last(self) -> str:
        """The word before; LINE_BREAK at the start of the text."""
        return self.before[-1] if self.before else LINE_BREAK

    @property
    def next(self) -> str:
        """The next word; LINE_BREAK at the end of the text."""
        return self.following[0] if self.following else LINE_BREAK


@dataclass(frozen=True, slots=True)
class Joint:
    """How a word is joined to its neighbours."""

    space: bool = True
    """A space belongs before it, if the word before permits one."""
    glue: bool = False
    """No space belongs after it."""
    opens: bool = False
    """It opens a quotation."""
    closes: bool = False
    """It closes one."""


SPACED = Joint()
TO_LAST = Joint(space=False)
TO_NEXT = Joint(glue=True)
TO_BOTH = Joint(space=False, glue=True)
OPENS = Joint(glue=True, opens=True)
CLOSES = Joint(space=False, closes=True)
