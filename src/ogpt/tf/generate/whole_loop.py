"""Greedy search and sampling of a batch as one graph: the prompts, then a loop of one token each.

All shapes are known before the loop begins, so XLA can compile it. The rows share their columns:
prompts end at the same one, whatever padding they came with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
from keras import ops

from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.tf.cache import TFLoopCache, TFLoopState
from ogpt.tf.generate.processing import TFTexts, choose
from ogpt.tf.language_model import TFLanguageModel
from ogpt.tf.tensors import Size, Tensor


class TFLoopInputs(NamedTuple):
    """The prompts of a loop."""

    ids: Tensor
    """(B, W), int32."""
    kept: Tensor
    """(B, W), bool: which of them are tokens; one at least in each row."""
    skipped: Size
    """Columns that a bucket put before those of the caller; they have no position."""
    numbers: Tensor | None
    """(R, max_new_tokens) in [0, 1), float64; None: no sampling."""


class TFLoopOutput(NamedTuple):
    """What a loop wrote, R rows."""

    new: Tensor
    """(R, max_new_tokens), int32: tokens, then 0."""
    lengths: Tensor
    """(R,), int32: number of new tokens."""
    finite: Tensor
    """(), bool: no logit of the model was NaN or infinite."""
    fits: Tensor
    """(), bool: every row had tokens to choose from, and with beams enough continuations."""
    scores: Tensor | None = None
    """(R,), float64: those of hypotheses."""
    beam_indices: Tensor | None = None
    """(R, max_new_tokens), int32: the beam that each token extended; -1 after the end."""


class TFReadPrompts(NamedTuple):
    """The prompts after their pass."""

    ids: Tensor
    """(B, W + max_new_tokens), int32: the text, with room for new tokens."""
    begins: Tensor
    """(B,), int32: the column of the first token."""
    positions: Tensor
    """(B,), int32: of the first new token."""
    logits: Tensor
    """(B, V) of the first new token."""
    state: TFLoopState
    width: Size
    """W."""

    def repeated(self, count: int) -> TFReadPrompts:
        """Each row `count` times."""
        if count == 1:
            return self
        rows = tf.repeat(tf.range(ops.shape(self.ids)[0]), count)
        ids, begins, positions, logits = (tf.gather(x, rows) for x in self[:4])
        return TFReadPrompts(ids, begins, positions, logits, self.state.rows(rows), self.width)


def read_prompts(model: TFLanguageModel, given: TFLoopInputs, new: int) -> TFReadPrompts:
    """Process the prompts, without their padding.

    Args:
        model: Reads them.
        given: The prompts.
        new: Number of tokens to leave room for.
    """
    B, W = ops.shape(given.ids)
    columns = tf.range(W)[None]
    # tokens move to the right, in their order
    order = tf.argsort(tf.cast(given.kept, tf.int32), stable=True)
    counts = tf.reduce_sum(tf.cast(given.kept, tf.int32), -1)
    begins = W - counts
    tokens = columns >= begins[:, None]
    ids = tf.where(tokens, tf.gather(given.ids, order, batch_dims=1), 0)
    if model.config.parity.positions == "mask":
        positions, following = columns - begins[:, None], counts
    else:  # padding has positions too
        positions, following = order - given.skipped, tf.fill((B,), W - given.skipped)
    reach = tf.range(W + new)
    itself = reach == columns[..., None]
    seen = (reach <= columns[..., None]) & (reach >= begins[:, None, None]) | itself
    state = TFLoopState.empty(model.config, B, W + new, model.compute_dtype)
    cache = TFLoopCache(state, tf.constant(0))
    hidden = model.continued(ids, tf.maximum(positions, 0), seen[:, None], cache)
    room = tf.zeros((B, new), tf.int32)
    return TFReadPrompts(
        ids=tf.concat([ids, room], 1),
        begins=begins,
        positions=following,
        logits=wide_logits(model, hidden[:, -1]),
        state=cache.state,
        width=W,
    )


def next_logits(
    model: TFLanguageModel, read: TFReadPrompts, state: TFLoopState, ids: Tensor, step: Tensor
) -> tuple[Tensor, TFLoopState]:
    """Append one token to each row: the logits (R, V) of the next one, and the new state.

    Args:
        model: Computes them.
        read: The prompts.
        state: Before the token.
        ids: (R,), int32.
        step: (), int32: how many new tokens there were before.
    """
    column = read.width + step
    reach = tf.range(ops.shape(state.keys[0])[2])
    seen = (reach <= column) & (reach >= read.begins[:, None])
    cache = TFLoopCache(state, column)
    positions = (read.positions + step)[:, None]
    hidden = model.continued(ids[:, None], positions, seen[:, None, None], cache)
    return wide_logits(model, hidden[:, 0]), cache.state


def wide_logits(model: TFLanguageModel, hidden: Tensor) -> Tensor:
    """(N, C) -> (N, V), float32 or float64."""
    logits = model.logits(hidden)
    return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)


def all_finite(logits: Tensor) -> Tensor:
    """Whether the largest logit of each row is finite, (); it is NaN where any logit is."""
    return tf.reduce_all(tf.math.is_finite(tf.reduce_max(logits, -1)))


def one_of(ids: Tensor, some: Sequence[int]) -> Tensor:
    """Which of the ids are among `some`."""
    return tf.reduce_any(ids[..., None] == tf.constant(list(some), tf.int32), -1)


class _Rows(NamedTuple):
    """The state of the loop."""

    step: Tensor
    ids: Tensor
    newest: Tensor
    lengths: Tensor
    done: Tensor
    finite: Tensor
    fits: Tensor
    state: TFLoopState


def continue_rows(
    model: TFLanguageModel, given: TFLoopInputs, settings: GenerationSettings
) -> TFLoopOutput:
    """Continue each prompt `num_return_sequences` times by greedy search or sampling.

    Args:
        model: Computes the logits.
        given: The prompts.
        settings: How tokens are chosen (`processing.check_supported`).
    """
    most = settings.max_new_tokens
    read = read_prompts(model, given, most).repeated(settings.num_return_sequences)
    W = read.width

    def append(at: _Rows, logits: Tensor, state: TFLoopState) -> _Rows:
        texts = TFTexts(at.ids, read.begins, W + at.step, W)
        newest, fits = choose(settings, texts, logits, given.numbers)
        newest = tf.where(at.done, 0, newest)
        return _Rows(
            step=at.step + 1,
            ids=ops.slice_update(at.ids, (0, W + at.step), newest[:, None]),
            newest=newest,
            lengths=at.lengths + tf.cast(~at.done, tf.int32),
            done=at.done | one_of(newest, settings.eos_token_id),
            finite=at.finite & all_finite(logits),
            fits=at.fits & tf.reduce_all(fits | at.done),
            state=state,
        )

    def advance(at: _Rows) -> tuple[_Rows]:
        logits, state = next_logits(model, read, at.state, at.newest, at.step - 1)
        return (append(at, logits, state),)

    none = tf.zeros_like(read.begins)
    fine = tf.constant(True)
    start = _Rows(tf.constant(0), read.ids, none, none, none > 0, fine, fine, read.state)
    first = append(start, read.logits, read.state)
    (end,) = tf.while_loop(lambda at: (at.step < most) & ~tf.reduce_all(at.done), advance, (first,))
    return TFLoopOutput(end.ids[:, W:], end.lengths, end.finite, end.fits)
