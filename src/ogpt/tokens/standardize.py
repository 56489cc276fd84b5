"""text_standardize of the 2018 code (text_utils.py): plain dashes, punctuation set apart."""

from __future__ import annotations

import re
from collections.abc import Mapping

CHARACTERS: Mapping[str, str] = {"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"}
"""Replacements of typographic characters."""
_SPACED = '-~!";?+,)(\\/*[]}{|_'
_RUN = re.compile("(" + "|".join(f"{re.escape(sign)}+" for sign in _SPACED) + ")")


def parts_of(chunk: str) -> list[str]:
    """Split a chunk into runs of one punctuation character and what is between them."""
    return [part for part in _RUN.split(chunk) if part]
