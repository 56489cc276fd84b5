"""CallOptions: the arguments of calling a tokenizer, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ogpt.tokens import shaping


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The arguments of calling a tokenizer, without the texts; documented there."""

    add_special_tokens: bool = True
    padding: bool | str = False
    truncation: bool | str | None = None
    max_length: int | None = None
    stride: int = 0
    is_split_into_words: bool = False
    pad_to_multiple_of: int | None = None
    padding_side: str | None = None
    return_tensors: str | None = None
    return_token_type_ids: bool | None = None
    return_attention_mask: bool | None = None
    return_overflowing_tokens: bool = False
    return_special_tokens_mask: bool = False
    return_offsets_mapping: bool = False
    return_length: bool = False
    verbose: bool = True
    split_special_tokens: bool | None = None

    def cut(self, limit: int, reserved: int, side: shaping.Side) -> shaping.TruncationParams:
        """How to truncate.

        Args:
            limit: Maximum tokens per row.
            reserved: Tokens of a template in each row.
            side: The side that is removed.

        Raises:
            TokenizerError: an invalid length, stride or strategy.
        """
        shaping.check_length("max_length", limit)
        truncation = self.truncation
        if self.max_length is not None and self.padding is False and truncation is None:
            truncation = True
        strategy = shaping.truncation_strategy(truncation)
        shaping.check_stride(self.stride, limit)
        shaping.check_length("max_length, less the special tokens,", limit - reserved)
        return shaping.TruncationParams(strategy, limit - reserved, side, self.stride)

    def fill(
        self, limit: int, side: shaping.Side, pad_token: str | None, pad_id: int | None
    ) -> shaping.PaddingParams:
        """How to pad.

        Args:
            limit: Tokens per row with padding="max_length".
            side: The side that is padded, unless padding_side names one.
            pad_token: The tokenizer's.
            pad_id: Its id.

        Raises:
            TokenizerError: an invalid multiple, strategy or side.
        """
        if self.pad_to_multiple_of is not None:
            shaping.check_length("pad_to_multiple_of", self.pad_to_multiple_of)
        return shaping.PaddingParams(
            strategy=shaping.padding_strategy(self.padding),
            max_length=limit,
            multiple_of=self.pad_to_multiple_of,
            side=shaping.side("padding_side", self.padding_side or side),
            pad_token=pad_token,
            pad_id=pad_id or 0,
        )

    def wanted(self, names: list[str]) -> dict[str, bool]:
        """Return which model inputs to make; `names` are those that the model takes."""
        types, mask = self.return_token_type_ids, self.return_attention_mask
        found: dict[str, Any] = {
            "input_ids": True,
            "token_type_ids": "token_type_ids" in names if types is None else types,
            "attention_mask": "attention_mask" in names if mask is None else mask,
            "special_tokens_mask": self.return_special_tokens_mask,
            "offset_mapping": self.return_offsets_mapping,
        }
        return found
