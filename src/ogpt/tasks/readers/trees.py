"""The Stanford Sentiment Treebank as bracketed trees, one per line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ogpt.errors import DataError
from ogpt.reading import shown
from ogpt.tasks.example import Example
from ogpt.tasks.readers.decoding_lines import Drops, decoded_lines, place_of

NEUTRAL = "they are neutral"
_ROOT = re.compile(r"\(([0-4]) ")
_LEAF = re.compile(r"\([0-4] ([^()\s]+)\)")
_BRACKETS = {"-LRB-": "(", "-RRB-": ")"}


def read_trees(path: Path, drops: Drops) -> Iterator[Example]:
    """Sentences with the label of their root: 0 and 1 are negative, 3 and 4 positive.

    Raises:
        DataError: a line is no tree.
    """
    for number, line in enumerate(decoded_lines(path), 1):
        if not line.strip():
            continue
        place = place_of(path, number)
        root = _ROOT.match(line)
        words = [_BRACKETS.get(word, word).replace("\\/", "/") for word in _LEAF.findall(line)]
        if root is None or not words:
            raise DataError(
                f"{place} is {shown(line.strip())}; allowed: a tree such as (3 (2 A) (3 film))",
                hint="check that this is the file of the treebank, as downloaded",
            )
        degree = int(root[1])
        if degree == 2:
            drops[NEUTRAL] += 1
            continue
        yield Example((" ".join(words),), "positive" if degree > 2 else "negative", place)
