"""IdRow: token ids with the interface of `tokenizers.Encoding`, but much faster to make."""

from __future__ import annotations

from collections.abc import Sequence


class IdRow:
    """The ids of a text or a pair of texts, which can be truncated and padded.

    Args:
        ids: Token ids.
        sequence_ids: 0 or 1, the text of a pair that each id belongs to, or None for padding.
            Omitted, all ids belong to the first text.
    """

    def __init__(self, ids: list[int], sequence_ids: list[int | None] | None = None) -> None:
        self.ids = ids
        self._sequence_ids = sequence_ids

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sequence_ids(self) -> list[int | None]:
        """The text of a pair (0 or 1) that each id belongs to; None for padding."""
        return [0] * len(self) if self._sequence_ids is None else self._sequence_ids

    @property
    def attention_mask(self) -> list[int]:
        """0 for padding, else 1."""
        return [int(sequence is not None) for sequence in self.sequence_ids]

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for padding, else 0."""
        return [int(sequence is None) for sequence in self.sequence_ids]

    def truncate(self, max_length: int, *, direction: str) -> None:
        """Keep `max_length` ids; `direction` is the side that is removed."""
        kept = slice(max_length) if direction == "right" else slice(len(self) - max_length, None)
        self.ids, self._sequence_ids = self.ids[kept], self.sequence_ids[kept]

    def pad(self, length: int, *, direction: str, pad_id: int, pad_token: str) -> None:
        """Pad to `length` ids; `direction` is the side that is padded."""
        missing = length - len(self)
        ids, sequences = [pad_id] * missing, [None] * missing
        held = self.sequence_ids
        if direction == "left":
            self.ids, self._sequence_ids = [*ids, *self.ids], [*sequences, *held]
        else:
            self.ids, self._sequence_ids = [*self.ids, *ids], [*held, *sequences]

    @classmethod
    def joined(cls, parts: Sequence[IdRow]) -> IdRow:
        """Concatenate the texts of a pair."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            [token for part in parts for token in part.ids],
            [number for number, part in enumerate(parts) for _ in part.ids],
        )
