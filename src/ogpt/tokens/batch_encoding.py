"""BatchEncoding: model inputs from a tokenizer, with the origin of each token in the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Encoding

from ogpt.errors import TokenizerError
from ogpt.notices import listening


class BatchEncoding(dict[str, Any]):
    """Model inputs by name (`input_ids`, `attention_mask`, ...), also as attributes.

    A single text has flat lists, several texts have lists of lists, and `return_tensors` makes
    arrays (B, T). An integer index returns the Rust Encoding of one text, with tokens, offsets and
    words.

    Args:
        data: Model inputs by name.
        encodings: One Rust Encoding per text, or a function that makes them on first use: most
            callers need only the ids, which are found much faster.
    """

    def __init__(
        self,
        data: dict[str, Any],
        encodings: Sequence[Encoding] | Callable[[], Sequence[Encoding]] = (),
    ) -> None:
        super().__init__(data)
        self._encodings = encodings

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

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, int):
            return self._encoding(key)
        return super().__getitem__(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return (BatchEncoding, (dict(self), self.encodings))

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of one text."""
        return self._encoding(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return the index of the word of each token of one text; None for padding."""
        return self._encoding(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return 0 or 1, the text of a pair that each token belongs to; None for padding."""
        return self._encoding(batch_index).sequence_ids

    def offsets(self, batch_index: int = 0) -> list[tuple[int, int]]:
        """Return first and past-the-end character of each token of one text."""
        return self._encoding(batch_index).offsets

    def char_to_token(
        self, char_index: int, batch_index: int = 0, sequence_index: int = 0
    ) -> int | None:
        """Return the index of the token that contains a character of a text, or None."""
        return self._encoding(batch_index).char_to_token(char_index, sequence_index)

    def to(self, device: Any) -> BatchEncoding:
        """Move the PyTorch tensors to `device`, in place."""
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device)
        return self

    def _encoding(self, index: int) -> Encoding:
        if not -len(self.encodings) <= index < len(self.encodings):
            raise TokenizerError(
                f"batch_index is {index}; allowed: 0 to {len(self.encodings) - 1}",
                hint="pass the index of a text in the call of the tokenizer, from 0",
            )
        return self.encodings[index]


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


def without_notices(encode: Callable[[], list[Encoding]]) -> list[Encoding]:
    """Encode again without notices, which the first pass has emitted already."""
    with listening(lambda notice: None):
        return encode()
