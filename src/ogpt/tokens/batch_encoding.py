"""What a tokenizer returns: a dict of model inputs that also knows where each token came from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tokenizers import Encoding

from ogpt.errors import TokenizerError


class BatchEncoding(dict[str, Any]):
    """Model inputs by name (`input_ids`, `attention_mask`, ...), also as attributes.

    A single text gives flat lists, a list of texts lists of lists, `return_tensors` arrays (B, T).
    `encodings` holds one Rust Encoding for each text, with tokens, offsets and words; an integer
    index gives that Encoding. They may be given as a function that makes them when asked for.
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
        """An Encoding for each text."""
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
        """The tokens of one text."""
        return self._encoding(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """The number of the word that each token of one text is a part of; None for padding."""
        return self._encoding(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """0 or 1, the text of a pair that each token comes from; None for padding."""
        return self._encoding(batch_index).sequence_ids

    def offsets(self, batch_index: int = 0) -> list[tuple[int, int]]:
        """First and past-the-end character of each token of one text."""
        return self._encoding(batch_index).offsets

    def char_to_token(
        self, char_index: int, batch_index: int = 0, sequence_index: int = 0
    ) -> int | None:
        """The token that holds a character of a text; None if no token does."""
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
                f"there is no text {index} in this batch of {len(self.encodings)}",
                hint="batch_index counts the texts given to the tokenizer, from 0",
            )
        return self.encodings[index]
