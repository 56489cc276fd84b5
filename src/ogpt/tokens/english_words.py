"""The 2018 order: ftfy, standardise, spaCy with case kept, then lower case; and transformers 4's.

Words are found chunk by chunk (what white space separates), and each distinct chunk is read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from ogpt.tokens.chunks import check_word, without_surrogates
from ogpt.tokens.english_rules import EnglishRules
from ogpt.tokens.fixing import Fixer, straight
from ogpt.tokens.standardise import spread

REMEMBERED = 500_000
"""Parts of text at most (some 200 MB with what spaCy keeps) before all are forgotten."""
LINE_BREAK = "\n"
"""A word of its own in GPT-1's vocabulary."""

Order = Literal["openai", "hf-spacy"]


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
        self._known: dict[str, tuple[list[str], bool]] = {}
        self._joins: dict[tuple[str, str], bool] = {}

    def __call__(self, text: str) -> list[str]:
        """The words of a text."""
        chunks = [chunk for line in self.lines(text) for chunk in line]
        apart = self.read_apart(chunks, lambda chunk: self.read(chunk)[1])
        return [word for part in apart for word in self.read(part)[0]]

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

    def read(self, chunks: str) -> tuple[list[str], bool]:
        """The words of a chunk, and whether its neighbours may change them.

        Of neighbours joined by a space, the words that they have together.
        """
        if chunks == LINE_BREAK:
            return [LINE_BREAK], False
        parts = _parts(chunks)
        read = [self._read(part) for part in parts]
        if any(depends for _, depends in read):
            return _lower(self._rules.split(" ".join(parts))), True
        return [word for words, _ in read for word in words], False

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

    def _read(self, part: str) -> tuple[list[str], bool]:
        """`EnglishRules.read`, in lower case and remembered."""
        known = self._known.get(part)
        if known is None:
            check_word(part)
            if len(self._known) + len(self._joins) >= self.remembered:
                self._begin()
            words, depends = self._rules.read(part)
            known = self._known[part] = (_lower(words), depends)
        return known


def _parts(chunks: str) -> list[str]:
    """What spaCy sees as separated by white space."""
    return spread(straight(chunks)).split()


def _lower(words: list[str]) -> list[str]:
    return [word.lower() for word in words]
