"""Beam search of a batch as one graph: the search of `generation/searching/beam.py` without groups.

Each prompt has K beams. What counts and when a search ends is as it is there; all prompts advance
at once, and a beam or hypothesis that does not exist has the score -inf.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import tensorflow as tf
from keras import ops

from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.tf.cache import TFLoopState
from ogpt.tf.generate.processing import TFTexts, processed
from ogpt.tf.generate.whole_loop import (
    TFLoopInputs,
    TFLoopOutput,
    all_finite,
    next_logits,
    one_of,
    read_prompts,
)
from ogpt.tf.language_model import TFLanguageModel
from ogpt.tf.tensors import Size, Tensor


class TFHypotheses(NamedTuple):
    """Finished or unfinished continuations of each prompt, K of each."""

    scores: Tensor
    """(B, K), float64, best first."""
    new: Tensor
    """(B, K, max_new_tokens), int32."""
    indices: Tensor
    """(B, K, max_new_tokens), int32: the beam that each token extended."""
    lengths: Tensor
    """(B, K), int32."""

    def at(self, places: Tensor) -> TFHypotheses:
        """Those at places (B, N)."""
        return TFHypotheses(*(tf.gather(x, places, batch_dims=1) for x in self))

    def beside(self, other: TFHypotheses) -> TFHypotheses:
        """Both, these first."""
        return TFHypotheses(*(tf.concat(pair, 1) for pair in zip(self, other, strict=True)))

    def where(self, prompts: Tensor, other: TFHypotheses) -> TFHypotheses:
        """These for the prompts (B,) where it is True, and the others elsewhere."""
        pairs = zip(self, other, strict=True)
        return TFHypotheses(
            *(
                tf.where(ops.reshape(prompts, (-1, *[1] * (len(x.shape) - 1))), x, y)
                for x, y in pairs
            )
        )


class _Beams(NamedTuple):
    """The state of the loop."""

    step: Tensor
    running: TFHypotheses
    finished: TFHypotheses
    ids: Tensor
    """(B * K, S), int32: the texts of running beams."""
    done: Tensor
    """(B,)."""
    finite: Tensor
    state: TFLoopState


def search_beams(
    model: TFLanguageModel, given: TFLoopInputs, settings: GenerationSettings
) -> TFLoopOutput:
    """The `num_return_sequences` best hypotheses of each prompt.

    Args:
        model: Computes the logits.
        given: The prompts.
        settings: How the search goes (`processing.check_supported`).
    """
    K, M = settings.num_beams, settings.max_new_tokens
    read = read_prompts(model, given, M).repeated(K)
    B, W = ops.shape(given.ids)[0], read.width

    def append(at: _Beams, logits: Tensor, state: TFLoopState) -> _Beams:
        texts = TFTexts(at.ids, read.begins, W + at.step, W)
        log_probs = processed(settings, texts, tf.nn.log_softmax(logits))
        log_probs = tf.reshape(log_probs, (B, K, log_probs.shape[-1]))
        found, parents = _candidates(at, log_probs, settings)
        possible = found.scores > -inf
        ends = possible & (
            (at.step + 1 == M) | one_of(_newest(found, at.step), settings.eos_token_id)
        )
        goes_on = possible & ~ends
        places = tf.argsort(tf.cast(~goes_on, tf.int32), stable=True)[:, :K]
        scores = _only(found.scores, goes_on)
        running = found._replace(scores=scores).at(places)
        finished = _finished(at, found, ends, settings)
        none = ~tf.reduce_any(goes_on, -1)
        done = at.done | none | _is_done(at.step, running, finished, settings)
        rows = tf.reshape(
            tf.gather(parents, places, batch_dims=1) + tf.range(B)[:, None] * K, (-1,)
        )
        newest = tf.reshape(_newest(running, at.step), (-1, 1))
        return _Beams(
            step=at.step + 1,
            running=running,
            finished=finished,
            ids=ops.slice_update(tf.gather(at.ids, rows), (0, W + at.step), newest),
            done=done,
            finite=at.finite & all_finite(logits),
            state=state.rows(rows),
        )

    def advance(at: _Beams) -> tuple[_Beams]:
        newest = tf.reshape(_newest(at.running, at.step - 1), (-1,))
        logits, state = next_logits(model, read, at.state, newest, at.step - 1)
        return (append(at, logits, state),)

    first_alone = _only(tf.zeros((B, K), tf.float64), tf.range(K) == 0)
    start = _Beams(
        step=tf.constant(0),
        running=_none(B, K, M, first_alone),
        finished=_none(B, K, M),
        ids=read.ids,
        done=tf.zeros((B,), tf.bool),
        finite=tf.constant(True),
        state=read.state,
    )
    first = append(start, read.logits, read.state)
    (end,) = tf.while_loop(lambda at: (at.step < M) & ~tf.reduce_all(at.done), advance, (first,))
    best = TFHypotheses(*(x[:, : settings.num_return_sequences] for x in end.finished))
    scores, new, indices, lengths = (tf.reshape(x, (-1, *x.shape[2:])) for x in best)
    return TFLoopOutput(new, lengths, end.finite, tf.reduce_all(scores > -inf), scores, indices)


def _none(B: Size, K: int, M: int, scores: Tensor | None = None) -> TFHypotheses:
    """Continuations without tokens."""
    if scores is None:
        scores = tf.fill((B, K), tf.constant(-inf, tf.float64))
    empty = tf.zeros((B, K, M), tf.int32)
    return TFHypotheses(scores, empty, empty - 1, tf.zeros((B, K), tf.int32))


def _newest(some: TFHypotheses, step: Tensor) -> Tensor:
    """The token of this step of each continuation, (B, N)."""
    return tf.gather(some.new, step, axis=-1)


def _only(scores: Tensor, those: Tensor) -> Tensor:
    return tf.where(those, scores, tf.constant(-inf, scores.dtype))


def _candidates(
    at: _Beams, log_probs: Tensor, settings: GenerationSettings
) -> tuple[TFHypotheses, Tensor]:
    """The best continuations of each prompt's beams by one token, in order; and their beams (B, N).

    Args:
        at: The beams.
        log_probs: (B, K, V) of the next token, after the rules.
        settings: How many are needed.
    """
    B, K, V = ops.shape(log_probs)
    wanted = max(2, 1 + len(settings.eos_token_id)) * K
    each = min(wanted, V)
    # of each beam first, in the dtype of the model: XLA sorts float64, which takes much longer
    values, ids = tf.math.top_k(log_probs, each)
    totals = at.running.scores[..., None] + tf.cast(values, tf.float64)
    totals = tf.reshape(totals, (B, K * each))
    scores, places = tf.math.top_k(totals, min(wanted, K * each))
    parents = places // each
    newest = tf.gather(tf.reshape(ids, (B, K * each)), places, batch_dims=1)
    numbers = parents + tf.range(B)[:, None] * K
    found = at.running.at(parents)
    column = tf.range(found.new.shape[-1]) == at.step
    return (
        TFHypotheses(
            scores,
            tf.where(column, newest[..., None], found.new),
            tf.where(column, numbers[..., None], found.indices),
            found.lengths + 1,
        ),
        parents,
    )


def _finished(
    at: _Beams, found: TFHypotheses, ends: Tensor, settings: GenerationSettings
) -> TFHypotheses:
    """The best K finished ones: those before, and the candidates that end and rank below K."""
    K = settings.num_beams
    ranks = tf.range(found.scores.shape[-1]) < K
    scores = _per_length(_only(found.scores, ends & ranks), at.step + 1, settings)
    both = at.finished.beside(found._replace(scores=scores))
    best = both.at(tf.math.top_k(both.scores, K).indices)
    return at.finished.where(at.done, best)


def _is_done(
    step: Tensor, running: TFHypotheses, finished: TFHypotheses, settings: GenerationSettings
) -> Tensor:
    """Whether no beam of a prompt is expected to be better than its K finished ones, (B,)."""
    worst = finished.scores[:, -1]
    full = worst > -inf
    if settings.early_stopping is True:
        return full
    length = step + 1
    if settings.early_stopping == "never" and settings.length_penalty > 0:
        length = tf.constant(settings.max_new_tokens)
    return full & (_per_length(running.scores[:, 0], length, settings) <= worst)


def _per_length(scores: Tensor, length: Tensor, settings: GenerationSettings) -> Tensor:
    return scores / tf.cast(length, tf.float64) ** settings.length_penalty
