"""Apply spaCy's English rules to parts of a line, so that each distinct part is split only once.

spaCy splits a line at white space, and each part by prefixes, suffixes, infixes and special cases
("don't", "U.S."). Then it searches the whole line for special cases again. There, a match across
white space has no effect, but it can hide a match beside it. `read` says for which parts this can
happen, and `may_join` beside which neighbours; all other parts are independent of the line.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from ogpt.tokens.long_parts import LONG, LongParts
from ogpt.tokens.original import missing


class EnglishRules:
    """The blank English tokenizer of spaCy; no trained model is needed.

    Raises:
        BackendMissing: spaCy is not installed.
    """

    def __init__(self) -> None:
        try:
            import spacy
            from spacy.lang.en import English
            from spacy.symbols import ORTH
            from spacy.tokenizer import Tokenizer
        except ImportError as error:
            raise missing(error) from error
        self.version: str = spacy.__version__
        self._rules: Any = English().tokenizer
        self.special = frozenset(self._rules.rules)
        """Special cases: texts whose words are listed, not found by affixes."""
        self._longest = max(map(len, self.special))
        rules = self._rules
        self._affixes_only: Any = Tokenizer(
            rules.vocab,
            prefix_search=rules.prefix_search,
            suffix_search=rules.suffix_search,
            infix_finditer=rules.infix_finditer,
            token_match=rules.token_match,
            url_match=_linear(rules.url_match),
        )
        plain = {case: self._affixes(case) for case in self.special}
        self._long = LongParts(rules, self._affixes, plain)
        self._neighbours = {pair for words in plain.values() for pair in pairwise(words)}
        self._changing = {
            tuple(plain[case])
            for case, tokens in rules.rules.items()
            if plain[case] != [token[ORTH] for token in tokens]
        }
        self._longest_change = max(map(len, self._changing))

    def split(self, line: str) -> list[str]:
        """Split a line, whose parts are separated by single spaces, into words."""
        if len(line) > LONG and any(len(part) > LONG for part in line.split(" ")):
            return self._long.split(line)
        return [token.text for token in self._rules(line)]

    def read(self, part: str) -> tuple[list[str], bool]:
        """Split a part without white space into words, and say whether neighbours may change them.

        Neighbours may change them if the final search for special cases matters inside the part:
        its words differ from those of the affixes alone, or contain words that a special case
        replaces.

        Returns:
            The words, and whether they depend on neighbours.
        """
        if part in self.special:
            words = self.split(part)
            return words, self._changes(words)
        if part.isascii() and part.isalpha():
            return [part], False  # no affix consists of letters alone
        words = self.split(part)
        if not self._holds_case(words):
            return words, False
        plain = self._without_cases(part)
        return words, words != plain or self._changes(plain)

    def _holds_case(self, words: list[str]) -> bool:
        """Return whether consecutive words, joined, are a special case."""
        if len(words) == 1:
            return False
        longest = min(len(words), self._longest)
        return any(
            "".join(words[begin : begin + count]) in self.special
            for count in range(1, longest + 1)
            for begin in range(len(words) - count + 1)
        )

    def _changes(self, words: list[str]) -> bool:
        """Return whether the words contain a sequence that a special case replaces."""
        longest = min(len(words), self._longest_change)
        return any(
            tuple(words[begin : begin + count]) in self._changing
            for count in range(1, longest + 1)
            for begin in range(len(words) - count + 1)
        )

    def may_join(self, part: str, following: str) -> bool:
        """Return whether a special case may match across the white space between two parts."""
        before = self._edges(part, -1)
        after = self._edges(following, 0)
        return any((left, right) in self._neighbours for left in before for right in after)

    def _edges(self, part: str, end: int) -> set[str]:
        """List the possible first (0) or last (-1) words in the search for special cases."""
        words = self.split(part)
        found = {words[end], self._without_cases(part)[end]}
        for count in range(1, min(len(words), self._longest) + 1):
            span = "".join(words[:count] if end == 0 else words[-count:])
            if span in self.special:
                found.add(self._without_cases(span)[end])
        return found

    def _without_cases(self, text: str) -> list[str]:
        return self._long.split_affixes(text) if len(text) > LONG else self._affixes(text)

    def _affixes(self, text: str) -> list[str]:
        return [token.text for token in self._affixes_only(text)]


def _linear(url_match: Any) -> Any:
    """Match the same texts as spaCy's pattern of URLs, in linear time.

    Before `@`, it allows `name:password` and so tries each pair of a colon and an end; `name` alone
    may hold colons too.
    """
    spacy: re.Pattern[str] = url_match.__self__
    pattern = spacy.pattern.replace(r"(?:\S+(?::\S*)?@)?", r"(?:\S+@)?")
    return re.compile(pattern, spacy.flags).match
