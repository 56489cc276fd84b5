"""BatchEncoding: model inputs from a tokenizer, with the origin of each token in the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

from tokenizers import Encoding

from ogpt.errors import TokenizerError
from ogpt.notices import listening
from ogpt.tokens.tensor_conversion import tensors_kind, to_tensor

Encodings = Sequence[Encoding] | Callable[[], Sequence[Encoding]]


class CharSpan(NamedTuple):
    """Characters of a text: the first, and the one past the last."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens of a row: the first, and the one past the last."""

    start: int
    end: int


class BatchEncoding(dict[str, Any]):
    """Model inputs by name (`input_ids`, `attention_mask`, ...), also as attributes.

    A single text has flat lists, several texts have lists of lists, and `return_tensors` makes
    arrays (B, T). An integer index returns the Rust Encoding of one text, with tokens, offsets and
    words. In the methods about a token, word or character, the index of a text in the batch comes
    first; with one index alone, it is that of the token in the first text.

    Args:
        data: Model inputs by name.
        encoding: One Rust Encoding per text, or a function that makes them on first use: most
            callers need only the ids, which are found much faster.
        tensor_type: "np", "pt" or "tf" to convert the data.
        prepend_batch_axis: Make arrays (1, T) of one row.
        n_sequences: 1 for texts, 2 for pairs; None asks the encodings.
        is_fast: Whether the characters of tokens are known.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Encoding | Encodings | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
        *,
        is_fast: bool = True,
    ) -> None:
        super().__init__(data or {})
        self._encodings = [encoding] if isinstance(encoding, Encoding) else encoding or ()
        self._n_sequences = n_sequences
        self._knows_characters = is_fast
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @property
    def data(self) -> dict[str, Any]:
        """The model inputs by name."""
        return self

    @property
    def is_fast(self) -> bool:
        """Whether the characters of tokens are known."""
        return self._knows_characters and bool(self._encodings)

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs, None for rows that were padded or made of ids."""
        if self._n_sequences is None and self._encodings:
            self._n_sequences = self.encodings[0].n_sequences
        return self._n_sequences

    @property
    def encodings(self) -> list[Encoding]:
        """One Encoding per text."""
        if callable(self._encodings):
            self._encodings = self._encodings()
        return list(self._encodings)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"BatchEncoding has no {name!r}; it has {', '.join(self)}"
            ) from None

    def __getitem__(self, item: str | int | slice) -> Any:
        if isinstance(item, int):
            return self._encoding(item)
        if isinstance(item, slice):
            return self.encodings[item] or {name: value[item] for name, value in self.items()}
        return super().__getitem__(item)

    def __reduce__(self) -> tuple[Any, ...]:
        held = (dict(self), self.encodings, None, False, self.n_sequences)
        return (_unpickled, (held, self._knows_characters))

    def copy(self) -> Self:
        """Return a copy with the same values."""
        return self.__copy__()

    def __copy__(self) -> Self:
        return type(self)(
            dict(self),
            self._encodings,
            n_sequences=self._n_sequences,
            is_fast=self._knows_characters,
        )

    # ---- each token of one text

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of one text."""
        return self._encoding(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the index of the word of each token of one text; None for padding."""
        return self._encoding(batch_index).word_ids

    words = word_ids  # its name in version 4 of transformers

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return 0 or 1, the text of a pair that each token belongs to; None for padding."""
        return self._encoding(batch_index).sequence_ids

    def offsets(self, batch_index: int = 0) -> list[tuple[int, int]]:
        """Return first and past-the-end character of each token of one text."""
        return self._with_characters(batch_index).offsets

    # ---- one token, word or character

    def token_to_sequence(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> int | None:
        """Return 0 or 1, the text of a pair that a token belongs to; None for padding."""
        batch, token = _places(batch_or_token_index, token_index)
        return self._encoding(batch).token_to_sequence(self._token_place(batch, token))

    def token_to_word(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> int | None:
        """Return the index of the word of a token; None for padding."""
        batch, token = _places(batch_or_token_index, token_index)
        return self._encoding(batch).token_to_word(self._token_place(batch, token))

    def token_to_chars(
        self, batch_or_token_index: int, token_index: int | None = None
    ) -> CharSpan | None:
        """Return the characters of a token; None for padding and tokens of a template."""
        batch, token = _places(batch_or_token_index, token_index)
        found = self._with_characters(batch).token_to_chars(token)
        return None if found is None else CharSpan(*found)

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens of a word; None if it has none."""
        batch, word = _places(batch_or_word_index, word_index)
        found = self._encoding(batch).word_to_tokens(word, sequence_index)
        return None if found is None else TokenSpan(*found)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters of a word; None if it has none."""
        batch, word = _places(batch_or_word_index, word_index)
        found = self._with_characters(batch).word_to_chars(word, sequence_index)
        return None if found is None else CharSpan(*found)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the index of the token that contains a character of a text, or None."""
        batch, char = _places(batch_or_char_index, char_index)
        return self._with_characters(batch).char_to_token(char, sequence_index)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the index of the word that contains a character of a text, or None."""
        batch, char = _places(batch_or_char_index, char_index)
        return self._with_characters(batch).char_to_word(char, sequence_index)

    # ---- tensors

    def convert_to_tensors(
        self, tensor_type: str | None = None, prepend_batch_axis: bool = False
    ) -> Self:
        """Convert the values to arrays of "np", "pt" or "tf", in place; None leaves them.

        Raises:
            TokenizerError: another tensor_type, or values that have no common shape.
            BackendMissing: the framework is not installed.
        """
        if tensor_type is not None:
            kind = tensors_kind(tensor_type)
            for name, value in list(self.items()):
                self[name] = to_tensor(name, [value] if prepend_batch_axis else value, kind)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> Self:
        """Move the PyTorch tensors to `device`, in place."""
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device, non_blocking=non_blocking)
        return self

    def _encoding(self, index: int) -> Encoding:
        held = self.encodings
        if not held:
            raise TokenizerError(
                "these model inputs were made of ids, so their tokens in a text are unknown",
                hint="ask what calling the tokenizer with a text returned, before padding it",
            )
        if not -len(held) <= index < len(held):
            raise TokenizerError(
                f"batch_index is {index}; allowed: 0 to {len(held) - 1}",
                hint="pass the index of a text in the call of the tokenizer, from 0",
            )
        return held[index]

    def _with_characters(self, index: int) -> Encoding:
        if not self._knows_characters:
            raise TokenizerError(
                "the characters of tokens are unknown: ftfy changes the text before it is split",
                hint="use OpenAIGPTTokenizerFast",
            )
        return self._encoding(index)

    def _token_place(self, batch: int, token: int) -> int:
        """Return the place of a token; a negative one counts from the end."""
        return token + len(self._encoding(batch)) if token < 0 else token


def _places(first: int, second: int | None) -> tuple[int, int]:
    """Return the index in the batch, and that of a token, word or character."""
    return (0, first) if second is None else (first, second)


def _unpickled(held: tuple[Any, ...], is_fast: bool) -> BatchEncoding:
    return BatchEncoding(*held, is_fast=is_fast)


FIELDS: dict[str, Callable[[Any], Any]] = {
    "input_ids": lambda encoding: encoding.ids,
    # 1 for the second text of a pair, 0 for the first and for padding
    "token_type_ids": lambda encoding: [sequence or 0 for sequence in encoding.sequence_ids],
    "attention_mask": lambda encoding: encoding.attention_mask,
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
}
"""How each model input is found in an Encoding."""


def concatenated(row: list[Encoding]) -> Encoding:
    """Concatenate the texts of a row; each token keeps the index of its text."""
    for sequence, part in enumerate(row):
        part.set_sequence_id(sequence)  # after truncation, which resets it
    return Encoding.merge(row, growing_offsets=False)


def without_notices(encode: Callable[[], Iterable[Encoding]]) -> list[Encoding]:
    """Encode again without notices, which the first pass has emitted already."""
    with listening(lambda notice: None):
        return list(encode())
