"""Take what a caller passes to a model by name, check it, and flatten it to N rows of T tokens.

Any shape before T is allowed: (B, T) for texts, (B, K, T) for K choices, (T,) for one text. Inside
a model all of them are N rows; `TFInputShape.restore` undoes it for the outputs.

Checks of values (ids within the vocabulary, masks of 0 and 1) run for eager tensors in the memory
of the CPU only: in a traced graph, as in fit() and tf.function, there are no values yet. There
TensorFlow itself refuses ids without an embedding on the CPU; under XLA and on a GPU it does not.
So keras_checks.py checks the data of fit(), evaluate() and predict() before a step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import mul
from typing import Any, NamedTuple

import keras
from keras import ops
from numpy.typing import NDArray

from ogpt.config.call_errors import (
    HIDDEN_SCORE,
    ONE_VALUE_PER_TOKEN,
    SAME_TOKENIZER,
    refused,
    unknown_argument,
)
from ogpt.errors import ConfigError, UnknownArgument
from ogpt.notices import tell
from ogpt.tf.tensors import Size, Tensor

OPTIONS = ("head_mask", "output_attentions", "output_hidden_states")
"""Arguments that every model with a head passes to its transformer."""

_SETTINGS = ("output_attentions", "output_hidden_states", "return_dict", "training")
"""Arguments that are no tensors."""


class TFInputShape(NamedTuple):
    """Shape of an input of token ids: the axes before T, and T."""

    leading: tuple[Size, ...]
    T: Size

    @property
    def N(self) -> Size:  # noqa: N802  # rows, in the legend of shapes
        """Number of rows."""
        return reduce(mul, self.leading, 1)

    def restore(self, x: Tensor) -> Tensor:
        """(N, ...) -> (*leading, ...)."""
        if len(self.leading) == 1:
            return x
        return ops.reshape(x, (*self.leading, *ops.shape(x)[1:]))


def agree(found: Sequence[int | None], wanted: Sequence[Size]) -> bool:
    """Whether two shapes are equal, as far as a traced graph knows them."""
    pairs = zip(found, wanted, strict=False)
    return len(found) == len(wanted) and all(
        one == other for one, other in pairs if isinstance(one, int) and isinstance(other, int)
    )


def known(sizes: Sequence[Size]) -> tuple[int | None, ...]:
    """A shape for an error; None is a size that a traced graph does not know."""
    return tuple(size if isinstance(size, int) else None for size in sizes)


def input_shape(
    input_ids: Tensor | None, inputs_embeds: Tensor | None, n_embd: int
) -> TFInputShape:
    """The shape of an input, from its ids or its embeddings.

    Raises:
        ConfigError: both or neither were passed, there are no tokens, the ids are not integers, or
            the embeddings are not n_embd wide.
    """
    if (input_ids is None) == (inputs_embeds is None):
        raise refused("not-one-input", given="neither" if input_ids is None else "both")
    if input_ids is not None:
        shape = ops.shape(integers(input_ids, "input_ids"))
    else:
        assert inputs_embeds is not None  # one of the two, checked above
        if len(inputs_embeds.shape) < 2 or inputs_embeds.shape[-1] != n_embd:
            found = tuple(inputs_embeds.shape)
            raise refused("embeddings-width", shape=found, n_embd=n_embd)
        shape = ops.shape(inputs_embeds)[:-1]
    if not shape or 0 in known(shape):
        raise refused("no-tokens", shape=known(shape))
    return TFInputShape(tuple(shape[:-1]), shape[-1])


def integers(x: Tensor, name: str) -> Tensor:
    """`x` as int64.

    Raises:
        ConfigError: it is not a tensor of integers.
    """
    dtype = str(keras.backend.standardize_dtype(x.dtype))
    if "int" not in dtype:
        raise refused("not-integers", name=name, dtype=dtype, example="int32")
    return ops.cast(x, "int64")


def to_rows(
    x: Tensor,
    shape: TFInputShape,
    name: str,
    hint: str = ONE_VALUE_PER_TOKEN,
    one_for_all: bool = True,
) -> Tensor:
    """One value for each token, as (N, T), or (1, T) for values that all rows share.

    Args:
        x: (*leading, T) or (N, T); or (T,) or (1, T) to use the same values in every row.
        shape: Of the input.
        name: Of the argument, for errors.
        hint: For errors.
        one_for_all: Whether one row for all is allowed.

    Raises:
        ConfigError: `x` has another shape.
    """
    found, allowed = tuple(x.shape), (*shape.leading, shape.T)
    if agree(found, allowed) or agree(found, (shape.N, shape.T)):
        return ops.reshape(x, (shape.N, shape.T))
    if one_for_all and (agree(found, (shape.T,)) or agree(found, (1, shape.T))):
        return ops.reshape(x, (1, shape.T))
    raise refused("other-shape", name=name, shape=found, allowed=known(allowed), hint=hint)


def readable(x: Tensor) -> bool:
    """Whether reading the values of a tensor is possible, and waits for no accelerator."""
    return hasattr(x, "numpy") and "CPU" in str(getattr(x, "device", ""))


def check_embedding_ids(ids: Tensor, rows: int, what: str) -> None:
    """Check that every id is below `rows`, where its value can be read.

    Raises:
        TokenOutOfRange: an id has no row (eager CPU tensors).
    """
    if readable(ids):
        check_range(ids.numpy(), rows, what)


def check_range(ids: NDArray[Any], rows: int, what: str, hint: str = SAME_TOKENIZER) -> None:
    """Check that every id is below `rows`.

    Args:
        ids: Integers in any shape.
        rows: Of the embedding.
        what: The ids are, for the error.
        hint: For the error.

    Raises:
        TokenOutOfRange: an id has no row.
    """
    if (value := outside(ids, rows)) is not None:
        raise refused("no-embedding", what=what, value=value, last=rows - 1, hint=hint)


def outside(numbers: NDArray[Any], count: int) -> int | None:
    """A number that is not from 0 to count - 1, or None: the lowest if it is negative.

    Args:
        numbers: Integers in any shape.
        count: Of the numbers that are allowed.
    """
    if not numbers.size:
        return None
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0:
        return low
    return high if high >= count else None


def check_context(shape: TFInputShape, n_positions: int) -> None:
    """Check that an input fits the context length.

    Raises:
        ContextTooLong: it has more tokens than n_positions.
    """
    if isinstance(shape.T, int) and n_positions < shape.T:
        raise refused("too-long", tokens=shape.T, n_positions=n_positions)


# masks


def mask_rows(mask: Tensor, shape: TFInputShape, n_head: int) -> Tensor:
    """An attention mask as bool (N, T), (N, T, T) or (N, n_head, T, T).

    With 4 axes and floats the mask may be additive: 0 and numbers of HIDDEN_SCORE or less.

    Raises:
        ConfigError: the shape does not fit, or the mask holds a value other than 0 and 1 (eager
            CPU tensors).
    """
    count = len(shape.leading)
    axes = len(mask.shape) - count
    if count != 1 and agree(mask.shape[:count], shape.leading) and 1 <= axes <= 3:
        # (B, K, T) -> (N, T), and so on; (N, T) stays as it is
        mask = ops.reshape(mask, (shape.N, *ops.shape(mask)[count:]))
    N, T = shape.N, shape.T
    if len(mask.shape) == 4:
        mask = _of_additive(mask) if "float" in str(mask.dtype) else mask
        if any(agree(mask.shape, (rows, 1, 1, T)) for rows in (1, N)):  # one value for each token
            mask = ops.broadcast_to(mask[:, 0, 0], (N, T))
    found = tuple(mask.shape)
    squares = [(rows, *heads, T, T) for rows in (1, N) for heads in ((), (1,), (n_head,))]
    if not any(agree(found, allowed) for allowed in [(N, T), *squares]):
        two, three, four = map(known, ((N, T), (N, T, T), (N, n_head, T, T)))
        raise refused("mask-shape", shape=found, two=two, three=three, four=four)
    kept = ops.not_equal(mask, 0)
    if readable(mask) and "bool" not in str(mask.dtype):
        odd = ops.logical_and(kept, ops.not_equal(mask, 1)).numpy()
        if odd.any():
            raise refused("mask-value", odd=mask.numpy()[odd][0].item())
    return kept


def _of_additive(mask: Tensor) -> Tensor:
    """A mask of floats that may be additive, (N, 1 or n_head, T or 1, T), as True and False.

    As in model/inputs.py: without a number above 0 it is added to the scores.

    Raises:
        ConfigError: a number that changes scores but hides nothing (where it can be read).
    """
    positive = ops.any(ops.greater(mask, 0))
    if readable(mask):
        if bool(positive):
            return mask
        values = mask.numpy()
        odd = values[(values != 0) & ~(values <= HIDDEN_SCORE)]  # NaN too
        if len(odd):
            raise refused("mask-bias", odd=odd[0].item(), hidden=HIDDEN_SCORE)
    return ops.where(positive, ops.not_equal(mask, 0), ops.greater(mask, HIDDEN_SCORE))


def positions_from_mask(mask: Tensor) -> Tensor:
    """Positions that skip padding, (N, T): padding on the left does not move a text.

    Args:
        mask: (N, T), bool.
    """
    return ops.maximum(ops.cumsum(ops.cast(mask, "int64"), axis=-1) - 1, 0)


def layer_head_masks(head_mask: Tensor, n_layer: int, n_head: int, dtype: str) -> Tensor:
    """A head mask as (n_layer, n_head).

    Raises:
        ConfigError: it has another shape.
    """
    shape = (n_layer, n_head)
    found = tuple(head_mask.shape)
    if found not in (shape, shape[1:]):
        raise refused("head-mask-shape", shape=found, one=shape[1:], all=shape)
    return ops.broadcast_to(ops.cast(head_mask, dtype), shape)


# arguments by name


def named_arguments(
    call: Callable[..., Any], given: tuple[Any, ...], named: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call by name.

    Args:
        call: The method that receives them.
        given: Positional ones: tensors in the order of `call`; or one list or one mapping of all.
        named: Keyword ones.

    Raises:
        ConfigError: an argument that should be a tensor is not, or one is passed twice.
        UnknownArgument: too many positional arguments.
    """
    parameters = inspect.signature(call).parameters
    names = [name for name in parameters if name not in ("self", "unknown", "options")]
    by_name: dict[str, Any] = {}
    if len(given) == 1 and isinstance(given[0], Mapping):
        by_name = dict(given[0])
    else:
        if len(given) == 1 and isinstance(given[0], list | tuple) and _are_inputs(given[0]):
            given = tuple(given[0])
        if len(given) > len(names):
            raise UnknownArgument(
                f"{len(given)} positional arguments were passed; allowed: {', '.join(names)}",
                hint="pass arguments by name",
            )
        by_name = dict(zip(names, given, strict=False))
    for name in by_name.keys() & named.keys():
        raise ConfigError(
            f"{name} was passed twice; allowed: once",
            hint="pass it in the list or mapping of inputs, or by name",
        )
    arguments = {**by_name, **named}
    for name, value in arguments.items():
        if name in names and name not in _SETTINGS and value is not None and not is_tensor(value):
            raise ConfigError(
                f"{name} is a {type(value).__name__}; allowed: a tf.Tensor or a numpy array",
                hint='use tf.constant(...), or call the tokenizer with return_tensors="tf"',
            )
    return arguments


def is_tensor(x: object) -> bool:
    """Whether an object is a tensor or a numpy array."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _are_inputs(values: Sequence[Any]) -> bool:
    """Whether a list holds the inputs in their order, not the ids of a text."""
    return all(value is None or is_tensor(value) for value in values)


def known_options(
    options: Mapping[str, Any], call: Callable[..., Any], arguments: str
) -> dict[str, Any]:
    """The options that every model accepts. A misspelt name is an error, not ignored.

    Args:
        options: Keyword arguments that are not in the signature of `call`.
        call: The function they were passed to; the error lists its arguments.
        arguments: `Parity.arguments`: "ignore" drops unknown names with a notice.

    Raises:
        UnknownArgument: a name that is not in OPTIONS, and arguments is "refuse".
    """
    unknown = sorted(name for name in options if name not in OPTIONS)
    if unknown and arguments == "ignore":
        tell("arguments-ignored", names=", ".join(unknown))
    elif unknown:
        own = [*inspect.signature(call).parameters][1:-1]  # without self and **options
        raise unknown_argument(unknown, list(dict.fromkeys([*own, *OPTIONS])), "call")
    return {name: options[name] for name in OPTIONS if name in options}
