"""Check and normalize the text arguments of a tokenizer: one or several, whole or in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from ogpt.errors import TokenizerError

T = TypeVar("T")
Text = str | list[str]
"""A text, or a list of its words."""


def columns_of(texts: Sequence[T], pairs: Sequence[T] | None) -> list[Sequence[T]]:
    """Return the texts, and the second texts if there are any.

    Raises:
        TokenizerError: their numbers differ.
    """
    if pairs is None:
        return [texts]
    if len(texts) != len(pairs):
        raise TokenizerError(
            f"there are {len(texts)} texts and {len(pairs)} second texts; allowed: equal numbers",
            hint="pass one text_pair for each text",
        )
    return [texts, pairs]


def texts_of(value: str | Sequence[Text], split_into_words: bool) -> tuple[Sequence[Text], bool]:
    """Return the texts (or lists of words) as a list, and whether it was a single text."""
    if not split_into_words:
        return as_texts(value), isinstance(value, str)  # type: ignore[arg-type]  # checked inside
    rows = [value] if isinstance(value, str) else list(value)
    single = not any(isinstance(row, list | tuple) for row in rows)
    return [as_texts(row) for row in ([rows] if single else rows)], single  # type: ignore[arg-type]


def as_texts(value: str | Sequence[str]) -> list[str]:
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
