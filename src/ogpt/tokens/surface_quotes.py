"""Straight quotes: which open, which close, and which are apostrophes."""

from __future__ import annotations

from ogpt.tokens import surface_rules as rules
from ogpt.tokens.surface_place import (
    CLOSES,
    LINE_BREAK,
    OPENS,
    SPACED,
    TO_BOTH,
    TO_LAST,
    TO_NEXT,
    Joint,
    Place,
)

SIGNS = frozenset('"“”‘') | rules.APOSTROPHES
_PAUSES = rules.SENTENCE_ENDS | rules.INTERRUPTING
_ENDS = frozenset([LINE_BREAK, '"', "”"]) | rules.CLOSING


class Quotes:
    """Pairs straight quotes by what is open, corrected by the words around them.

    A line break closes all quotations: in a dialogue of several paragraphs, each one opens again.

    Args:
        apostrophes_apart: Apostrophes inside of words are words of their own (`bert`).
    """

    def __init__(self, apostrophes_apart: bool) -> None:
        self._apart = apostrophes_apart
        self._double = self._single = False
        self._last = SPACED  # the joint of the word before

    def joint(self, place: Place) -> Joint:
        """How a quote or an apostrophe is joined."""
        if place.word == '"':
            return OPENS if self._double_opens(place) else CLOSES
        if place.word in rules.APOSTROPHES:
            return self._apostrophe(place)
        return CLOSES if place.word == "”" else OPENS

    def typed(self, word: str, spaced: bool) -> Joint:
        """How a quote was joined in typed text, from whether white space precedes it."""
        opens = word in "“‘" or spaced or self._last.glue
        if word in "“‘" or word == "”" or word == '"':
            return OPENS if opens and word != "”" else CLOSES
        if opens:
            return OPENS if word == "'" else TO_NEXT
        return CLOSES if self._single else TO_LAST

    def note(self, word: str, joint: Joint) -> None:
        """Record the word that was just written, and whether a space preceded it."""
        self._last = joint
        if word == LINE_BREAK:
            self._double = self._single = False
        elif joint.opens or joint.closes:
            if word in '"“”':
                self._double = joint.opens
            else:
                self._single = joint.opens

    def _double_opens(self, place: Place) -> bool:
        last, following = place.last, place.next
        if last == LINE_BREAK:
            return True
        if self._last.opens:
            return not self._double
        if last in SIGNS and self._last.closes:  # "yes." "no."
            return last == '"' or not self._double
        if following == LINE_BREAK and not place.following:  # the end of the text
            introduced = last == "," and not rules.SPEECH.isdisjoint(place.before)  # he said, "
            return not self._double and (introduced or last[-1] not in _PAUSES)
        if following in _ENDS or (last[-1] in rules.INTERRUPTING and _names_speaker(place)):
            return False
        return not self._double

    def _apostrophe(self, place: Place) -> Joint:
        last, following = place.last, place.next
        after_word = last[-1].isalnum()
        if after_word and self._apart and _in_word(place):
            return TO_BOTH
        elided = following in rules.ELISIONS or (len(following) == 2 and following.isdigit())
        if elided and not (self._single and last[-1] in _PAUSES):
            return TO_NEXT
        if place.word == "'" and self._single_opens(place):
            return OPENS
        clipped = after_word and _may_be_clipped(last)
        return CLOSES if self._single and not clipped else TO_LAST

    def _single_opens(self, place: Place) -> bool:
        last, following = place.last, place.next
        if last == LINE_BREAK or self._last.opens:
            return True
        if self._single or following in _ENDS:
            return False
        return not (last[-1].isalnum() and _may_be_clipped(last))


def _names_speaker(place: Place) -> bool:
    """Whether the words after a quote are like `said` or `smith said`, and those before are not."""
    if not rules.SPEECH.isdisjoint(place.before):
        return False
    first, second = place.next, place.following[-1]
    return first in rules.SPEECH or (first.isalpha() and second in rules.SPEECH)


def _in_word(place: Place) -> bool:
    """Whether an apostrophe is inside of a word: didn't, o'clock."""
    last, following = place.last, place.next
    if following in rules.TAILS or (last, following) in rules.IN_WORD:
        return True
    if last not in rules.HEADS or not following[0].isalpha():
        return False
    if place.before[-2:-1] and place.before[-2] in rules.APOSTROPHES:  # isn't 'so'
        return False
    return last != "o" or following not in rules.AFTER_CLIPPED_OF


def _may_be_clipped(word: str) -> bool:
    """Whether an apostrophe may belong to the end of a word: boys', goin', an'."""
    ends = word.endswith(("s", "in")) and word not in rules.NO_PLURALS
    return ends or word in rules.CLIPPED
