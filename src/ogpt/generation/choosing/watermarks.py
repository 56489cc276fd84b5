"""Watermarks as functions of a text and its logits, bit for bit those of transformers.

They are the last of all rules, after temperature and filters: what they favour is drawn from. A
token that is ruled out (-inf) stays so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.choosing.torch_numbers import coins, permutation, permutation_table
from ogpt.generation.choosing.watermarking_config import (
    SynthIDTextWatermarkingConfig,
    Watermark,
    WatermarkingConfig,
)
from ogpt.generation.protocol.logits import Logits

_TABLE_SIZE = 1_000_003  # of the hash of "selfhash"
_TRIED = 40  # candidates of "selfhash" at each step, as in the code of the paper
_MULTIPLIER = 6364136223846793005  # of a linear congruential generator (Knuth's MMIX)


def watermark(config: Watermark, ids: Sequence[int], n_prompt: int, logits: Logits) -> Logits:
    """Logits (V,) with a watermark.

    Args:
        config: Which one.
        ids: The text.
        n_prompt: How many of the ids are its prompt.
        logits: (V,) after all other rules.
    """
    if isinstance(config, WatermarkingConfig):
        return _green_list(config, ids, logits)
    return _tournament(config, ids[n_prompt:], logits)


def _green_list(config: WatermarkingConfig, ids: Sequence[int], logits: Logits) -> Logits:
    """Kirchenbauer et al. 2023: add a bias to a part of the vocabulary."""
    if len(ids) < config.context_width:
        return logits
    if config.seeding_scheme == "selfhash":
        best = np.argsort(-logits, kind="stable")[:_TRIED].tolist()
        green = [each for each in best if each in _greens(config, [*ids, each], len(logits))]
    else:
        green = _greens(config, ids, len(logits))
    marked = logits.copy()
    marked[np.asarray(green, dtype=np.intp)] += config.bias
    return marked


def _greens(config: WatermarkingConfig, ids: Sequence[int], vocab_size: int) -> list[int]:
    """The favoured tokens after these ids."""
    seed = config.hashing_key * ids[-1]
    if config.seeding_scheme == "selfhash":
        table = permutation_table(config.hashing_key, _TABLE_SIZE) + 1
        recent = table[np.asarray(ids[-config.context_width :]) % _TABLE_SIZE]
        # products of 64 bits, which wrap around as in PyTorch
        seed = int((config.hashing_key * recent * recent[-1]).min())
    return permutation(seed % (2**64 - 1), vocab_size, int(vocab_size * config.greenlist_ratio))


def _tournament(
    config: SynthIDTextWatermarkingConfig, written: Sequence[int], logits: Logits
) -> Logits:
    """Dathathri et al. 2024, algorithm 2: rounds in which each token has the value 0 or 1."""
    scores = np.ones_like(logits) if config.debug_mode else logits
    contexts = _contexts(config, written)
    first = config.ngram_len - 1 if config.skip_first_ngram_calls else 0
    if len(contexts) <= first:
        return scores
    hashed = _hashed(contexts[first:])
    if hashed[-1] in hashed[:-1][-config.context_history_size :]:
        return scores
    table = coins(config.sampling_table_seed, config.sampling_table_size)
    of_token = _accumulated(hashed[-1:], np.arange(len(logits)))  # (V,)
    probabilities = np.exp(scores - scores.max())
    probabilities /= probabilities.sum()
    for key in config.keys:
        values = table[_accumulated(of_token, np.int64(key)) % len(table)].astype(logits.dtype)
        probabilities *= 1 + values - (values * probabilities).sum()
    with np.errstate(divide="ignore"):
        marked: Logits = np.log(probabilities)
    return marked


def _contexts(config: SynthIDTextWatermarkingConfig, written: Sequence[int]) -> NDArray[np.int64]:
    """The ngram_len - 1 new tokens before each new token and the next one, (steps, ngram_len - 1).

    Before the first one there are zeros.
    """
    width = config.ngram_len - 1
    padded = np.array([*[0] * width, *written], dtype=np.int64)
    if not width:
        return np.zeros((len(written) + 1, 0), dtype=np.int64)
    return np.lib.stride_tricks.sliding_window_view(padded, width)


def _hashed(contexts: NDArray[np.int64]) -> NDArray[np.int64]:
    """A hash of each context (N, width)."""
    found = np.ones(len(contexts), dtype=np.int64)
    for place in range(contexts.shape[1]):
        found = _accumulated(found, contexts[:, place])
    return found


def _accumulated(
    hashed: NDArray[np.int64], values: NDArray[np.int64] | np.int64
) -> NDArray[np.int64]:
    """Hashes with one more value; products of 64 bits wrap around."""
    return (hashed + values) * np.int64(_MULTIPLIER) + np.int64(1)
