"""Capitals of the readable surface: sentences, `I`, titles and other abbreviations, initials."""

from __future__ import annotations

import re

from ogpt.tokens import surface_rules as rules
from ogpt.tokens.surface_place import LINE_BREAK, Joint, Place

_DOTTED = re.compile(r"(?:[^\W\d_]\.)+")
_LETTERED = re.compile(r"\w")


class Capitals:
    """Follows where sentences begin, and capitalizes words."""

    def __init__(self) -> None:
        self._begins = True  # the next word begins a sentence, or is a name
        self._asked = False  # a quotation just ended with ? or !: `he said` may follow
        self._interrupted = False  # a quotation of this sentence ended before its own end

    def cased(self, place: Place) -> str:
        """The word with its capitals."""
        word = place.word
        if word == "i" or word.startswith(("i'", "i’")):
            return "I" + word[1:]
        if word in rules.LOWER_DOTTED:
            return capital(word) if self._begins else word
        if _DOTTED.fullmatch(word):
            return "".join(map(capital, word))
        if word in rules.ABBREVIATIONS:
            return capital(word)
        return capital(word) if self._begins and not self._names_speaker(place) else word

    def needs_next(self) -> bool:
        """Whether the case of the next word depends on the word after it."""
        return self._asked

    def note(self, place: Place, joint: Joint) -> None:
        """Remember a word and how it was joined."""
        word, last = place.word, place.last
        if word == LINE_BREAK:
            self._begins, self._asked, self._interrupted = True, False, False
        elif joint.opens:
            introduced = last in (",", ":") or last in rules.SPEECH
            self._begins = self._begins or (introduced and not self._interrupted)
            self._asked = False
        elif joint.closes:
            self._asked = last in ("?", "!")
            self._interrupted = self._interrupted or last in rules.INTERRUPTING
        elif _LETTERED.search(word):
            self._interrupted = self._interrupted or self._names_speaker(place)
            initial = len(word) == 2 and _DOTTED.fullmatch(word)
            self._begins = bool(initial) or (word[:-1] in rules.TITLES and word[-1] == ".")
            self._asked = False
        elif word[-1] in rules.SENTENCE_ENDS:
            self._begins = not _ellipsis(place)
            self._asked = self._interrupted = False
        elif word[-1] in ",;:" or (word[-1] in rules.DASHES and last in ("?", "!")):  # toast?—well
            self._begins = self._asked = False

    def _names_speaker(self, place: Place) -> bool:
        """Whether the words after `why?"` are like `said` or `he said`."""
        first, second = place.word, place.next
        spoken = first in rules.SPEECH or (first in rules.PRONOUNS and second in rules.SPEECH)
        return self._asked and spoken


def capital(word: str) -> str:
    """The word with its first letter in upper case, if that is one letter of the same word."""
    first = word[:1].upper()
    return first + word[1:] if first.lower() == word[:1] else word


def _ellipsis(place: Place) -> bool:
    """Whether three dots end here: a sentence may continue after them."""
    before = "".join([*place.before, place.word])
    dots = before[len(before.rstrip(".…")) :].replace("…", "...")
    return len(dots) == 3
