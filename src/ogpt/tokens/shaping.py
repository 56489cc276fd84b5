"""Encodings cut to a length, filled up to a length, and put into arrays.

The work is on objects with the interface of `tokenizers.Encoding`; rules and names are Hugging
Face's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, cast, get_args

import numpy as np
from tokenizers import Encoding

from ogpt import notices
from ogpt.errors import BackendMissing, TokenizerError

_PACKAGES = {
    "pt": ("torch", "PyTorch", "ogpt[torch]"),
    "tf": ("tensorflow", "TensorFlow", "tensorflow"),
}

Padding = Literal["longest", "max_length", "do_not_pad"]
Truncation = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Side = Literal["left", "right"]
Tensors = Literal["np", "pt", "tf"]


def check_choice(name: str, value: object, kind: Any) -> None:
    """Raise TokenizerError unless `value` is one of the values of the Literal `kind`."""
    if value not in get_args(kind):
        raise TokenizerError(
            f"{name} is {value!r}; allowed: {', '.join(map(repr, get_args(kind)))}",
            hint=f"choose one of these for {name}",
        )


def check_length(name: str, value: object) -> None:
    """Raise TokenizerError unless `value` is a whole number above 0."""
    if not isinstance(value, int) or value < 1:
        raise TokenizerError(
            f"{name} is {value!r}; allowed: 1 or more", hint=f"give {name} a whole number above 0"
        )


def side(name: str, value: str) -> Side:
    """The side to pad or truncate, checked."""
    check_choice(name, value, Side)
    return cast(Side, value)


def padding_strategy(padding: bool | str) -> Padding:
    """Hugging Face's `padding` argument as a strategy; True is "longest"."""
    if isinstance(padding, bool):
        return "longest" if padding else "do_not_pad"
    check_choice("padding", padding, Padding)
    return cast(Padding, padding)


def truncation_strategy(truncation: bool | str | None) -> Truncation:
    """Hugging Face's `truncation` argument as a strategy; True is "longest_first"."""
    if truncation is None or isinstance(truncation, bool):
        return "longest_first" if truncation else "do_not_truncate"
    check_choice("truncation", truncation, Truncation)
    return cast(Truncation, truncation)


@dataclass(frozen=True, slots=True)
class TruncationParams:
    """How rows are truncated."""

    strategy: Truncation
    max_length: int
    side: Side
    stride: int = 0
    """Tokens that what is cut off begins with again."""


def check_stride(stride: object, max_length: int) -> None:
    """Raise TokenizerError unless `stride` is a whole number from 0 to below max_length."""
    if not isinstance(stride, int) or not 0 <= stride < max_length:
        raise TokenizerError(
            f"stride is {stride!r}; allowed: 0 to {max_length - 1}, below max_length",
            hint="leave it out, or give a larger max_length",
        )


class EncodingLike(Protocol):
    """What is truncated and padded: an Encoding, or an IdRow."""

    def __len__(self) -> int:
        """Its tokens."""
        ...

    def truncate(self, max_length: int, *, direction: str) -> None:
        """Keep `max_length` tokens; direction is the side that is cut."""
        ...

    def pad(self, length: int, *, direction: str, pad_id: int, pad_token: str) -> None:
        """Fill up to `length` tokens; direction is the side that is filled."""
        ...


def truncate(rows: Sequence[Sequence[EncodingLike]], cut: TruncationParams) -> None:
    """Cut every row (one text or a pair) to `max_length` tokens, in place, with a notice.

    Raises:
        TokenizerError: `only_first` or `only_second` cannot cut enough.
    """
    if cut.strategy == "do_not_truncate":
        return
    targets = _targets(rows, cut)
    lost = [
        sum(len(part) for part in row) - sum(target)
        for row, target in zip(rows, targets, strict=True)
    ]
    if not any(lost):
        return
    notices.tell(
        "text-truncated",
        count=sum(tokens > 0 for tokens in lost),
        total=len(rows),
        max_length=cut.max_length,
        lost=sum(lost),
    )
    for row, target in zip(rows, targets, strict=True):
        for part, length in zip(row, target, strict=True):
            part.truncate(length, direction=cut.side)


def overflow(
    rows: Sequence[Sequence[Encoding]], cut: TruncationParams
) -> tuple[list[list[Encoding]], list[int]]:
    """Cut every row; what is cut off makes further rows, after that which it was cut off from.

    Of a pair only one text is cut, and the other stands in each of its rows.

    Returns:
        The rows, and of each the number of the row that it is of.

    Raises:
        TokenizerError: both texts of a pair would have to be cut.
    """
    if cut.strategy == "do_not_truncate":
        return list(map(list, rows)), list(range(len(rows)))
    found: list[list[Encoding]] = []
    samples: list[int] = []
    for sample, (row, target) in enumerate(zip(rows, _targets(rows, cut), strict=True)):
        shortened = [place for place, part in enumerate(row) if len(part) > target[place]]
        if len(shortened) > 1:
            raise TokenizerError(
                "return_overflowing_tokens was given with a pair whose texts are both too long",
                hint="give truncation='only_first' or 'only_second'",
            )
        versions = [list(row)]
        for place in shortened:
            part = row[place]
            part.truncate(
                target[place], stride=min(cut.stride, target[place] - 1), direction=cut.side
            )
            versions += [[*row[:place], more, *row[place + 1 :]] for more in part.overflowing]
        found += versions
        samples += [sample] * len(versions)
    return found, samples


def _targets(rows: Sequence[Sequence[EncodingLike]], cut: TruncationParams) -> list[list[int]]:
    """How many tokens to keep of each text of each row."""
    return [_lengths([len(part) for part in row], cut.strategy, cut.max_length) for row in rows]


def _lengths(lengths: list[int], strategy: Truncation, max_length: int) -> list[int]:
    """How many tokens of each text of a row to keep."""
    excess = sum(lengths) - max_length
    if excess <= 0:
        return lengths
    if len(lengths) == 1 and strategy != "only_second":
        return [max_length]
    if strategy == "longest_first":
        short, long = sorted(lengths)
        if short > max_length // 2:  # both are cut: half each, the longer one takes the odd token
            short = min(short, max_length // 2)
        long = max_length - short
        return [short, long] if lengths[0] <= lengths[1] else [long, short]
    cut = 0 if strategy == "only_first" else 1
    if cut >= len(lengths) or lengths[cut] <= excess:
        raise TokenizerError(
            f"truncation {strategy!r} cannot take {excess} tokens from texts of {lengths} tokens",
            hint="use truncation='longest_first' or a larger max_length",
        )
    return [length - excess * (index == cut) for index, length in enumerate(lengths)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddingParams:
    """How rows are padded."""

    strategy: Padding
    max_length: int
    multiple_of: int | None
    side: Side
    pad_token: str | None
    pad_id: int


def pad(encodings: Sequence[EncodingLike], fill: PaddingParams) -> None:
    """Fill every encoding up to a common length, in place.

    Raises:
        TokenizerError: there is no pad token.
    """
    if fill.strategy == "do_not_pad" or not encodings:
        return
    if fill.pad_token is None:
        raise TokenizerError(
            "asked to pad, but the tokenizer has no padding token",
            hint="tokenizer.add_special_tokens({'pad_token': '<pad>'}), and give the model one "
            "embedding more",
        )
    longest = max(map(len, encodings))
    length = longest if fill.strategy == "longest" else fill.max_length
    if fill.multiple_of:
        length += -length % fill.multiple_of
    for encoding in encodings:
        encoding.pad(length, direction=fill.side, pad_id=fill.pad_id, pad_token=fill.pad_token)


def to_tensor(name: str, rows: Sequence[Sequence[int]], kind: Tensors) -> Any:
    """Rows of one length as an int64 array, (B, T) or more dimensions.

    Raises:
        TokenizerError: rows of different lengths.
        BackendMissing: PyTorch is not installed.
    """
    if len({len(row) for row in rows}) > 1:
        raise TokenizerError(
            f"{name} has rows of {min(map(len, rows))} to {max(map(len, rows))} tokens, which do "
            "not fit one array",
            hint="give padding=True and truncation=True to make them one length",
        )
    array = np.array(rows, dtype=np.int64)
    if kind == "np":
        return array
    module, package, extra = _PACKAGES[kind]
    try:
        framework = import_module(module)
    except ImportError as error:
        raise BackendMissing(
            f"return_tensors={kind!r} needs {package}, which is not installed",
            hint=f"pip install '{extra}'",
        ) from error
    return framework.from_numpy(array) if kind == "pt" else framework.convert_to_tensor(array)
