"""Sampling on the device: chooses what `rules.warp` and `random_numbers.sample` choose on the host.

R rows of logits over V tokens, each with its own temperature and filters. The same random numbers
give the same tokens as on the host: both sum in float64, in order of ids, block by block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.generation.protocol.decoder import Draw

_BLOCK = 256  # entries of one block of the two-level cumulative sum, as on the host
_LEAST_TEMPERATURE = float(np.finfo(np.float32).tiny)

Kind = Literal["greedy", "plain", "filtered"]
"""The most work that any row needs. Only filters need a sort of the vocabulary."""


class Draws(NamedTuple):
    """How each row is sampled; all (R,) float64, so that one tensor holds them."""

    do_sample: Tensor
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    log_min_p: Tensor


def rows_of_draws(draws: Sequence[Draw], vocab_size: int) -> NDArray[np.float64]:
    """The draws as (5, R), in the order of `Draws`; disabled filters have values that keep all."""
    found = np.empty((len(Draws._fields), len(draws)))
    found[0] = [draw.do_sample for draw in draws]
    found[1] = [draw.temperature for draw in draws]
    found[2] = [draw.top_k or vocab_size for draw in draws]
    found[3] = [draw.top_p if draw.top_p < 1 else np.inf for draw in draws]
    with np.errstate(divide="ignore"):
        found[4] = np.log([draw.min_p for draw in draws])
    return found


def kind_of(draws: Sequence[Draw]) -> Kind:
    """The most work that any of the draws needs."""
    drawn = [draw for draw in draws if draw.do_sample]
    if any(draw.top_k or draw.top_p < 1 or draw.min_p for draw in drawn):
        return "filtered"
    return "plain" if drawn else "greedy"


def choose(logits: Tensor, draws: Draws, numbers: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    """The next token of each row, (R,) int64, and its log-probability, (R,) float32.

    Log-probabilities are those of the model, before temperature and filters. They are NaN where a
    logit is NaN or infinite.

    Args:
        logits: (R, V), float32.
        draws: How each row is sampled.
        numbers: (R,) float64 in [0, 1).
        kind: `kind_of` the draws, or more.
    """
    top, chosen, log_sum = _summary(logits)
    if kind != "greedy":
        # The largest logit is subtracted first: divided by a tiny temperature it would overflow.
        divisor = draws.temperature.clamp(min=_LEAST_TEMPERATURE).float()
        scaled = (logits - top[:, None]) / divisor[:, None]
        weights = scaled.exp()
        if kind == "filtered":
            weights = weights.masked_fill(~_kept(logits, scaled, draws), 0.0)
        chosen = torch.where(draws.do_sample > 0, pick(weights, numbers), chosen)
    return chosen, logits.gather(1, chosen[:, None])[:, 0] - log_sum


def _summary(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The largest logit of each row, its id, and the log of the sum of exponentials; all (R,)."""
    if logits.is_cuda:
        from ogpt.model.cuda import triton_kernels

        return triton_kernels.summarize(logits)
    top, best = logits.max(1)
    return top, best, logits.logsumexp(1)


def _kept(logits: Tensor, scaled: Tensor, draws: Draws) -> Tensor:
    """The tokens that remain after top-k, then top-p and min-p of the rest, (R, V) bool."""
    # stable: of equal logits the lower id comes first, as on the host
    order = logits.argsort(dim=1, descending=True, stable=True)
    depth = scaled.gather(1, order)
    rank = torch.arange(logits.shape[1], device=logits.device)
    kept = rank < draws.top_k[:, None]
    weights = depth.exp().masked_fill(~kept, 0.0).double()
    reached = weights.cumsum(1)
    kept &= reached - weights < draws.top_p[:, None] * reached[:, -1:]
    kept &= depth >= draws.log_min_p[:, None]
    return torch.zeros_like(kept).scatter(1, order, kept)


def pick(weights: Tensor, numbers: Tensor) -> Tensor:
    """Sample one entry of each row, by the inverse of the cumulative sum.

    Args:
        weights: (R, V), not normalized, 0 or more, not all 0 in a row. Entries of 0 are never
            picked.
        numbers: (R,) float64 in [0, 1).
    """
    V = weights.shape[1]
    full = V - V % _BLOCK
    # a view, so that (R, V) is not copied
    in_blocks = weights[:, :full].view(len(weights), V // _BLOCK, _BLOCK)
    sums = in_blocks.sum(2, dtype=torch.float64)
    rest = weights[:, full:].sum(1, keepdim=True, dtype=torch.float64)
    blocks = torch.cat([sums, rest], 1).cumsum(1)
    target = numbers[:, None] * blocks[:, -1:]
    block = _first_above(blocks, target)
    before = torch.where(block > 0, blocks.gather(1, (block - 1).clamp(min=0)), 0.0)
    places = block * _BLOCK + torch.arange(_BLOCK, device=weights.device)
    inside = weights.gather(1, places.clamp(max=V - 1)).double().masked_fill(places >= V, 0.0)
    found = block * _BLOCK + _first_above(before + inside.cumsum(1), target)
    return found[:, 0].clamp(max=V - 1)


def _first_above(cumulative: Tensor, target: Tensor) -> Tensor:
    """First place where the sum exceeds `target`, at most the last weight above 0; (R, 1)."""
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    found = torch.minimum(torch.searchsorted(cumulative, target, right=True), last)
    return found.clamp(max=cumulative.shape[1] - 1)  # NaN sums give V
