"""AddedInText: find added tokens in a text, as the Rust library does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tokenizers import AddedToken


class AddedInText:
    """Finds added tokens in a text before it is split into words.

    Args:
        tokens: The added tokens; longer ones have priority.
    """

    def __init__(self, tokens: Iterable[AddedToken]) -> None:
        longest_first = sorted(tokens, key=lambda token: -len(token.content))
        patterns = list(map(_pattern, longest_first)) or ["(?!)"]  # which never matches
        self._pattern = re.compile("|".join(patterns))  # one group per token
        self._contents = [token.content for token in longest_first]

    def is_in(self, text: str) -> bool:
        """Return whether a text has an added token."""
        return self._pattern.search(text) is not None

    def parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Split a text at its added tokens; True marks an added token, in its original form."""
        begin = 0
        for match in self._pattern.finditer(text):
            if begin < match.start():
                yield text[begin : match.start()], False
            yield self._contents[(match.lastindex or 1) - 1], True
            begin = match.end()
        if begin < len(text) or not begin:
            yield text[begin:], False


def _pattern(token: AddedToken) -> str:
    """Make a regular expression for an added token (a group) and the white space it strips."""
    content = f"({re.escape(token.content)})"
    if token.normalized and not token.special:
        content = f"(?i:{content})"
    if token.single_word:
        content = rf"(?<!\w){content}(?!\w)"
    return r"\s*" * token.lstrip + content + r"\s*" * token.rstrip
