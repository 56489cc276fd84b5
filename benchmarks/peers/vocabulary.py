"""A vocabulary of any size, for models with random weights. Standard library only."""

from __future__ import annotations

import string
from itertools import chain, islice, product

UNKNOWN = "<unk>"


def vocabulary(size: int) -> tuple[list[str], list[tuple[str, str]]]:
    """The first `size` words by length and alphabet, and the merges that make them."""
    letters = string.ascii_lowercase
    single = [UNKNOWN, *letters, *(f"{letter}</w>" for letter in letters)]
    longer = chain.from_iterable(product(letters, repeat=length) for length in range(2, 6))
    pairs = (("".join(word[:-1]), word[-1] + end) for word in longer for end in ("", "</w>"))
    merges = list(islice(pairs, size - len(single)))
    return single + [first + second for first, second in merges], merges
