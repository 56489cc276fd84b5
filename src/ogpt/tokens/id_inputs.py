"""IdInputs: model inputs of token ids, without their text: template, truncation, padding."""

from __future__ import annotations

import reprlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ogpt.errors import TokenizerError
from ogpt.tokens import shaping
from ogpt.tokens.batch_encoding import BatchEncoding
from ogpt.tokens.call_options import CallOptions
from ogpt.tokens.ids_to_text import IdsToText
from ogpt.tokens.template import Template
from ogpt.tokens.tensor_conversion import as_lists, kind_of

_PADDING = {"attention_mask": 0, "token_type_ids": 0, "special_tokens_mask": 1}
"""The model inputs that are padded with the ids, and their value at padding."""
_MADE = ("input_ids", "token_type_ids", "special_tokens_mask")


class IdInputs(IdsToText):
    """The part of a tokenizer that makes model inputs of ids."""

    model_input_names: list[str]
    model_max_length: int
    padding_side: shaping.Side = "right"
    truncation_side: shaping.Side = "right"
    template: Template | None = None
    pad_token_type_id = 0

    @property
    @abstractmethod
    def is_fast(self) -> bool:
        """Whether the offsets of tokens in a text are known."""

    @property
    def max_len_single_sentence(self) -> int:
        """Maximum tokens of a text, without those of `template`."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """Maximum tokens of both texts of a pair, without those of `template`."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)

    # ---- the tokens of a template

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return the number of tokens that `template` adds to a text or a pair."""
        return 0 if self.template is None else self.template.count(pair)

    def build_inputs_with_special_tokens(
        self, token_ids_0: Iterable[int], token_ids_1: Iterable[int] | None = None
    ) -> list[int]:
        """Concatenate the ids of a text or a pair, with the tokens of `template`, if any."""
        return self._around(self.template, token_ids_0, token_ids_1)[0]

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Iterable[int], token_ids_1: Iterable[int] | None = None
    ) -> list[int]:
        """Return 0 for the first text and for tokens of `template`, 1 for the second text."""
        return self._around(self.template, token_ids_0, token_ids_1)[1]

    def get_special_tokens_mask(
        self,
        token_ids_0: Iterable[int],
        token_ids_1: Iterable[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 for each special token.

        Args:
            token_ids_0: Ids of a text.
            token_ids_1: Ids of a second text.
            already_has_special_tokens: The ids have their special tokens. False marks those that
                build_inputs_with_special_tokens would add.
        """
        if already_has_special_tokens:
            special = set(self.all_special_ids)
            return [int(token in special) for token in [*token_ids_0, *(token_ids_1 or ())]]
        return self._around(self.template, token_ids_0, token_ids_1)[2]

    def _around(
        self, template: Template | None, first: Iterable[int], second: Iterable[int] | None
    ) -> tuple[list[int], list[int], list[int]]:
        """Return ids, token types, and 1 for each token of the template, else 0."""
        parts: list[tuple[list[int], int, int]] = [(list(first), 0, 0)]
        if second is not None:
            parts.append((list(second), 1, 0))
        if template is not None:
            start, middle, end = (([token], 0, 1) for token in self._ids_of(template))
            parts = [start, parts[0], *([middle, parts[1]] if second is not None else ()), end]
        return (
            [token for ids, _, _ in parts for token in ids],
            [kind for ids, kind, _ in parts for _ in ids],
            [marked for ids, _, marked in parts for _ in ids],
        )

    # ---- truncation

    def truncate_sequences(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: str = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Remove tokens of a text or a pair, at the side `truncation_side`.

        Args:
            ids: Ids of the text.
            pair_ids: Ids of the second text.
            num_tokens_to_remove: How many in total.
            truncation_strategy: "longest_first", "only_first" or "only_second".
            stride: Tokens beside the removed ones that are returned with them.

        Returns:
            The ids, those of the second text, and the removed ones if they are of one text.

        Raises:
            TokenizerError: the strategy cannot remove that number of tokens.
        """
        parts = [list(ids), *([] if pair_ids is None else [list(pair_ids)])]
        lengths = list(map(len, parts))
        strategy = shaping.truncation_strategy(truncation_strategy)
        kept = shaping.kept_lengths(lengths, strategy, sum(lengths) - max(num_tokens_to_remove, 0))
        left = self.truncation_side == "left"
        found = [
            part[len(part) - length :] if left else part[:length]
            for part, length in zip(parts, kept, strict=True)
        ]
        shortened = [place for place, length in enumerate(kept) if length < lengths[place]]
        removed: list[int] = []
        if len(shortened) == 1:
            part, lost = parts[shortened[0]], lengths[shortened[0]] - kept[shortened[0]]
            window = min(len(part), lost + stride)
            removed = part[:window] if left else part[len(part) - window :]
        return found[0], (found[1] if len(found) > 1 else None), removed

    def prepare_for_model(
        self,
        ids: Sequence[int],
        pair_ids: Sequence[int] | None = None,
        add_special_tokens: bool = True,
        *,
        prepend_batch_axis: bool = False,
        **options: Any,
    ) -> BatchEncoding:
        """Make model inputs of the ids of a text or a pair: add tokens, truncate, pad.

        Args:
            ids: Ids of the text.
            pair_ids: Ids of the second text.
            add_special_tokens: Put the tokens of `template` around them, if there is one.
            prepend_batch_axis: Make tensors (1, T) instead of (T,).
            options: Those of calling the tokenizer. With return_overflowing_tokens, the removed
                ids are in `overflowing_tokens`, and `num_truncated_tokens` counts them.

        Raises:
            TokenizerError: an invalid argument.
        """
        asked = CallOptions(add_special_tokens=add_special_tokens, **options)
        template = self.template if add_special_tokens else None
        reserved = template.count(pair_ids is not None) if template else 0
        limit = self.model_max_length if asked.max_length is None else asked.max_length
        cut = asked.cut(limit, reserved, self.truncation_side)
        total = len(ids) + len(pair_ids or ()) + reserved
        removed: list[int] = []
        first, second = list(ids), None if pair_ids is None else list(pair_ids)
        if cut.strategy != "do_not_truncate" and total > limit:
            shaping.tell_truncation([total - limit], limit)
            first, second, removed = self.truncate_sequences(
                first, second, total - limit, cut.strategy, asked.stride
            )
        data: dict[str, Any] = {}
        if asked.return_overflowing_tokens:
            data = {"overflowing_tokens": removed, "num_truncated_tokens": total - limit}
        wanted = asked.wanted(self.model_input_names)
        made = dict(zip(_MADE, self._around(template, first, second), strict=True))
        data |= {name: value for name, value in made.items() if wanted[name]}
        fill = asked.fill(limit, self.padding_side, self.pad_token, self.pad_token_id)
        length = shaping.padded_length(len(data["input_ids"]), fill)
        self._pad_row(data, length, fill, wanted["attention_mask"])
        if asked.return_length:
            data["length"] = len(data["input_ids"])
        return BatchEncoding(
            data, tensor_type=asked.return_tensors, prepend_batch_axis=prepend_batch_axis
        )

    # ---- padding

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Pad rows that were encoded before, as data collators do.

        Args:
            encoded_inputs: What calling the tokenizer returns, or a list of such, or a dict; of
                lists, arrays or tensors. `input_ids`, `attention_mask`, `token_type_ids` and
                `special_tokens_mask` are padded; other columns, such as labels, stay as they are.
            padding: True or "longest", "max_length", False.
            max_length: Tokens per row with padding="max_length"; None uses model_max_length.
            pad_to_multiple_of: Pad to a multiple of this number of tokens.
            padding_side: "right" or "left"; None uses that of the tokenizer.
            return_attention_mask: Add `attention_mask`; None does.
            return_tensors: "np", "pt" or "tf"; None makes what was passed.
            verbose: Has no effect.

        Raises:
            TokenizerError: there is no pad_token, rows lack `input_ids` or differ in their
                columns, or values have no common shape.
        """
        columns = _columns_of(encoded_inputs)
        if return_tensors is None:
            return_tensors = kind_of(columns["input_ids"])
        columns = {name: as_lists(value) for name, value in columns.items()}
        rows = columns["input_ids"]
        options = CallOptions(
            padding=padding, pad_to_multiple_of=pad_to_multiple_of, padding_side=padding_side
        )
        limit = self.model_max_length if max_length is None else max_length
        shaping.check_length("max_length", limit)
        fill = options.fill(limit, self.padding_side, self.pad_token, self.pad_token_id)
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        if not rows or not isinstance(rows[0], list):
            length = shaping.padded_length(len(rows), fill) if rows else 0
            self._pad_row(columns, length, fill, return_attention_mask)
            return BatchEncoding(columns, tensor_type=return_tensors)
        uneven = {name: len(value) for name, value in columns.items() if len(value) != len(rows)}
        if uneven:
            raise TokenizerError(
                f"the columns have different numbers of rows: {uneven}; allowed: {len(rows)}, as "
                "input_ids",
                hint="pass one value for each row in every column",
            )
        length = shaping.padded_length(max(map(len, rows)), fill)
        values = zip(*columns.values(), strict=True)
        padded = [dict(zip(columns, row, strict=True)) for row in values]
        for row in padded:
            self._pad_row(row, length, fill, return_attention_mask)
        return BatchEncoding(
            {name: [row[name] for row in padded] for name in padded[0]}, tensor_type=return_tensors
        )

    def _pad_row(
        self, row: dict[str, Any], length: int, fill: shaping.PaddingParams, mask: bool
    ) -> None:
        """Pad the columns of one row to `length`, in place; add an attention mask if asked."""
        ids = row["input_ids"]
        if mask:
            row.setdefault("attention_mask", [1] * len(ids))
        missing = length - len(ids)
        for name, value in {"input_ids": fill.pad_id, **_PADDING}.items():
            if name in row and missing > 0:
                gap = [value] * missing
                row[name] = [*gap, *row[name]] if fill.side == "left" else [*row[name], *gap]


def _columns_of(encoded: Any) -> dict[str, Any]:
    """Return the columns of what was encoded: a mapping, or a list of mappings.

    Raises:
        TokenizerError: it is neither, has no input_ids, or a row lacks a column.
    """
    rows = list(encoded) if isinstance(encoded, list | tuple) else []
    if rows and all(isinstance(row, Mapping) for row in rows):
        names = list(rows[0])
        lacking = [
            (place, name) for place, row in enumerate(rows) for name in names if name not in row
        ]
        if lacking:
            raise TokenizerError(
                f"row {lacking[0][0]} has no {lacking[0][1]!r}, which row 0 has",
                hint="encode all rows with the same options",
            )
        encoded = {name: [row[name] for row in rows] for name in names}
    if not isinstance(encoded, Mapping) or "input_ids" not in encoded:
        seen = list(encoded) if isinstance(encoded, Mapping) else reprlib.repr(encoded)
        raise TokenizerError(
            f"what to pad has no input_ids: {seen}",
            hint="pass what calling the tokenizer returns, or a list of such",
        )
    return {**encoded}
