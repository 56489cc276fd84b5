"""text_standardize of the 2018 code: dashes, ellipses, runs of punctuation set apart."""

from __future__ import annotations

import re
from collections.abc import Mapping

CHARACTERS: Mapping[str, str] = {"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"}
"""What stands for typographic signs."""
_SPACED = '-~!";?+,)(\\/*[]}{|_'
_RUN = re.compile("(" + "|".join(f"{re.escape(sign)}+" for sign in _SPACED) + ")")


def parts_of(chunk: str) -> list[str]:
    """The parts of text without white space: runs of one punctuation sign, and what is between."""
    return [part for part in _RUN.split(chunk) if part]
