"""Text that people read, from the words of a tokenizer: spaces, quotes and capitals of English.

GPT-1's tokenizers decode to lower-case words with one space between any two: `" i do n't , " said
mr. smith .` The readable surface of it is `"I don't," said Mr. Smith.` It changes only spaces and
case. Rules decide, not a model, so names that no title precedes stay in lower case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
_REMEMBERED = 4  # words before; an ellipsis of three dots and the word before it
_TYPED = re.compile(r"(?:[^\W\d_]\.){2,}|\w+(?:['’]\w+)*|(\.)\1+|(-)\2+|\S")


class Readable:
    """Makes raw text readable while it streams; what was returned never changes.

    All that `write` and `finish` return, joined, has the characters of the raw text in their order,
    up to spaces and case. A word is returned as soon as nothing that follows can change it: most
    at once, a quote after two more words.

    Args:
        pre_tokenizer: How the words were found: "openai" and "hf-spacy" have contractions as
            spaCy splits them, "bert" has a word for each punctuation sign.
        before: The text before the raw text as it was typed, or made readable: a prompt.
        inside_word: The text before ends inside a word, which the raw text completes.
        keep_lower: Add no capitals.

    >>> surface = Readable("openai", before="He said")
    >>> [surface.write(word + " ") for word in ", \" i do n't . \" why ?".split()]
    [',', '', '', ' "I', "n't", '.', '', '', '" Why']
    """

    def __init__(
        self,
        pre_tokenizer: str,
        *,
        before: str = "",
        inside_word: bool = False,
        keep_lower: bool = False,
    ) -> None:
        self._signs_apart = pre_tokenizer == "bert"
        self._keep_lower = keep_lower
        self._inside_word = inside_word
        self._part = ""  # of a word that has not ended
        self._waiting: list[str] = []  # words, which may be parts of an abbreviation
        self._words: list[str] = []  # words that are not decided
        self._before: list[str] = []
        self._glue = True
        self._quotes = Quotes(self._signs_apart)
        self._capitals = Capitals()
        self._read(before)

    def write(self, raw: str, ends_word: bool = False) -> str:
        """Add raw text and return the text that is decided now, which is often empty.

        Args:
            raw: The next piece of the raw text, cut anywhere.
            ends_word: A word ends with this piece, so that a space would follow.
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
            word = self._waiting.pop(0)
            self._accept(Place(word, self._before, ()), SPACED)
            yield word
        while self._waiting and (count := self._abbreviated(self._waiting, final)):
            self._words.append("".join(self._waiting[:count]))
            del self._waiting[:count]
        while self._words:
            ahead = self._ahead(self._words[0])
            following = self._words[1 : 1 + ahead]
            if len(following) < ahead and not final:
                break
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
        self._before = [*self._before[1 - _REMEMBERED :], place.word]

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
        """Whether a word is joined to the word before."""
        word, last = place.word, place.last
        if word[0].isdigit():
            if last in rules.CURRENCY:
                return True
            in_number = place.before[-2:-1] and place.before[-2][-1].isdigit()
            if in_number and (last == "," or self._signs_apart):
                return {",": len(word) == 3, ".": True, ":": len(word) == 2}.get(last, False)
        if self._signs_apart:
            return False
        bare = last in rules.BARE_CONTRACTIONS.get(word, ())
        return word in rules.CONTRACTIONS or (last, word) in rules.PAIRS or bare

    def _abbreviated(self, words: Sequence[str], final: bool) -> int:
        """How many of the first words are one, as in `mr .`; 0 if the next words decide."""
        first = words[0]
        after = [*self._before, *self._words][-1:]
        letter = self._signs_apart and len(first) == 1 and first.isalpha()
        letter = letter and not rules.APOSTROPHES.issuperset(after)
        if not letter and first not in rules.NO_OTHER_WORD:
            return 1
        found, joined = 1, first
        for count, word in enumerate(words[1:], 2):
            joined += word
            if count == 2 and word == "." and first != "i":
                found = 2
            if joined in rules.DOTTED:
                found = count
            if not any(dotted.startswith(joined) for dotted in rules.DOTTED):
                return found
        open_ended = len(words) == 1 or any(
            dotted.startswith(joined) and dotted != joined for dotted in rules.DOTTED
        )
        return 0 if open_ended and not final else found

    def _read(self, text: str) -> None:
        """Take in the text before: its own spaces tell which quotes open."""
        text = text[text.rfind(LINE_BREAK) + 1 :].lower()
        matches = list(_TYPED.finditer(text))
        for match in matches:
            spaced = match.start() == 0 or text[match.start() - 1].isspace()
            place = Place(match[0], self._before, ())
            joint = self._joint(place)
            if match[0] in SIGNS:
                joint = self._quotes.typed(match[0], spaced)
            self._accept(place, joint)
        if text[-1:].isspace():
            self._glue = True


def readable(raw: str, pre_tokenizer: str, *, keep_lower: bool = False) -> str:
    """The readable surface of a whole text, from what `decode` gives of its ids.

    >>> readable("\\" do n't ! \\" cried mr. smith - jones .", "openai")
    '"Don\\'t!" cried Mr. Smith-jones.'
    """
    surface = Readable(pre_tokenizer, keep_lower=keep_lower)
    return surface.write(raw) + surface.finish()
