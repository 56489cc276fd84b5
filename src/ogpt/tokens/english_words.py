"""Split English text into words as in 2018: ftfy, standardize, spaCy with case, then lower case.

Source: text_utils.py of finetune-transformer-lm. transformers 4 lower-cases first. Text is split at
white space into chunks, and each distinct chunk is processed only once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from ogpt.tokens.chunks import check_word, without_surrogates
from ogpt.tokens.english_rules import EnglishRules
from ogpt.tokens.fixing import STRAIGHT, Fixer
from ogpt.tokens.standardize import CHARACTERS, parts_of

REMEMBERED = 500_000
"""Maximum number of parts in the tables (about 200 MB with spaCy's); full tables are cleared."""
LINE_BREAK = "\n"
"""A word in GPT-1's vocabulary."""

_PLAIN = str.maketrans({**STRAIGHT, **CHARACTERS})

# A word with punctuation around it. $ (as in "US$") and ° (as in "°C") are excluded: spaCy's
# affixes treat letters next to them specially.
_ONE_WORD = re.compile("([^\\w\\s$°]{0,6})([A-Za-z]{2,60})((?:['’]s)?[^\\w\\s$°]{0,6})")
_LOWER, _TITLE, _UPPER = "qzqzqz", "Qzqzqz", "QZQZQZ"  # stand-ins that are in no special case

Order = Literal["openai", "hf-spacy"]


class _Frame:
    """The punctuation before and after a word, and how a chunk of this form is split.

    Attributes:
        around: Pairs of punctuation that may form a special case together with the word.
        words: Stand-in -> words of the chunk with it; empty if spaCy must split each chunk.
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
    """Splits text into lower-case words.

    Args:
        order: "openai" lower-cases the words that spaCy found. "hf-spacy" (transformers 4)
            lower-cases the text first, so that spaCy does not recognize "Mr." and "U.S.".
        remembered: Maximum number of parts in the tables.

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
        self._rules = EnglishRules()  # a new one, because spaCy's table of strings only grows
        self._known: dict[str, str] = {}
        self._dependent: set[str] = set()
        self._frames: dict[tuple[str, str], _Frame] = {}
        self._joins: dict[tuple[str, str], bool] = {}

    def __call__(self, text: str) -> list[str]:
        """Return the words of a text."""
        chunks = [chunk for line in self.lines(text) for chunk in line]
        apart = self.read_apart(chunks, lambda chunk: self.read(chunk)[1])
        return [word for part in apart for word in self.read(part)[0].split(" ")]

    def lines(self, text: str) -> Iterator[list[str]]:
        """Yield the chunks of each line that has any, after LINE_BREAK except for the first."""
        text = without_surrogates(text)
        if self.order == "hf-spacy":  # str.lower would make a final sigma (ς) of some
            text = text.replace("Σ", "σ").lower()
        first = True
        for line in self._fix(text).split("\n"):
            chunks = line.split()
            if chunks:
                yield chunks if first else [LINE_BREAK, *chunks]
                first = False

    def read(self, chunks: str) -> tuple[str, bool]:
        """Split a chunk, or neighbours joined by spaces, into words.

        Returns:
            The words joined by spaces, and whether neighbours may change them.
        """
        match = _ONE_WORD.fullmatch(chunks)
        alike = self._read_alike(*match.groups()) if match else ""
        return (alike, False) if alike else self._read_parts(chunks)

    def _read_alike(self, before: str, word: str, after: str) -> str:
        """Split a word with punctuation around it by splitting a stand-in of its case and length.

        spaCy's affixes distinguish letters only by case; special cases go by spelling. The result
        is empty if the chunk may contain a special case.
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
        """Split a chunk with spaCy."""
        if chunks == LINE_BREAK:
            return LINE_BREAK, False
        parts = _parts(chunks)
        read = [self._read(part) for part in parts]
        if not any(depends for _, depends in read):
            return " ".join([words for words, _ in read]), False
        return _lower(self._rules.split(" ".join(parts))), True

    def read_apart(self, chunks: Sequence[str], depends: Callable[[str], bool]) -> list[str]:
        """Join chunks by a space where one depends on a neighbour."""
        joined: list[str] = []
        held = 0  # chunks before this index are in joined
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
        """Return the words of a part in lower case, and whether neighbours may change them."""
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
    """Return the parts of chunks that spaCy sees separated by white space."""
    if chunks.isascii() and chunks.isalpha():
        return [chunks]
    return [part for chunk in chunks.translate(_PLAIN).split(" ") for part in parts_of(chunk)]


def _lower(words: list[str]) -> str:
    """Lower-case words one by one, so that a sigma at the end of a word becomes a final one (ς)."""
    return " ".join([word.lower() for word in words])
