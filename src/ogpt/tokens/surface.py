"""Text that people read, from the words of a tokenizer: spaces, quotes and capitals of English.

GPT-1's tokenizers decode to lower-case words with one space between any two: `" i do n't , " said
mr. smith .` The readable surface of it is `"I don't," said Mr. Smith.` It changes only spaces and
case. Rules decide, not a model, so names that no title precedes stay in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from ogpt.tokens import surface_rules as rules
from ogpt.tokens.surface_capitals import Capitals
from ogpt.tokens.surface_place import (
    LINE_BREAK,
    SPACED,
    TO_BOTH,
    TO_LAST,
    TO_NEXT,
    Joint,
    Place,
)
from ogpt.tokens.surface_quotes import SIGNS, Quotes

Surface = Literal["raw", "readable"]
_REMEMBERED = 4  # more than the dots of an ellipsis
_TYPED = re.compile(r"(?:[^\W\d_]\.){2,}|\w+(?:['’]\w+)*|(\.)\1+|(-)\2+|\S")


class Readable:
    """Makes raw text readable while it streams. What it returned never changes.

    All that `write` and `finish` return, joined, has the characters of the raw text in their order,
    up to spaces and case. A word is returned as soon as nothing that follows can change it: most
    words at once, a straight double quote with the second word after it.

    Args:
        pre_tokenizer: How text became words. "openai" and "hf-spacy" split contractions and
            abbreviations as spaCy does; "bert" makes a word of each punctuation sign.
        before: The text before the raw text, with the spaces and case that a reader sees: a prompt.
        inside_word: The text before ends inside a word, which the raw text completes.
        keep_lower: Add no capitals.

    >>> surface = Readable("openai", before="He said")
    >>> [surface.write(word + " ") for word in 'gently , " do go . "'.split()]
    [' gently', ',', '', '', ' "Do go', '.', '']
    >>> surface.finish()
    '"'
    """

    def __init__(
        self,
        pre_tokenizer: str,
        *,
        before: str = "",
        inside_word: bool = False,
        keep_lower: bool = False,
    ) -> None:
        self._stops_apart = pre_tokenizer != "openai"  # `mr .` is an abbreviation
        self._signs_apart = pre_tokenizer == "bert"
        self._keep_lower = keep_lower
        self._inside_word = inside_word
        self._part = ""  # of a word that has not ended
        self._waiting: list[str] = []  # words that may be parts of an abbreviation
        self._words: list[str] = []  # whole words that are not decided
        self._before: list[str] = []  # the last words that are
        self._glue = True  # no space follows them
        self._quotes = Quotes(self._signs_apart)
        self._capitals = Capitals()
        self._take_in(before)

    def write(self, raw: str, ends_word: bool = False) -> str:
        """Add raw text and return the text that is decided now, which is often empty.

        Args:
            raw: The next piece of the raw text, cut anywhere.
            ends_word: The piece ends with the end of a word, after which a space would follow.
        """
        *words, self._part = (self._part + raw + " " * ends_word).split(" ")
        self._waiting += filter(None, words)
        return "".join(self._decided(final=False))

    def finish(self) -> str:
        """The rest of the text, an unfinished word included."""
        self._waiting += filter(None, [self._part])
        self._part = ""
        return "".join(self._decided(final=True))

    def _decided(self, final: bool) -> Iterator[str]:
        if self._inside_word and self._waiting:
            self._inside_word = False
            rest = self._waiting.pop(0)
            self._accept(Place(rest, self._before, ()), SPACED)
            yield rest
        while self._waiting and (count := self._abbreviated(final)):
            self._words.append("".join(self._waiting[:count]))
            del self._waiting[:count]
        while self._words:
            ahead = self._ahead(self._words[0])
            following = self._words[1 : 1 + ahead]
            if len(following) < ahead and not final:
                return
            place = Place(self._words.pop(0), self._before, following)
            joint = self._joint(place)
            space = " " if joint.space and not self._glue else ""
            yield space + (place.word if self._keep_lower else self._capitals.cased(place))
            self._accept(place, joint)

    def _ahead(self, word: str) -> int:
        """How many of the next words decide about a word."""
        if word == '"':
            return 2
        return int(word in rules.APOSTROPHES or self._capitals.needs_next())

    def _accept(self, place: Place, joint: Joint) -> None:
        self._quotes.note(place.word, joint)
        self._capitals.note(place, joint)
        self._glue = joint.glue
        self._before = [*self._before, place.word][-_REMEMBERED:]

    def _joint(self, place: Place) -> Joint:
        word = place.word
        if word in SIGNS:
            return self._quotes.joint(place)
        signs = frozenset(word)
        if word in (LINE_BREAK, "/") or signs <= rules.DASHES:
            return TO_BOTH
        if word in rules.OPENING:
            return TO_NEXT
        return TO_LAST if signs <= rules.CLOSING or self._continues(place) else SPACED

    def _continues(self, place: Place) -> bool:
        """Whether a word is joined to the word before, which is not a sign that joins."""
        word, last = place.word, place.last
        if word[0].isdigit():
            in_number = place.before[-2:-1] and place.before[-2][-1].isdigit()
            if in_number and last == ",":  # 1,000
                return len(word) == 3
            if in_number and self._signs_apart:  # 5.00 and 3:30
                return last == "." or (last == ":" and len(word) == 2)
            return last in rules.CURRENCY
        if self._signs_apart:
            return False
        bare = last in rules.BARE_CONTRACTIONS.get(word, ())
        return word in rules.CONTRACTIONS or (last, word) in rules.PAIRS or bare

    def _abbreviated(self, final: bool) -> int:
        """How many of the waiting words are one, as `mr .` and `u . s .`; 0: not decided yet."""
        if not self._stops_apart:
            return 1
        first, *following = self._waiting
        inside_contraction = not rules.APOSTROPHES.isdisjoint([*self._before, *self._words][-1:])
        letter = self._signs_apart and len(first) == 1 and first.isalpha()
        if (not letter or inside_contraction) and first not in rules.NO_OTHER_WORD:
            return 1
        count, joined = 1, first
        for number, word in enumerate(following, 2):
            joined += word
            initial = number == 2 and word == "." and first != "i"
            if initial or joined in rules.DOTTED:
                count = number
            if not any(dotted.startswith(joined) for dotted in rules.DOTTED):
                return count
        unfinished = not following or any(
            dotted.startswith(joined) for dotted in rules.DOTTED - {joined}
        )
        return count if final or not unfinished else 0

    def _take_in(self, before: str) -> None:
        """Read the text before, whose own spaces show which quotes open."""
        line = before[before.rfind(LINE_BREAK) + 1 :].lower()
        for match in _TYPED.finditer(line):
            word, begin = match[0], match.start()
            spaced = begin == 0 or line[begin - 1].isspace()
            place = Place(word, self._before, ())
            joint = self._quotes.typed(word, spaced) if word in SIGNS else self._joint(place)
            if spaced and joint == TO_BOTH:  # a dash with spaces around it
                joint = SPACED
            self._accept(place, joint)
        self._glue = self._glue or line[-1:].isspace()


def readable(raw: str, pre_tokenizer: str, *, keep_lower: bool = False) -> str:
    """The readable surface of a whole raw text.

    >>> readable("mr. smith - jones did n't go .", "openai")
    "Mr. Smith-jones didn't go."
    """
    surface = Readable(pre_tokenizer, keep_lower=keep_lower)
    return surface.write(raw) + surface.finish()
