"""Split long parts of a line as spaCy does, in linear time.

spaCy strips one prefix and one suffix at a time. Each time it searches, copies and hashes all that
remains, so its time is quadratic in a run of signs (`=-=-=-`, 100,000 times `#`). Here each search
sees only the characters at one end. Source: spaCy's tokenizer.pyx, `_split_affixes`,
`_attach_tokens` and `_apply_special_cases`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

LONG = 96
"""Length above which a part is split here: below it, spaCy's compiled code is faster."""
WINDOW = 24
"""Characters that a search for an affix sees first."""
_MARGIN = 12
"""An affix that ends nearer than this to the inner end of its window may be longer. Only the rule
for dots is unbounded; the others match at most 8 characters with their context."""
_REMEMBERED = 10_000


class LongParts:
    """Splits parts as one tokenizer of spaCy does, by its own rules.

    Args:
        rules: The tokenizer.
        affixes_only: The same without special cases; it splits what has no affix left.
        plain: Special case -> its words without special cases.
    """

    def __init__(
        self, rules: Any, affixes_only: Callable[[str], list[str]], plain: Mapping[str, list[str]]
    ) -> None:
        from spacy.symbols import ORTH

        self._affixes_only = affixes_only
        self._special = {
            case: [token[ORTH] for token in tokens] for case, tokens in rules.rules.items()
        }
        self._phrases = {tuple(words) for case, words in plain.items() if _matched(rules, case)}
        self._longest = max(map(len, self._phrases), default=0)
        self._prefix = _Affix(rules.find_prefix)
        self._suffix = _Affix(rules.find_suffix, at_end=True)

    def split(self, line: str) -> list[str]:
        """Split a line, whose parts are separated by single spaces, into words."""
        words: list[str] = []
        last = set()  # indices of words before a space
        for part in line.split(" "):
            words += self.split_affixes(part, self._special)
            last.add(len(words) - 1)
        return self._with_cases(words, last)

    def split_affixes(self, part: str, special: Mapping[str, list[str]] | None = None) -> list[str]:
        """Split a part without white space by its affixes, except where a special case is left."""
        special = special or {}
        longest = max(map(len, special), default=0)
        prefixes: list[str] = []
        suffixes: list[str] = []
        begin, end = 0, len(part)

        def is_special(begin: int, end: int) -> bool:
            return end - begin <= longest and part[begin:end] in special

        while begin < end and not is_special(begin, end):
            before = self._prefix(part, begin, end)
            if before and is_special(begin + before, end):
                after = 0
            else:
                after = self._suffix(part, begin + before, end)
                if after and is_special(begin, end - after):
                    before = 0
            if not before and not after:
                break
            prefixes += [part[begin : begin + before]] if before else []
            suffixes += [part[end - after : end]] if after else []
            begin, end = begin + before, end - after
        middle = part[begin:end]
        between = special.get(middle) or (self._affixes_only(middle) if middle else [])
        return [*prefixes, *between, *reversed(suffixes)]

    def _with_cases(self, words: list[str], last: Collection[int]) -> list[str]:
        """Replace the special cases among the words of a line, the longest and first ones first.

        A case across a space replaces nothing, but hides those that it overlaps.
        """
        found = [
            (begin, count)
            for begin in range(len(words))
            for count in range(1, min(self._longest, len(words) - begin) + 1)
            if tuple(words[begin : begin + count]) in self._phrases
        ]
        replaced: dict[int, tuple[int, list[str]]] = {}
        seen: set[int] = set()
        for begin, count in sorted(found, key=lambda span: (-span[1], span[0])):
            inside = range(begin, begin + count)
            if inside[0] not in seen and inside[-1] not in seen:
                spaced = [words[i] + " " * (i in last and i != inside[-1]) for i in inside]
                case = self._special.get("".join(spaced), words[begin : begin + count])
                replaced[begin] = (count, case)
            seen.update(inside)
        result: list[str] = []
        index = 0
        while index < len(words):
            count, new = replaced.get(index, (1, [words[index]]))
            result += new
            index += count
        return result


class _Affix:
    """Length of the prefix, or suffix, of a slice of a text; 0 if it has none."""

    def __init__(self, find: Callable[[str], int], *, at_end: bool = False) -> None:
        self._find = find
        self._at_end = at_end
        self._known: dict[str, int] = {}

    def __call__(self, text: str, begin: int, end: int) -> int:
        size = WINDOW
        while True:
            size = min(size, end - begin)
            window = text[end - size : end] if self._at_end else text[begin : begin + size]
            length = self._known.get(window)
            if length is None:
                length = self._find(window)
                if size <= WINDOW and len(self._known) < _REMEMBERED:
                    self._known[window] = length
            if size == end - begin or length <= size - _MARGIN:
                return length
            size *= 2


def _matched(rules: Any, case: str) -> bool:
    """Whether spaCy searches lines for a special case: only if affixes can split it."""
    found = rules.find_prefix(case) or rules.find_infix(case) or rules.find_suffix(case)
    return bool(found) or " " in case
