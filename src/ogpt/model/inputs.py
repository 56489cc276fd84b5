"""Check what a caller passes to a model, and flatten it to N rows of T tokens.

Any shape before T is allowed: (B, T) for texts, (B, K, T) for K choices, (T,) for one text. Inside
a model all of them are N rows; `InputShape.restore` undoes it for the outputs.

Checks of values (ids within the vocabulary, masks of 0 and 1) run where reading them is cheap
(`tensors.is_readable`): not on a GPU, nor under torch.compile.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ogpt.config.call_errors import (
    HIDDEN_SCORE,
    ONE_VALUE_PER_TOKEN,
    SAME_TOKENIZER,
    refused,
    unknown_argument,
)
from ogpt.errors import ConfigError
from ogpt.model.cache import KVCache
from ogpt.model.tensors import is_readable
from ogpt.notices import tell


class InputShape(NamedTuple):
    """Shape of an input of token ids: the axes before T, and T."""

    leading: tuple[int, ...]
    T: int

    @property
    def N(self) -> int:  # noqa: N802  # rows, in the legend of shapes
        """Number of rows."""
        return math.prod(self.leading)

    def restore(self, x: Tensor) -> Tensor:
        """(N, ...) -> (*leading, ...)."""
        return x if len(self.leading) == 1 else x.reshape((*self.leading, *x.shape[1:]))


def input_shape(input_ids: Tensor | None, inputs_embeds: Tensor | None, n_embd: int) -> InputShape:
    """The shape of an input, from its ids or its embeddings.

    Raises:
        ConfigError: both or neither were passed, there are no tokens, the ids are not integers, or
            the embeddings are not n_embd wide.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise refused("not-one-input", given="neither" if input_ids is None else "both")
    if input_ids is not None:
        shape = tuple(integers(input_ids, "input_ids").shape)
    else:
        assert inputs_embeds is not None  # one of the two, checked above
        if check_tensor(inputs_embeds, "inputs_embeds").ndim < 2 or (
            inputs_embeds.shape[-1] != n_embd
        ):
            raise refused("embeddings-width", shape=tuple(inputs_embeds.shape), n_embd=n_embd)
        shape = tuple(inputs_embeds.shape[:-1])
    if not shape or 0 in shape:
        raise refused("no-tokens", shape=shape)
    return InputShape(shape[:-1], shape[-1])


def check_tensor(x: object, name: str) -> Tensor:
    """Check that an argument is a tensor.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(x, Tensor):
        raise ConfigError(
            f"{name} is a {type(x).__name__}; allowed: a torch.Tensor",
            hint='use torch.tensor(...), or call the tokenizer with return_tensors="pt"',
        )
    return x


def integers(x: Tensor, name: str) -> Tensor:
    """`x` as int64.

    Raises:
        ConfigError: it is not a tensor of integers.
    """
    if check_tensor(x, name).is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise refused("not-integers", name=name, dtype=x.dtype, example=torch.int64)
    return x.long()


def to_rows(
    x: Tensor,
    shape: InputShape,
    name: str,
    hint: str = ONE_VALUE_PER_TOKEN,
    one_for_all: bool = True,
) -> Tensor:
    """One value for each token, as (N, T).

    Args:
        x: (*leading, T) or (N, T); or (T,) or (1, T) to use the same values in every row.
        shape: Of the input.
        name: Of the argument, for errors.
        hint: For errors.
        one_for_all: Whether one row for all is allowed.

    Raises:
        ConfigError: `x` has another shape, or is not a tensor.
    """
    found = tuple(check_tensor(x, name).shape)
    allowed = (*shape.leading, shape.T)
    if _same_sizes(found, allowed) or _same_sizes(found, (shape.N, shape.T)):
        return x.reshape(shape.N, shape.T)
    if one_for_all and (_same_sizes(found, (shape.T,)) or _same_sizes(found, (1, shape.T))):
        return x.reshape(1, shape.T).expand(shape.N, shape.T)
    raise refused("other-shape", name=name, shape=found, allowed=allowed, hint=hint)


def _same_sizes(one: Sequence[int], other: Sequence[int]) -> bool:
    # one by one: as tuples, the compiler takes a size that it keeps open for another than 6
    return len(one) == len(other) and all(a == b for a, b in zip(one, other, strict=True))


def check_embedding_ids(
    ids: Tensor, table: nn.Embedding, what: str, hint: str = SAME_TOKENIZER
) -> None:
    """Check that every id has a row in `table`, where reading the values is cheap.

    Raises:
        TokenOutOfRange: an id has no row (CPU tensors, outside compile and export).
    """
    if not is_readable(ids) or ids.numel() == 0:
        return
    low, high = (int(value) for value in torch.aminmax(ids))
    rows = len(table.weight)  # an adapter of PEFT has no num_embeddings
    if low < 0 or high >= rows:
        value = low if low < 0 else high
        raise refused("no-embedding", what=what, value=value, last=rows - 1, hint=hint)


def check_context(cache: object, shape: InputShape, n_positions: int, recompute: bool) -> None:
    """Check that an input fits the context length, and the cache if there is one.

    Args:
        cache: A KVCache, or None.
        shape: Of the input.
        n_positions: Of the model.
        recompute: Whether gradient checkpointing runs each block twice.

    Raises:
        ConfigError: the cache is not ours, has other rows, or would be extended twice.
        ContextTooLong: the tokens of the input and of the cache exceed n_positions.
    """
    if cache is None:
        if n_positions < shape.T:
            raise refused("too-long", tokens=shape.T, n_positions=n_positions)
        return
    if not isinstance(cache, KVCache):
        raise ConfigError(
            f"past_key_values is a {type(cache).__name__}; allowed: an earlier call's cache",
            hint="pass use_cache=True to get a cache as past_key_values",
        )
    if recompute:  # backward would append the same tokens again
        raise ConfigError(
            "a cache was passed while training with gradient checkpointing",
            hint="omit use_cache, or call eval()",
        )
    cache.check_input(shape.N, shape.T)


def token_embeddings(
    table: nn.Embedding, input_ids: Tensor | None, inputs_embeds: Tensor | None, shape: InputShape
) -> Tensor:
    """The embedding of each token, (N, T, C), from ids or from embeddings.

    Raises:
        ConfigError: ids that are not integers.
        TokenOutOfRange: an id has no row (CPU tensors, outside compile and export).
    """
    if inputs_embeds is None:
        assert input_ids is not None  # one of the two, checked by input_shape
        input_ids = integers(input_ids, "input_ids")
        check_embedding_ids(input_ids, table, "token id")
        inputs_embeds = table(input_ids)
    return inputs_embeds.reshape(shape.N, shape.T, -1)  # (..., T, C) -> (N, T, C)


def type_embeddings(table: nn.Embedding, token_type_ids: Tensor, shape: InputShape) -> Tensor:
    """The embedding of each token's type, (N or 1, T, C): types are tokens (2018 code).

    Raises:
        ConfigError: as to_rows, or ids that are not integers.
        TokenOutOfRange: as token_embeddings.
    """
    token_type_ids = integers(token_type_ids, "token_type_ids")
    check_embedding_ids(token_type_ids, table, "token type id")
    found: Tensor = table(to_rows(token_type_ids, shape, "token_type_ids"))
    return found


# masks


def mask_rows(mask: Tensor, shape: InputShape, S: int, n_head: int) -> Tensor:
    """An attention mask as bool (N, S), (N, T, S) or (N, n_head, T, S).

    Raises:
        ConfigError: as check_mask.
    """
    axes = check_tensor(mask, "attention_mask").ndim - len(shape.leading)
    has_leading = (
        len(shape.leading) != 1 and tuple(mask.shape[: len(shape.leading)]) == shape.leading
    )
    if has_leading and 1 <= axes <= 3:  # (B, K, S) -> (N, S), and so on; (N, S) stays as it is
        mask = mask.reshape(shape.N, *mask.shape[len(shape.leading) :])
    if mask.ndim == 4:
        mask = _of_additive(mask) if mask.is_floating_point() else mask
        if mask.shape[1:3] == (1, 1) and mask.shape[0] in (1, shape.N):  # one value for each token
            mask = mask[:, 0, 0].expand(shape.N, -1)  # (N or 1, 1, 1, S) -> (N, S)
    return check_mask(mask, shape.N, shape.T, S, n_head)


def _of_additive(mask: Tensor) -> Tensor:
    """A mask of floats that may be additive, (N, 1 or n_head, T or 1, S), as 1 and 0.

    Without a number above 0 it is additive: the numbers are added to the scores, so that hidden
    keys have very low ones. All zeros hide nothing.

    Raises:
        ConfigError: a number that changes scores but hides nothing (where it can be read).
    """
    positive = (mask > 0).any()
    if is_readable(mask):
        if positive:
            return mask
        odd = mask[(mask != 0) & ~(mask <= HIDDEN_SCORE)]  # NaN too
        if len(odd):
            raise refused("mask-bias", odd=odd[0].item(), hidden=HIDDEN_SCORE)
    return torch.where(positive, mask != 0, mask > HIDDEN_SCORE)


def check_mask(mask: Tensor, N: int, T: int, S: int, n_head: int) -> Tensor:
    """Check the shape of an attention mask; return it as bool with N rows.

    Raises:
        ConfigError: the shape does not fit, or the mask holds a value other than 0 and 1 (CPU
            tensors, outside compile and export), as the additive masks of other libraries do.
    """
    shape = tuple(mask.shape)
    if mask.ndim == 2:  # compare nothing else: torch.export makes a guard of each comparison
        fits = shape == (N, S)
    else:
        square = shape[-2:] == (T, S) and shape[0] in (1, N)
        fits = square and (mask.ndim == 3 or (mask.ndim == 4 and shape[1] in (1, n_head)))
    if not fits:
        three, four = (N, T, S), (N, n_head, T, S)
        raise refused("mask-shape", shape=shape, two=(N, S), three=three, four=four)
    kept = mask != 0
    if (
        is_readable(mask)
        and mask.dtype != torch.bool
        and not torch.equal(kept.to(mask.dtype), mask)
    ):
        raise refused("mask-value", odd=mask[(mask != 0) & (mask != 1)].flatten()[0].item())
    return kept


def positions_from_mask(mask: Tensor, columns: Tensor | None) -> Tensor:
    """Positions that skip padding, (N, T): padding on the left does not move a text.

    Args:
        mask: (N, S), S counting cached tokens too.
        columns: As in at_columns.
    """
    return at_columns((mask.long().cumsum(-1) - 1).clamp(min=0), columns)


def at_columns(x: Tensor, columns: Tensor | None) -> Tensor:
    """The values (N, T) of x (N, S) at `columns` (N or 1, T); None: all of them."""
    return x if columns is None else x.gather(-1, columns.expand(len(x), -1))


def layer_head_masks(
    head_mask: Tensor, n_layer: int, n_head: int, device: torch.device, dtype: torch.dtype
) -> Tensor:
    """A head mask as (n_layer, n_head).

    Raises:
        ConfigError: it has another shape, or is not a tensor.
    """
    shape = (n_layer, n_head)
    if tuple(check_tensor(head_mask, "head_mask").shape) not in (shape, shape[1:]):
        found = tuple(head_mask.shape)
        raise refused("head-mask-shape", shape=found, one=shape[1:], all=shape)
    return head_mask.to(device, dtype).expand(shape)


# arguments by name


def known_options(
    options: Mapping[str, Any],
    forward: Callable[..., Any],
    arguments: str,
    allowed: Collection[str] = (),
) -> None:
    """Check arguments by name that `forward` does not name. A misspelt one is an error.

    Args:
        options: Keyword arguments that are not in the signature of `forward`.
        forward: The function they were passed to; the error lists its arguments.
        arguments: `Parity.arguments`: "ignore" drops unknown names with a notice.
        allowed: Names that `forward` uses although its signature lacks them.

    Raises:
        UnknownArgument: a name that is not allowed, and arguments is "refuse".
    """
    unknown = sorted(name for name in options if name not in allowed)
    if unknown and arguments == "ignore":
        if not torch.compiler.is_compiling():
            tell("arguments-ignored", names=", ".join(unknown))
    elif unknown:
        own = [*inspect.signature(forward).parameters][1:-1]  # without self and the rest
        raise unknown_argument(unknown, [*own, *allowed], "forward")
