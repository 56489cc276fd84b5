"""What a tokenizer is called with: one text or several, whole or in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from ogpt.errors import TokenizerError

T = TypeVar("T")
Text = str | list[str]
"""A text, or one that is split into words already."""


def columns_of(texts: Sequence[T], pairs: Sequence[T] | None) -> list[Sequence[T]]:
    """The texts, and the second texts if there are any.

    Raises:
        TokenizerError: not as many.
    """
    if pairs is None:
        return [texts]
    if len(texts) != len(pairs):
        raise TokenizerError(
            f"{len(texts)} texts came with {len(pairs)} pairs",
            hint="give one text_pair for every text",
        )
    return [texts, pairs]


def texts_of(value: str | Sequence[Text], split_into_words: bool) -> tuple[Sequence[Text], bool]:
    """The texts (or lists of words) as a list, and whether one alone was given."""
    if not split_into_words:
        return as_texts(value), isinstance(value, str)  # type: ignore[arg-type]  # checked inside
    rows = list(value)
    single = not any(isinstance(row, list | tuple) for row in rows)
    return [as_texts(row) for row in ([rows] if single else rows)], single  # type: ignore[arg-type]


def as_texts(value: str | Sequence[str]) -> list[str]:
    """One text or several as a list.

    Raises:
        TokenizerError: something in it is not text.
    """
    if not isinstance(value, Iterable):
        raise TokenizerError(
            f"the text is {value!r}, {type(value).__name__}; it must be str or a list of them",
            hint="give one text or a list of texts",
        )
    texts = [value] if isinstance(value, str) else list(value)
    for text in texts:
        if not isinstance(text, str):
            raise TokenizerError(
                f"a text is {text!r}, {type(text).__name__}; it must be str",
                hint="give one text or a list of texts; text_pair takes the second texts",
            )
    return texts
