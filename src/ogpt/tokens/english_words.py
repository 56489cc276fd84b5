"""The 2018 order: ftfy, standardise, spaCy with case kept, then lower case; and transformers 4's.

Words are found chunk by chunk (what white space separates), and each distinct chunk is read once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from ogpt.tokens.chunks import check_word, without_surrogates
from ogpt.tokens.english_rules import EnglishRules
from ogpt.tokens.fixing import STRAIGHT, Fixer
from ogpt.tokens.standardise import CHARACTERS, parts_of

REMEMBERED = 500_000
"""Parts of text at most (some 200 MB with what spaCy keeps) before all are forgotten."""
LINE_BREAK = "\n"
"""A word of its own in GPT-1's vocabulary."""

_PLAIN = str.maketrans({**STRAIGHT, **CHARACTERS})

# no $, as in "US$", nor °, as in "°C": the signs by which spaCy's affixes know single letters
_ONE_WORD = re.compile("([^\\w\\s$°]{0,6})([A-Za-z]{2,60})((?:['’]s)?[^\\w\\s$°]{0,6})")
_LOWER, _TITLE, _UPPER = "qzqzqz", "Qzqzqz", "QZQZQZ"  # words of no special case

Order = Literal["openai", "hf-spacy"]


class _Frame:
    """The signs before and after a word.

    Attributes:
        around: What of them may belong to a special case with the word: no part ends between.
        words: The words of the chunk by the case and length of the word between, which is in
            them; empty where it must be read itself.
    """

    def __init__(self, before: str, after: str) -> None:
        left = _parts(f"{before}q")[-1][:-1]
        right = _parts(f"q{after}")[0][1:]
        self.around = [
            (left[begin:], right[:end])
            for begin in range(len(left) + 1)
            for end in range(len(right) + 1)
        ]
        self.words: dict[str, str] = {}


class EnglishWords:
    """Text to words in lower case, by the rules of one order.

    Args:
        order: openai lower-cases the words that spaCy found; hf-spacy (transformers 4) lower-cases
            the text before all else, so that spaCy misses "Mr." and "U.S.".
        remembered: As REMEMBERED.

    Raises:
        BackendMissing: spaCy or ftfy is not installed.
    """

    def __init__(self, order: Order, remembered: int = REMEMBERED) -> None:
        self.order = order
        self.remembered = remembered
        self._fix = Fixer()
        self._begin()
        self.versions = {"spacy": self._rules.version, "ftfy": self._fix.version}

    def __reduce__(self) -> tuple[object, ...]:
        return (EnglishWords, (self.order, self.remembered))

    def _begin(self) -> None:
        self._rules = EnglishRules()  # anew: spaCy's table of strings only ever grows
        self._known: dict[str, str] = {}
        self._dependent: set[str] = set()
        self._frames: dict[tuple[str, str], _Frame] = {}
        self._joins: dict[tuple[str, str], bool] = {}

    def __call__(self, text: str) -> list[str]:
        """The words of a text."""
        chunks = [chunk for line in self.lines(text) for chunk in line]
        apart = self.read_apart(chunks, lambda chunk: self.read(chunk)[1])
        return [word for part in apart for word in self.read(part)[0].split(" ")]

    def lines(self, text: str) -> Iterator[list[str]]:
        """The chunks of each line that holds any, LINE_BREAK before all but the first line."""
        text = without_surrogates(text)
        if self.order == "hf-spacy":  # letter by letter, so that no sigma is a final one
            text = text.replace("Σ", "σ").lower()
        begun = False
        for line in self._fix(text).split("\n"):
            chunks = line.split()
            if chunks:
                yield [LINE_BREAK, *chunks] if begun else chunks
                begun = True

    def read(self, chunks: str) -> tuple[str, bool]:
        """The words of a chunk, with a space between, and whether neighbours may change them.

        Of neighbours joined by a space, the words that they have together.
        """
        match = _ONE_WORD.fullmatch(chunks)
        alike = self._read_alike(*match.groups()) if match else ""
        return (alike, False) if alike else self._read_parts(chunks)

    def _read_alike(self, before: str, word: str, after: str) -> str:
        """The words that any word has between these signs; empty for a special case of spaCy.

        The affixes know letters by their case alone, special cases by their spelling.
        """
        model = _LOWER if word.islower() else _TITLE if word.istitle() else _UPPER
        if model is _UPPER and not word.isupper():
            return ""
        frame = self._frames.get((before, after))
        if frame is None:
            frame = self._frames[before, after] = _Frame(before, after)
        special = self._rules.special
        for left, right in frame.around:
            if left + word + right in special:
                return ""
        model = model[: len(word)]
        words = frame.words.get(model)
        if words is None:
            words, depends = self._read_parts(before + model + after)
            if depends or words.count(model.lower()) != 1:
                words = ""
            frame.words[model] = words
        return words.replace(model.lower(), word.lower())

    def _read_parts(self, chunks: str) -> tuple[str, bool]:
        """The same by spaCy."""
        if chunks == LINE_BREAK:
            return LINE_BREAK, False
        parts = _parts(chunks)
        read = [self._read(part) for part in parts]
        if not any(depends for _, depends in read):
            return " ".join([words for words, _ in read]), False
        return _lower(self._rules.split(" ".join(parts))), True

    def read_apart(self, chunks: Sequence[str], depends: Callable[[str], bool]) -> list[str]:
        """The chunks, joined by a space where one depends on a neighbour."""
        joined: list[str] = []
        held = 0  # chunks before it stand in joined
        for index, chunk in enumerate(chunks):
            if index < held or not depends(chunk):
                continue
            begin, end = index, index + 1
            while begin > held and self._join(chunks[begin - 1], chunks[begin]):
                begin -= 1
            while end < len(chunks) and self._join(chunks[end - 1], chunks[end]):
                end += 1
            joined += [*chunks[held:begin], " ".join(chunks[begin:end])]
            held = end
        return joined + list(chunks[held:])

    def _join(self, chunk: str, following: str) -> bool:
        if LINE_BREAK in (chunk, following):
            return False
        before, after = _parts(chunk)[-1], _parts(following)[0]
        joins = self._joins.get((before, after))
        if joins is None:
            joins = self._joins[before, after] = self._rules.may_join(before, after)
        return joins

    def _read(self, part: str) -> tuple[str, bool]:
        """The words of a part in lower case, and whether neighbours may change them; remembered."""
        known = self._known.get(part)
        if known is None:
            check_word(part)
            if len(self._known) + len(self._joins) >= self.remembered:
                self._begin()
            words, depends = self._rules.read(part)
            known = self._known[part] = _lower(words)
            if depends:
                self._dependent.add(part)
        return known, part in self._dependent


def _parts(chunks: str) -> list[str]:
    """What spaCy sees as separated by white space."""
    if chunks.isascii() and chunks.isalpha():
        return [chunks]
    return [part for chunk in chunks.translate(_PLAIN).split(" ") for part in parts_of(chunk)]


def _lower(words: list[str]) -> str:
    """The words in lower case, one by one: a sigma at the end of a word is a final one."""
    return " ".join([word.lower() for word in words])
