"""text_standardize of the 2018 code: dashes, ellipses, and spaces round runs of punctuation."""

from __future__ import annotations

import re

_CHARACTERS = str.maketrans({"—": "-", "–": "-", "―": "-", "…": "...", "´": "'"})
_RUN = re.compile(r'([-~!";?+,)(\\/*\[\]}{|_])\1*')  # of one and the same character


def standardise(text: str) -> str:
    """Text as spaCy was given it (2018 code, text_utils): one space between words, lines apart.

    A line break becomes a word of its own, those around it go with it.
    """
    lines = (spread(line).split() for line in text.split("\n"))
    return " \n ".join(" ".join(words) for words in lines if words)


def spread(text: str) -> str:
    """Typographic dashes as hyphens, and a space on both sides of each run of punctuation.

    Nothing in it looks across white space.
    """
    return _RUN.sub(r" \g<0> ", text.translate(_CHARACTERS))
