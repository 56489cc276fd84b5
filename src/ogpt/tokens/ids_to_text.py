"""IdsToText: token ids to tokens and text, and tokens to ids.

Two corrections of transformers: skip_special_tokens keeps `<unk>`, and ids beyond the vocabulary
become `<unk>` instead of vanishing.
"""

from __future__ import annotations

import reprlib
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import numpy as np

from ogpt.errors import TokenizerError, TokenOutOfRange
from ogpt.tokens import shaping
from ogpt.tokens.cleaning import clean_up_tokenization
from ogpt.tokens.special_tokens import SpecialTokens
from ogpt.tokens.surface import Surface, readable


class IdsToText(SpecialTokens):
    """The part of a tokenizer that turns ids into tokens and text."""

    pre_tokenizer: str
    clean_up_tokenization_spaces: bool
    clean_up_tokenization = staticmethod(clean_up_tokenization)

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """Number of entries in the vocabulary, without added tokens."""

    @abstractmethod
    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens to text."""

    @abstractmethod
    def _text_of(self, ids: list[int]) -> str:
        """Return the text of ids in the vocabulary."""

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        *,
        spaces_between_special_tokens: bool | None = None,
        skip_unknown: bool = False,
        surface: Surface = "raw",
        keep_lower: bool = False,
    ) -> Any:
        """Convert ids to text: words in lower case and single spaces, or all of a byte-level text.

        Args:
            token_ids: An id, or a list, array or tensor of ids. Several rows give a list of texts.
            skip_special_tokens: Omit special tokens, except `<unk>`.
            clean_up_tokenization_spaces: Remove spaces before punctuation and contractions; None
                uses the setting of the tokenizer.
            spaces_between_special_tokens: Put a space (True) or nothing (False) around added
                tokens that have no name, as the slow class of transformers does. None joins them
                as the fast class and version 5 do.
            skip_unknown: Omit `<unk>` too (as skip_special_tokens of Hugging Face does).
            surface: "readable" restores the spaces, quotes and capitals of English instead.
            keep_lower: Add no capitals to the readable surface.

        Raises:
            TokenizerError: token_ids are not integers, or surface is another word.
            TokenOutOfRange: an id is negative, or beyond a vocabulary without `<unk>`.
        """
        shaping.check_choice("surface", surface, Surface)
        values = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        if _are_rows(values):
            return [
                self.decode(
                    row,
                    skip_special_tokens,
                    clean_up_tokenization_spaces,
                    spaces_between_special_tokens=spaces_between_special_tokens,
                    skip_unknown=skip_unknown,
                    surface=surface,
                    keep_lower=keep_lower,
                )
                for row in values
            ]
        ids = self._without(self._known_ids(values), skip_special_tokens, skip_unknown)
        if spaces_between_special_tokens is None:
            text = self._text_of(ids)
        else:
            text = self._parted(ids, " " * spaces_between_special_tokens)
        if surface == "readable" and self.pre_tokenizer != "bytes":  # which loses nothing
            return readable(text, self.pre_tokenizer, keep_lower=keep_lower)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        return clean_up_tokenization(text) if clean_up_tokenization_spaces else text

    def batch_decode(
        self, sequences: Iterable[Any], skip_special_tokens: bool = False, **options: Any
    ) -> list[str]:
        """Decode each row; `options` are those of decode."""
        return [self.decode(ids, skip_special_tokens, **options) for ids in sequences]

    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> Any:
        """Return the token of an id, or a list of tokens; ids beyond the vocabulary are `<unk>`.

        Args:
            ids: An id, or several.
            skip_special_tokens: Omit special tokens from a list, except `<unk>`.

        Raises:
            TokenizerError: ids are not one row of integers.
            TokenOutOfRange: an id is negative, or beyond a vocabulary without `<unk>`.
        """
        known = self._known_ids(ids)
        if isinstance(ids, int | np.integer):
            return self._token_of(known[0])
        return list(map(self._token_of, self._without(known, skip_special_tokens, False)))

    def convert_tokens_to_ids(self, tokens: str | Iterable[str] | None) -> Any:
        """Return the id of a token, or a list of ids; unknown tokens get unk_token_id."""
        if tokens is None:
            return None
        if isinstance(tokens, str):
            known = self._id_of(tokens)
            return self.unk_token_id if known is None else known
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def _without(self, ids: list[int], special: bool, unknown: bool) -> list[int]:
        """Omit the special tokens (except `<unk>`), the unknown ones, or both."""
        omitted: set[int | None] = set(self.all_special_ids) if special else set()
        omitted.discard(self.unk_token_id)
        if unknown:
            omitted.add(self.unk_token_id)
        return [token for token in ids if token not in omitted] if omitted else ids

    def _parted(self, ids: list[int], between: str) -> str:
        """Join the text of ids apart from added tokens without a name, and these."""
        named = set(self._special_tokens.values())
        apart = {
            token.content
            for index, token in self.added_tokens_decoder.items()
            if token.content not in named
            and (index >= self.vocab_size or token.content not in self._additional)
        }
        parts: list[list[str]] = [[]]
        for token in map(self._token_of, ids):
            if token in apart:
                parts += [[token], []]
            else:
                parts[-1].append(token)
        texts = (
            part[0] if place % 2 else self.convert_tokens_to_string(part)
            for place, part in enumerate(parts)
        )
        return between.join(text for text in texts if text)

    def _known_ids(self, token_ids: Any) -> list[int]:
        """Convert ids to a list of integers; ids beyond the vocabulary become unk_token_id."""
        values: Any = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        try:
            ids = [index(value) for value in ([values] if isinstance(values, int) else values)]
        except TypeError as error:
            raise TokenizerError(
                f"token ids are {reprlib.repr(values)}; allowed: one row of integers",
                hint="use batch_decode for several rows",
            ) from error
        if min(ids, default=0) < 0:
            raise TokenOutOfRange(
                f"token id {min(ids)} is negative; allowed: 0 to {len(self) - 1}",
                hint="remove padding and ignored labels (-100) before decoding",
            )
        size, unknown = len(self), self.unk_token_id
        if unknown is None and max(ids, default=0) >= size:
            raise TokenOutOfRange(
                f"token id {max(ids)} is not in the vocabulary; allowed: 0 to {size - 1}",
                hint="use the tokenizer that the model was trained with",
            )
        return [value if value < size else unknown or 0 for value in ids]


def _are_rows(values: Any) -> bool:
    """Return whether ids are several rows: lists, arrays or tensors of one dimension."""
    return (
        isinstance(values, list | tuple)
        and len(values) > 0
        and all(isinstance(row, list | tuple) or np.ndim(row) == 1 for row in values)
    )
