"""ControlTokens: keep the special tokens that users write apart from those of a chat template."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_START, _END = "\udc03", "\udc04"  # lone surrogates, which no text has
_MARKS = re.compile(f"[{_START}{_END}]")


class ControlTokens:
    """Marks special tokens in what users wrote, and finds the marks in a rendered chat.

    Args:
        tokens: The special tokens; longer ones have priority.
    """

    def __init__(self, tokens: Iterable[str]) -> None:
        longest_first = sorted(tokens, key=len, reverse=True)
        content = "|".join(map(re.escape, longest_first)) or "(?!)"  # which never matches
        self._tokens = re.compile(content)
        self._marked = re.compile(f"{_START}({content}){_END}|{_MARKS.pattern}")

    def marked(self, value: Any) -> Any:
        """Return a text, or all texts in lists and mappings, with marks around special tokens."""
        if isinstance(value, str):
            return self._tokens.sub(f"{_START}\\g<0>{_END}", _MARKS.sub("", value))
        if isinstance(value, Mapping):
            return {key: self.marked(each) for key, each in value.items()}
        return [self.marked(each) for each in value] if isinstance(value, list | tuple) else value

    def parts(self, text: str) -> list[tuple[str, bool]]:
        """Split a rendered chat at the marks; True is a token that a user wrote."""
        found = self._marked.split(text)  # a mark alone, cut off by the template, gives None
        return [(part, place % 2 == 1) for place, part in enumerate(found) if part]
