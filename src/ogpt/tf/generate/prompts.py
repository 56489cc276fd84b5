"""Turn a batch of prompts into rows without padding, and continuations into a batch again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from ogpt.errors import ConfigError, SamplingError
from ogpt.notices import tell
from ogpt.tf.inputs import (
    TFInputShape,
    check_embedding_ids,
    input_shape,
    integers,
    mask_rows,
    to_rows,
)
from ogpt.tf.language_model import TFLanguageModel
from ogpt.tf.tensors import Tensor


class TFPrompts(NamedTuple):
    """The prompts of one call of generate(), outside a graph."""

    rows: list[list[int]]
    """The ids of each, without padding."""
    ids: NDArray[Any]
    """(B, T) as passed, padding included."""
    kept: NDArray[np.bool_]
    """(B, T): what is no padding."""
    ends: list[int]
    """Position of the first new token of each."""
    shifted: bool
    """Padding has positions too (`Parity.positions`), and there is some."""


def prompt_ids(input_ids: Any, inputs: Any, bos_token_id: int | None) -> Tensor:
    """The prompts under either of their names; by default one start token.

    Raises:
        ConfigError: both names, neither and no start token, or not a tensor.
    """
    if input_ids is not None and inputs is not None:
        raise ConfigError(
            "input_ids and inputs were both passed; allowed: one of the two",
            hint="omit inputs: it is another name for input_ids",
        )
    ids = inputs if input_ids is None else input_ids
    if ids is None and bos_token_id is not None:
        return tf.constant([[bos_token_id]], tf.int32)
    if ids is not None and not hasattr(ids, "shape"):
        raise ConfigError(
            f"the prompts are a {type(ids).__name__}; allowed: a tensor (B, T) of token ids",
            hint="call the tokenizer with return_tensors='tf', and generate with **inputs",
        )
    return ids


def prompt_shape(ids: Tensor, n_embd: int) -> TFInputShape:
    """The shape of the prompts.

    Raises:
        ConfigError: it is not (B, T) or (T,), or the ids are not integers.
    """
    shape = input_shape(ids, None, n_embd)
    if len(shape.leading) > 1:
        raise ConfigError(
            f"the prompts have the shape {tuple(ids.shape)}; allowed: (B, T)",
            hint="flatten the choices: tf.reshape(prompts, (-1, prompts.shape[-1]))",
        )
    return shape


def inner(ids: Tensor, given: Mapping[str, Any]) -> Tensor | None:
    """Which tokens of prompts without a mask are no padding: pad tokens at the ends of a row are.

    A pad token that is also the end token may belong to the text, so it stays. Prompts of nothing
    but pad tokens are deliberate.

    Args:
        ids: (B, T).
        given: The arguments of the call.

    Returns:
        (B, T), bool; None where no token can be padding.
    """
    pad, ends = (given.get(name) for name in ("pad_token_id", "eos_token_id"))
    if not isinstance(pad, int) or pad in (ends if isinstance(ends, Sequence) else [ends]):
        return None
    token = ops.cast(ids != pad, "int32")
    after = tf.cumsum(token, axis=-1) > 0
    before = tf.cumsum(token, axis=-1, reverse=True) > 0
    deliberate = ~tf.reduce_all(tf.reduce_any(token > 0, -1))
    return (after & before) | deliberate


def read_rows(
    model: TFLanguageModel, ids: Tensor, mask: Tensor | None, given: Mapping[str, Any]
) -> TFPrompts:
    """The prompts of a batch, each without its padding.

    Args:
        model: For its configuration.
        ids: (B, T) or (T,).
        mask: (B, T), 0 for padding, anywhere in a row.
        given: The arguments of the call.

    Raises:
        ConfigError: a shape that does not fit.
        SamplingError: a prompt without tokens.
        TokenOutOfRange: an id outside the vocabulary.
    """
    config = model.config
    shape = prompt_shape(ids, config.n_embd)
    flat = to_rows(integers(ids, "input_ids"), shape, "input_ids")
    check_embedding_ids(flat, config.vocab_size, "token id")
    if mask is None:
        found = inner(flat, given)
        kept = np.ones((shape.N, shape.T), bool) if found is None else found.numpy()
        if not kept.all():
            count = int((~kept).sum())
            tell("padding-assumed", count=count, pad_token_id=given["pad_token_id"])
    else:
        rows = to_rows(mask, shape, "attention_mask")
        kept = mask_rows(rows, shape, config.n_head).numpy()
        kept = np.broadcast_to(kept, (shape.N, shape.T))
    for row, tokens in enumerate(kept):
        if not tokens.any():
            raise SamplingError(
                f"prompt {row} has no tokens; at least one is required",
                hint="set attention_mask to 1 for a token of each row",
            )
    array = flat.numpy()
    rows = [array[row, tokens].tolist() for row, tokens in enumerate(kept)]
    shifted = config.parity.positions == "never" and not kept.all()
    ends = [shape.T if shifted else len(row) for row in rows]
    return TFPrompts(rows, array, kept, ends, shifted)


def sequences(
    ids: Any, continuations: Sequence[Sequence[int]], pad: int, each: int, dtype: Any
) -> Tensor:
    """The prompts as passed and their continuations, padded, (rows, longest).

    Args:
        ids: (B, T).
        continuations: `each` of every prompt.
        pad: Token after the end of a row.
        each: Continuations of a prompt.
        dtype: Of the result.
    """
    longest = max(map(len, continuations))
    new = np.array([[*one, *[pad] * (longest - len(one))] for one in continuations])
    return tf.constant(np.concatenate([np.repeat(ids, each, 0), new], 1), dtype)
