"""Call ftfy.fix_text, but only for the lines that it may change.

ftfy works line by line and is slow. It does not change a line of printable ASCII without
ampersands, and in a line that also has typographic dashes, ellipses and quotes it changes only the
quotes (tests/tokens/test_fixing.py searches its tables for a counter-example).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ogpt.tokens.original import missing

_UNUSUAL = re.compile("[^\t\n\x0c -%'-~‘’“”–—…]")
STRAIGHT: Mapping[str, str] = {"‘": "'", "’": "'", "“": '"', "”": '"'}
"""Curly quotes and what ftfy replaces them with; Fixer may leave them unchanged."""


class Fixer:
    """Fixes mojibake, HTML entities, ligatures, full-width letters and control characters.

    Raises:
        BackendMissing: ftfy is not installed.
    """

    def __init__(self) -> None:
        try:
            import ftfy
        except ImportError as error:
            raise missing(error) from error
        self._fix_text: Callable[..., Any] = ftfy.fix_text
        self.version: str = ftfy.__version__

    def __call__(self, text: str) -> str:
        """Return `ftfy.fix_text(text)`, except that some quotes of STRAIGHT stay curly."""
        lines = text.split("\n")
        html = text.find("<")  # ftfy decodes no entities after it: the text may be HTML
        begin = 0
        swallowed: set[int] = set()  # lines whose line break ftfy removed as part of mojibake
        for number, line in enumerate(lines):
            if _UNUSUAL.search(line):
                end = "\n" * (number < len(lines) - 1)  # so that ftfy sees "\r\n"
                entities = "auto" if html < 0 or html >= begin else False
                fixed: str = self._fix_text(line + end, unescape_html=entities)
                lines[number] = fixed.removesuffix(end)
                if not fixed.endswith(end):
                    swallowed.add(number)
            begin += len(line) + 1
        if not swallowed:
            return "\n".join(lines)
        ends = ("" if number in swallowed else "\n" for number in range(len(lines) - 1))
        return "".join(map(str.__add__, lines, [*ends, ""]))
