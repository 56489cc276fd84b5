"""spaCy's rules for English, applied to pieces of a line, each distinct piece once.

spaCy cuts a line at white space and splits each part by prefixes, suffixes, infixes and special
cases ("don't", "U.S."). Then it looks for special cases once more over the whole line, and there a
match across white space, which comes to nothing, can hide one beside it. `read` says for which
parts that may be, and `may_join` beside which others; the rest is read without the line around it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ogpt.tokens.original import missing


class EnglishRules:
    """The blank English tokenizer of spaCy; no model is needed.

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
        """Texts whose words are listed, not found by affixes."""
        self._longest = max(map(len, self.special))
        rules = self._rules
        self._affixes_only: Any = Tokenizer(
            rules.vocab,
            prefix_search=rules.prefix_search,
            suffix_search=rules.suffix_search,
            infix_finditer=rules.infix_finditer,
            token_match=rules.token_match,
            url_match=rules.url_match,
        )
        plain = {case: self._without_cases(case) for case in self.special}
        self._neighbours = {pair for words in plain.values() for pair in pairwise(words)}
        self._changing = {
            tuple(plain[case])
            for case, tokens in rules.rules.items()
            if plain[case] != [token[ORTH] for token in tokens]
        }
        self._longest_change = max(map(len, self._changing))

    def split(self, line: str) -> list[str]:
        """The words of a line whose parts have one space between."""
        return [token.text for token in self._rules(line)]

    def read(self, part: str) -> tuple[list[str], bool]:
        """The words of a part without white space, and whether its neighbours may change them.

        They may where the last look for special cases finds one inside: where the words are not
        those of the affixes alone, or hold the words that a special case would change.
        """
        if part in self.special:
            words = self.split(part)
            return words, self._changes(words)
        if part.isascii() and part.isalpha():
            return [part], False  # no affix has letters alone
        words = self.split(part)
        if not self._holds_case(words):
            return words, False
        plain = self._without_cases(part)
        return words, words != plain or self._changes(plain)

    def _holds_case(self, words: list[str]) -> bool:
        """Whether some of the words, taken together, are a special case."""
        if len(words) == 1:
            return False
        longest = min(len(words), self._longest)
        return any(
            "".join(words[begin : begin + count]) in self.special
            for count in range(1, longest + 1)
            for begin in range(len(words) - count + 1)
        )

    def _changes(self, words: list[str]) -> bool:
        """Whether the words hold those of a special case that has others."""
        longest = min(len(words), self._longest_change)
        return any(
            tuple(words[begin : begin + count]) in self._changing
            for count in range(1, longest + 1)
            for begin in range(len(words) - count + 1)
        )

    def may_join(self, part: str, following: str) -> bool:
        """Whether a special case may be seen across the white space between two parts."""
        before = self._edges(part, -1)
        after = self._edges(following, 0)
        return any((left, right) in self._neighbours for left in before for right in after)

    def _edges(self, part: str, end: int) -> set[str]:
        """What the first (0) or last (-1) word may be while special cases are looked for."""
        words = self.split(part)
        found = {words[end], self._without_cases(part)[end]}
        for count in range(1, min(len(words), self._longest) + 1):
            span = "".join(words[:count] if end == 0 else words[-count:])
            if span in self.special:
                found.add(self._without_cases(span)[end])
        return found

    def _without_cases(self, text: str) -> list[str]:
        return [token.text for token in self._affixes_only(text)]
