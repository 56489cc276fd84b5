"""Truncate and pad encodings; rules and names are Hugging Face's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast, get_args

from tokenizers import Encoding

from ogpt import notices
from ogpt.errors import TokenizerError

Padding = Literal["longest", "max_length", "do_not_pad"]
Truncation = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]
Side = Literal["left", "right"]


def check_choice(name: str, value: object, kind: Any) -> None:
    """Check that `value` is one of the values of the Literal `kind`, or raise TokenizerError."""
    if value not in get_args(kind):
        raise TokenizerError(
            f"{name} is {value!r}; allowed: {', '.join(map(repr, get_args(kind)))}",
            hint=f"pass one of these as {name}",
        )


def plain(value: Any) -> Any:
    """Return the value of an enumeration, such as transformers' PaddingStrategy; others as is."""
    return getattr(value, "value", value)


def check_length(name: str, value: object) -> None:
    """Check that `value` is an integer above 0, or raise TokenizerError."""
    if not isinstance(value, int) or value < 1:
        raise TokenizerError(
            f"{name} is {value!r}; allowed: 1 or more", hint=f"pass {name} as an integer above 0"
        )


def side(name: str, value: str) -> Side:
    """Check a side to pad or truncate, and return it."""
    check_choice(name, value, Side)
    return cast(Side, value)


def padding_strategy(padding: bool | str) -> Padding:
    """Convert Hugging Face's `padding` argument to a strategy; True is "longest"."""
    if isinstance(padding, bool):
        return "longest" if padding else "do_not_pad"
    check_choice("padding", plain(padding), Padding)
    return cast(Padding, plain(padding))


def truncation_strategy(truncation: bool | str | None) -> Truncation:
    """Convert Hugging Face's `truncation` argument to a strategy; True is "longest_first"."""
    if truncation is None or isinstance(truncation, bool):
        return "longest_first" if truncation else "do_not_truncate"
    check_choice("truncation", plain(truncation), Truncation)
    return cast(Truncation, plain(truncation))


@dataclass(frozen=True, slots=True)
class TruncationParams:
    """How to truncate rows."""

    strategy: Truncation
    max_length: int
    side: Side
    stride: int = 0
    """Tokens that an overflow row repeats from the end of the row before."""


def check_stride(stride: object, max_length: int) -> None:
    """Check that `stride` is an integer, 0 to below max_length, or raise TokenizerError."""
    if not isinstance(stride, int) or not 0 <= stride < max_length:
        raise TokenizerError(
            f"stride is {stride!r}; allowed: 0 to {max_length - 1}, below max_length",
            hint="omit it, or pass a larger max_length",
        )


class EncodingLike(Protocol):
    """The part of `tokenizers.Encoding` that truncation and padding need; IdRow has it too."""

    def __len__(self) -> int:
        """Number of tokens."""
        ...

    def truncate(self, max_length: int, *, direction: str) -> None:
        """Keep `max_length` tokens; `direction` is the side that is removed."""
        ...

    def pad(self, length: int, *, direction: str, pad_id: int, pad_token: str) -> None:
        """Pad to `length` tokens; `direction` is the side that is padded."""
        ...


def truncate(rows: Sequence[Sequence[EncodingLike]], cut: TruncationParams) -> None:
    """Truncate each row (a text or a pair) to `max_length` tokens, in place and with a notice.

    Raises:
        TokenizerError: `only_first` or `only_second` cannot remove enough tokens.
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
    tell_truncation(lost, cut.max_length)
    for row, target in zip(rows, targets, strict=True):
        for part, length in zip(row, target, strict=True):
            part.truncate(length, direction=cut.side)


def tell_truncation(lost: Sequence[int], max_length: int) -> None:
    """Emit the notice that rows are truncated; `lost` are the tokens that each row loses."""
    notices.tell(
        "text-truncated",
        count=sum(tokens > 0 for tokens in lost),
        total=len(lost),
        max_length=max_length,
        lost=sum(lost),
    )


def overflow(
    rows: Sequence[Sequence[Encoding]], cut: TruncationParams
) -> tuple[list[list[Encoding]], list[int]]:
    """Truncate each row; the removed tokens become further rows after it.

    Only one text of a pair can be truncated, and each further row repeats the other one.

    Returns:
        The rows, and for each the index of its input row.

    Raises:
        TokenizerError: both texts of a pair are too long.
    """
    if cut.strategy == "do_not_truncate":
        return list(map(list, rows)), list(range(len(rows)))
    found: list[list[Encoding]] = []
    samples: list[int] = []
    for sample, (row, target) in enumerate(zip(rows, _targets(rows, cut), strict=True)):
        shortened = [place for place, part in enumerate(row) if len(part) > target[place]]
        if len(shortened) > 1:
            raise TokenizerError(
                "return_overflowing_tokens does not support a pair whose texts are both too long",
                hint="pass truncation='only_first' or 'only_second'",
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
    """Return how many tokens of each text of each row to keep."""
    return [kept_lengths([len(part) for part in row], cut.strategy, cut.max_length) for row in rows]


def kept_lengths(lengths: list[int], strategy: Truncation, max_length: int) -> list[int]:
    """Return how many tokens of each text of a row to keep.

    Raises:
        TokenizerError: the strategy cannot remove enough tokens.
    """
    excess = sum(lengths) - max_length
    if excess <= 0:
        return lengths
    if len(lengths) == 1 and strategy != "only_second":
        return [max_length]
    if strategy == "longest_first":
        short, long = sorted(lengths)
        # If both are too long, each keeps half, and the longer one the odd token.
        if short > max_length // 2:
            short = min(short, max_length // 2)
        long = max_length - short
        return [short, long] if lengths[0] <= lengths[1] else [long, short]
    cut = 0 if strategy == "only_first" else 1
    if cut >= len(lengths) or lengths[cut] <= excess:
        raise TokenizerError(
            f"truncation {strategy!r} cannot remove {excess} tokens from texts of {lengths} tokens",
            hint="use truncation='longest_first' or a larger max_length",
        )
    return [length - excess * (index == cut) for index, length in enumerate(lengths)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddingParams:
    """How to pad rows."""

    strategy: Padding
    max_length: int
    multiple_of: int | None
    side: Side
    pad_token: str | None
    pad_id: int


def pad(encodings: Sequence[EncodingLike], fill: PaddingParams) -> None:
    """Pad all encodings to a common length, in place.

    Raises:
        TokenizerError: the tokenizer has no pad token.
    """
    length = padded_length(max(map(len, encodings), default=0), fill)
    if not encodings or not length:
        return
    for encoding in encodings:
        encoding.pad(length, direction=fill.side, pad_id=fill.pad_id, pad_token=str(fill.pad_token))


def padded_length(longest: int, fill: PaddingParams) -> int:
    """Return the length that rows are padded to; 0: they are not padded.

    Args:
        longest: Tokens of the longest row.
        fill: How to pad.

    Raises:
        TokenizerError: the tokenizer has no pad token.
    """
    if fill.strategy == "do_not_pad":
        return 0
    if fill.pad_token is None:
        raise TokenizerError(
            "cannot pad: the tokenizer has no padding token",
            hint="call tokenizer.add_special_tokens({'pad_token': '<pad>'}), and "
            "model.resize_token_embeddings(len(tokenizer))",
        )
    length = longest if fill.strategy == "longest" else fill.max_length
    return length + (-length % fill.multiple_of if fill.multiple_of else 0)
