"""ftfy.fix_text, asked only about the lines that it may change.

ftfy works line by line. It leaves a line alone that holds nothing but printable ASCII without
ampersands, and of a line with typographic dashes, dots and quotes it changes the quotes only
(tests/tokens/test_fixing.py searches its tables for a counter-example).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ogpt.tokens.original import missing

_UNUSUAL = re.compile("[^\t\n\x0c -%'-~‘’“”–—…]")
STRAIGHT: Mapping[str, str] = {"‘": "'", "’": "'", "“": '"', "”": '"'}
"""The quotes that are left curled, and what ftfy makes of them."""


class Fixer:
    """Mojibake, HTML entities, ligatures, full-width letters and control characters, mended.

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
        """What `ftfy.fix_text` makes of the text, but for quotes: some of STRAIGHT stay curled."""
        lines = text.split("\n")
        html = text.find("<")  # from there on ftfy reads no entities
        begin = 0
        swallowed: set[int] = set()  # lines whose break ftfy took for a part of mojibake
        for number, line in enumerate(lines):
            if _UNUSUAL.search(line):
                end = "\n" * (number < len(lines) - 1)  # ftfy takes "\r\n" for one line break
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
