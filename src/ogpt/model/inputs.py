"""What a caller hands to a model, checked and laid flat.

Any shape before T is welcome: (B, T) for texts, (B, K, T) for choices, (T,) for one text. Inside,
all of it is N rows of T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ogpt.errors import ConfigError, TokenOutOfRange, UnknownArgument
from ogpt.model.masks import check_mask
from ogpt.notices import tell

_RENAMED = {"lm_labels": "labels", "past": "past_key_values"}  # transformers, until 2020


class Rows(NamedTuple):
    """The shape of an input: what stands before T, and T."""

    leading: tuple[int, ...]
    T: int

    @property
    def N(self) -> int:  # noqa: N802  # rows, in the legend of shapes
        """How many rows there are."""
        return math.prod(self.leading)

    def restore(self, x: Tensor) -> Tensor:
        """(N, ...) -> (*leading, ...)."""
        return x if len(self.leading) == 1 else x.reshape((*self.leading, *x.shape[1:]))


def rows_of(input_ids: Tensor | None, inputs_embeds: Tensor | None, n_embd: int) -> Rows:
    """The shape of what was given.

    Raises:
        ConfigError: both or neither given, no tokens, ids that are no whole numbers, or
            embeddings of another width.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise ConfigError(
            "give one of input_ids and inputs_embeds; "
            f"{'neither' if input_ids is None else 'both'} given",
            hint="pass token ids as input_ids, or their embeddings as inputs_embeds",
        )
    if input_ids is not None:
        shape = tuple(whole_numbers(input_ids, "input_ids").shape)
    else:
        assert inputs_embeds is not None  # one of the two, checked above
        if tensor(inputs_embeds, "inputs_embeds").ndim < 2 or inputs_embeds.shape[-1] != n_embd:
            raise ConfigError(
                f"inputs_embeds have the shape {tuple(inputs_embeds.shape)}; "
                f"allowed: (B, T, {n_embd})",
                hint="give one embedding of n_embd numbers for each token",
            )
        shape = tuple(inputs_embeds.shape[:-1])
    if not shape or 0 in shape:
        raise ConfigError(
            f"the input has the shape {shape}; allowed: (B, T), one token or more",
            hint="an empty text needs a start token or a prompt",
        )
    return Rows(shape[:-1], shape[-1])


def tensor(x: object, name: str) -> Tensor:
    """Check that a caller gave a tensor.

    Raises:
        ConfigError: something else.
    """
    if not isinstance(x, Tensor):
        raise ConfigError(
            f"{name} is a {type(x).__name__}; allowed: a torch.Tensor",
            hint='torch.tensor(...) makes one of numbers, return_tensors="pt" of a tokenizer\'s',
        )
    return x


def whole_numbers(x: Tensor, name: str) -> Tensor:
    """`x` as int64.

    Raises:
        ConfigError: it is no tensor, or holds other than whole numbers.
    """
    if tensor(x, name).is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise ConfigError(
            f"{name} are of {x.dtype}; allowed: whole numbers, such as torch.int64",
            hint="pass ids as a tokenizer gives them; embeddings go to inputs_embeds",
        )
    return x.long()


def to_rows(
    x: Tensor,
    rows: Rows,
    name: str,
    hint: str = "give one for each token",
    one_for_all: bool = True,
) -> Tensor:
    """One value for each token, as (N, T); one row for all is repeated, where that is allowed.

    Raises:
        ConfigError: another shape, or no tensor.
    """
    shape = tuple(tensor(x, name).shape)
    if shape in ((*rows.leading, rows.T), (rows.N, rows.T)):
        return x.reshape(rows.N, rows.T)
    if one_for_all and shape in ((rows.T,), (1, rows.T)):
        return x.reshape(1, rows.T).expand(rows.N, rows.T)
    raise ConfigError(
        f"{name} has the shape {tuple(x.shape)}; allowed: {(*rows.leading, rows.T)}",
        hint=hint,
    )


def mask_rows(mask: Tensor, rows: Rows, S: int, n_head: int) -> Tensor:
    """An attention mask as bool (N, S), (N, T, S) or (N, n_head, T, S).

    Raises:
        ConfigError: as check_mask.
    """
    axes = tensor(mask, "attention_mask").ndim - len(rows.leading)
    known = len(rows.leading) != 1 and tuple(mask.shape[: len(rows.leading)]) == rows.leading
    if known and 1 <= axes <= 3:  # (B, K, S) and the like; (N, S) is taken as it is
        mask = mask.reshape(rows.N, *mask.shape[len(rows.leading) :])
    return check_mask(mask, rows.N, rows.T, S, n_head)


_BELONG = "check that tokenizer and model belong together, and the length of the input"


def check_rows(ids: Tensor, table: nn.Embedding, what: str, hint: str = _BELONG) -> None:
    """Check on the host, outside compile and export, that every id has a row in `table`.

    Raises:
        TokenOutOfRange: one has not.
    """
    if ids.device.type != "cpu" or torch.compiler.is_compiling() or ids.numel() == 0:
        return
    low, high = (int(value) for value in torch.aminmax(ids))
    rows = table.num_embeddings
    if low < 0 or high >= rows:
        raise TokenOutOfRange(
            f"{what} {low if low < 0 else high} was given; the model has 0 to {rows - 1}",
            hint=hint,
        )


def refuse_unknown(given: Iterable[str], known: Sequence[str], arguments: str) -> None:
    """Refuse arguments that no model has, or leave them out where parity asks for it.

    Args:
        given: Names that were given and are not in the signature, one or more.
        known: Names that are.
        arguments: `Parity.arguments`.

    Raises:
        UnknownArgument: arguments is "refuse".
    """
    names = sorted(given)
    if arguments == "ignore":
        if not torch.compiler.is_compiling():
            tell("arguments-ignored", names=", ".join(names))
        return
    near = (
        [_RENAMED[names[0]]] if names[0] in _RENAMED else get_close_matches(names[0], known, 1, 0.5)
    )
    raise UnknownArgument(
        f"there is no argument {', '.join(names)}; allowed: {', '.join(known)}",
        hint=f"did you mean {near[0]}?" if near else "look at the arguments of forward",
    )
