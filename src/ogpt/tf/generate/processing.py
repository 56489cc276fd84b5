"""The rules, warpers and the draw of a token as TensorFlow operations, for compiled loops.

They are those of `generation/choosing` by the same names, in the same order, on all rows at once.
Texts are rows of columns; a text begins at a column of its own and ends at one that all share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import inf, log
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from keras import ops

from ogpt.errors import SamplingError
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.tf.tensors import Size, Tensor

_SUPPORTED = {
    *("max_new_tokens", "min_new_tokens", "num_return_sequences", "eos_token_id", "pad_token_id"),
    *("do_sample", "seed", "temperature", "top_k", "top_p", "min_p", "typical_p"),
    *("repetition_penalty", "frequency_penalty", "presence_penalty", "no_repeat_ngram_size"),
    *("sequence_bias", "bad_words_ids", "suppress_tokens", "allowed_token_ids"),
    *("begin_suppress_tokens", "forced_bos_token_id", "forced_eos_token_id"),
    *("num_beams", "length_penalty", "early_stopping", "prompt_lookup_num_tokens"),
}
"""Settings that compiled loops have; others must have their default."""


class TFTexts(NamedTuple):
    """The texts of all rows so far."""

    ids: Tensor
    """(R, S), int32; what is no token of a text is 0."""
    begins: Tensor
    """(R,), int32: the column of each row's first token."""
    ends: Tensor
    """(), int32: the column after the last token of all rows."""
    width: Size
    """Columns of the prompts; new tokens follow."""

    @property
    def written(self) -> Tensor:
        """Number of new tokens, ()."""
        return self.ends - self.width


def check_supported(settings: GenerationSettings) -> None:
    """Check that a compiled loop has what the settings ask for.

    Raises:
        SamplingError: it has not.
    """
    plain = GenerationSettings()
    asked = {each.name: getattr(settings, each.name) for each in fields(settings)}
    changed = [name for name, value in asked.items() if value != getattr(plain, name)]
    refused = sorted(set(changed) - _SUPPORTED)
    if settings.num_beams > 1 and settings.do_sample:
        refused.append("do_sample with num_beams")
    if refused:
        raise SamplingError(
            f"{refused[0]} is set; allowed in a compiled loop: {', '.join(sorted(_SUPPORTED))}",
            hint="omit jit_compile and tf.function: generate() then has every setting",
        )


# rules


def processed(settings: GenerationSettings, texts: TFTexts, logits: Tensor) -> Tensor:
    """Logits (R, V) after all rules, as `rules.apply` gives them for each row."""
    s = settings
    V = logits.shape[-1]
    written, lengths = texts.written, texts.ends - texts.begins
    ends = [token_id for token_id in s.eos_token_id if token_id < V]
    words = [word for word in s.bad_words_ids if len(word) > 1 or word[0] not in ends]
    bos = () if s.forced_bos_token_id is None else (s.forced_bos_token_id,)
    if s.sequence_bias:
        logits = _sequence_bias(logits, texts, s.sequence_bias)
    if s.repetition_penalty != 1:
        seen = _counts(texts, _inside(texts, texts.begins), V) > 0
        penalized = tf.where(
            logits < 0, logits * s.repetition_penalty, logits / s.repetition_penalty
        )
        logits = tf.where(seen, penalized, logits)
    if s.frequency_penalty != 0 or s.presence_penalty != 0:
        counts = _counts(texts, _inside(texts, tf.reshape(texts.width, (1,))), V)
        wide = tf.cast(counts, tf.float64) * s.frequency_penalty + s.presence_penalty
        logits = logits - tf.cast(tf.where(counts > 0, wide, tf.zeros_like(wide)), logits.dtype)
    if s.no_repeat_ngram_size:
        logits = _banned(logits, _repeated(texts, s.no_repeat_ngram_size, V))
    if words:
        logits = _sequence_bias(logits, texts, {tuple(word): -inf for word in words})
    if ends and s.min_new_tokens:
        logits = _banned(logits, _one_of(ends, V) & (written < s.min_new_tokens))
    if s.allowed_token_ids:
        logits = _banned(logits, ~_one_of(s.allowed_token_ids, V))
    if bos:
        logits = _forced(logits, bos, (lengths == 1)[:, None])
    if s.forced_eos_token_id:
        logits = _forced(logits, s.forced_eos_token_id, written == s.max_new_tokens - 1)
    if s.suppress_tokens:
        logits = _banned(logits, _one_of(s.suppress_tokens, V))
    if s.begin_suppress_tokens:
        # if the first token is forced, these are suppressed at the second
        late = tf.cast(lengths - written <= 1, tf.int32) if bos else tf.zeros_like(lengths)
        first = (written == late)[:, None]
        logits = _banned(logits, _one_of(s.begin_suppress_tokens, V) & first)
    return logits


def _inside(texts: TFTexts, begins: Tensor) -> Tensor:
    """Which columns lie between `begins` (R or 1,) and the end of the texts, (R or 1, S)."""
    columns = tf.range(tf.shape(texts.ids)[1])[None]
    return (columns >= begins[:, None]) & (columns < texts.ends)


def _counts(texts: TFTexts, counted: Tensor, vocab_size: int) -> Tensor:
    """How often each token is in the columns that count, (R, V), int32."""
    rows = tf.broadcast_to(tf.range(tf.shape(texts.ids)[0])[:, None], tf.shape(texts.ids))
    places = tf.stack([rows, texts.ids], axis=-1)
    ones = tf.cast(tf.broadcast_to(counted, tf.shape(texts.ids)), tf.int32)
    return tf.scatter_nd(places, ones, (tf.shape(texts.ids)[0], vocab_size))


def _repeated(texts: TFTexts, size: int, vocab_size: int) -> Tensor:
    """Which tokens would repeat an n-gram, (R, V)."""
    ids = texts.ids
    windows = ops.shape(ids)[1] - size + 1
    same = _inside(texts, texts.begins)[:, :windows]
    for place in range(size - 1):
        latest = tf.gather(ids, [tf.maximum(texts.ends - (size - 1) + place, 0)], axis=1)
        same &= ids[:, place : place + windows] == latest
    last = tf.concat([tf.zeros_like(ids[:, : size - 1], tf.bool), same], axis=1)
    return _counts(texts, last & _inside(texts, texts.begins), vocab_size) > 0


def _sequence_bias(logits: Tensor, texts: TFTexts, bias: Mapping[tuple[int, ...], float]) -> Tensor:
    """Add each bias to the last token of its sequence, where the text ends with the others."""
    V = logits.shape[-1]
    everywhere = np.zeros(V, logits.dtype.as_numpy_dtype)
    for sequence, value in bias.items():
        *before, last = sequence
        if not before:
            everywhere[last] += value
            continue
        begin = texts.ends - len(before)
        found = begin >= texts.begins
        for place, token_id in enumerate(before):
            column = tf.maximum(begin + place, 0)
            found &= tf.gather(texts.ids, column, axis=1) == token_id
        logits = tf.where(found[:, None] & _one_of([last], V), logits + value, logits)
    return logits + everywhere


def _one_of(ids: Sequence[int], vocab_size: int) -> Tensor:
    """Which tokens are among `ids`, (V,)."""
    found = np.zeros(vocab_size, bool)
    found[list(ids)] = True
    return tf.constant(found)


def _forced(logits: Tensor, ids: Sequence[int], where: Tensor) -> Tensor:
    forced = _banned(tf.zeros_like(logits), ~_one_of(ids, logits.shape[-1]))
    return tf.where(where, forced, logits)


def _banned(logits: Tensor, banned: Tensor) -> Tensor:
    """The logits with -inf where `banned`, (R, V) or (V,)."""
    return tf.where(banned, tf.constant(-inf, logits.dtype), logits)


# warpers, and the draw


def warped(settings: GenerationSettings, logits: Tensor) -> tuple[Tensor | None, Tensor]:
    """The tokens to sample from, as `rules.warp` gives them for each row without beams.

    Returns:
        The ids (R, K) of top-k in ascending order, None for all; and their logits, divided by the
        temperature; -inf for those that were filtered out.
    """
    ids = None
    if settings.top_k and settings.top_k < logits.shape[-1]:
        ids = tf.sort(tf.math.top_k(logits, settings.top_k).indices)
        logits = tf.gather(logits, ids, batch_dims=1)
    if settings.temperature != 1:
        logits = _temperature(logits, settings.temperature)
    if settings.top_p != 1:
        logits = _banned(logits, ~_nearest(-logits, logits, settings.top_p))
    if settings.min_p != 0:
        largest = tf.reduce_max(logits, -1, keepdims=True)
        logits = _banned(logits, logits - largest < log(settings.min_p))
    if settings.typical_p != 1:
        logits = _typical(logits, settings.typical_p)
    return ids, logits


def drawn(logits: Tensor, numbers: Tensor) -> Tensor:
    """Invert each row's cumulative distribution, in the order of ids, at a number in [0, 1).

    Args:
        logits: (R, K); -inf is never drawn.
        numbers: (R,), float64.
    """
    weights = tf.exp(logits - tf.reduce_max(logits, -1, keepdims=True))
    sums = tf.cumsum(tf.cast(weights, tf.float64), axis=-1)
    target = numbers[:, None] * sums[:, -1:]
    above = tf.reduce_sum(tf.cast(sums <= target, tf.int32), -1)
    last = tf.reduce_sum(tf.cast(sums < sums[:, -1:], tf.int32), -1)
    return tf.minimum(above, last)


def _temperature(logits: Tensor, value: float) -> Tensor:
    limits = np.finfo(logits.dtype.as_numpy_dtype)
    divisor = max(value, float(limits.tiny))
    largest = tf.reduce_max(logits, -1, keepdims=True)
    # a tiny temperature would overflow
    far = tf.abs(largest / divisor) > float(limits.max) ** 0.5
    return tf.where(far, logits - largest, logits) / divisor


def _typical(logits: Tensor, p: float) -> Tensor:
    shifted = logits - tf.reduce_max(logits, -1, keepdims=True)
    weights = tf.cast(tf.exp(shifted), tf.float64)
    finite = tf.cast(tf.maximum(shifted, -1e4), tf.float64)
    mean = tf.reduce_sum(weights * finite, -1, keepdims=True) / tf.reduce_sum(
        weights, -1, keepdims=True
    )
    distance = tf.abs(tf.cast(mean, logits.dtype) - shifted)
    kept = _nearest(distance, logits, p)
    farthest = tf.reduce_max(_banned(distance, ~kept), -1, keepdims=True)
    return _banned(logits, distance > farthest)


def _nearest(distance: Tensor, logits: Tensor, p: float) -> Tensor:
    """The fewest entries, nearest first, that have the share p of all probability, bool (R, K)."""
    order = tf.argsort(distance, stable=True)
    weights = tf.exp(logits - tf.reduce_max(logits, -1, keepdims=True))
    sums = tf.cumsum(tf.cast(tf.gather(weights, order, batch_dims=1), tf.float64), axis=-1)
    before = tf.concat([tf.zeros_like(sums[:, :1]), sums[:, :-1]], -1)
    nearest = before < p * sums[:, -1:]
    return tf.gather(nearest, tf.argsort(order, stable=True), batch_dims=1)


def choose(
    settings: GenerationSettings, texts: TFTexts, logits: Tensor, numbers: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The next token of each row, (R,) int32, and whether the row had one to choose, (R,) bool.

    Args:
        settings: How to choose.
        texts: So far.
        logits: (R, V), of the model.
        numbers: (R, max_new_tokens) in [0, 1); None for greedy search.
    """
    allowed = processed(settings, texts, logits)
    best = tf.argmax(allowed, -1, output_type=tf.int32)
    fits = tf.math.is_finite(tf.gather(allowed, best, batch_dims=1))
    if numbers is None:
        return best, fits
    ids, left = warped(settings, allowed)
    place = drawn(left, tf.gather(numbers, texts.written, axis=1))
    return (place if ids is None else tf.gather(ids, place, batch_dims=1)), fits
