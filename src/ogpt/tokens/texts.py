"""Check and normalize the text arguments of a tokenizer: one or several, whole or in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ogpt.errors import TokenizerError

Text = str | list[str]
"""A text, or a list of its words."""
Texts = str | Sequence[Any]
"""A text, several, or several pairs; each may be a list of words."""


def columns_of(
    texts: Texts, pairs: Texts | None, split_into_words: bool
) -> tuple[list[Sequence[Text]], bool]:
    """Return the texts, and the second texts if there are any, and whether it was a single text.

    Args:
        texts: One text or several; without `pairs`, also a list of pairs.
        pairs: Second texts.
        split_into_words: Each text is a list of words.

    Raises:
        TokenizerError: an item is not a text, or the numbers of texts and second texts differ.
    """
    if pairs is None and _are_pairs(texts, split_into_words):
        rows = list(map(tuple, texts))
        uneven = next((row for row in rows if len(row) != 2), None)
        if uneven is not None:
            raise TokenizerError(
                f"a pair of texts is {uneven!r}; allowed: two texts",
                hint="pass one text in each item, or two; for words, is_split_into_words=True",
            )
        sides = ([row[place] for row in rows] for place in (0, 1))
        return [_texts_of(side, split_into_words)[0] for side in sides], False
    firsts, single = _texts_of(texts, split_into_words)
    if pairs is None:
        return [firsts], single
    seconds = _texts_of(pairs, split_into_words)[0]
    if len(firsts) != len(seconds):
        raise TokenizerError(
            f"there are {len(firsts)} texts and {len(seconds)} second texts; allowed: equal "
            "numbers",
            hint="pass one text_pair for each text",
        )
    return [firsts, seconds], single


def _are_pairs(texts: Texts, split_into_words: bool) -> bool:
    """Return whether the first item is a pair: it holds texts, or lists of words."""
    row = texts[0] if isinstance(texts, list | tuple) and texts else None
    if not isinstance(row, list | tuple):
        return False
    return not split_into_words or (len(row) > 0 and isinstance(row[0], list | tuple))


def _texts_of(value: Texts, split_into_words: bool) -> tuple[Sequence[Text], bool]:
    """Return the texts (or lists of words) as a list, and whether it was a single text."""
    if not split_into_words:
        return as_texts(value), isinstance(value, str)
    rows = [value] if isinstance(value, str) else list(value)
    single = not any(isinstance(row, list | tuple) for row in rows)
    return [as_texts(row) for row in ([rows] if single else rows)], single


def as_texts(value: Texts) -> list[str]:
    """Return one or several texts as a list.

    Raises:
        TokenizerError: an item is not a string.
    """
    if not isinstance(value, Iterable):
        raise TokenizerError(
            f"the text is {value!r}, {type(value).__name__}; allowed: str or a list of str",
            hint="pass one text or a list of texts",
        )
    texts = [value] if isinstance(value, str) else list(value)
    for text in texts:
        if not isinstance(text, str):
            raise TokenizerError(
                f"a text is {text!r}, {type(text).__name__}; allowed: str",
                hint="pass one text or a list of texts, and second texts as text_pair",
            )
    return texts
