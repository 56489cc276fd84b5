"""The choice of the next tokens where the logits are: what `warp` and `sample` choose on the host.

R rows of logits over V tokens, each with a temperature and filters of its own. The same numbers
pick the same tokens as on the host: sums are in float64, in order of ids, block by block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.generation.protocol.decoder import Draw

_BLOCK = 256  # entries of one block of the two-level cumulative sum
_LEAST_TEMPERATURE = float(np.finfo(np.float32).tiny)

Kind = Literal["greedy", "plain", "filtered"]
"""What some row asks for, so that no row pays for what none does: only filters need a sort."""


class Draws(NamedTuple):
    """How each row is drawn; all (R,) float64, so that one tensor holds them."""

    do_sample: Tensor
    temperature: Tensor
    top_k: Tensor
    top_p: Tensor
    log_min_p: Tensor


def rows_of_draws(draws: Sequence[Draw], vocab_size: int) -> NDArray[np.float64]:
    """The draws as (5, R), in the order of `Draws`; what filters nothing out has its widest."""
    found = np.empty((len(Draws._fields), len(draws)))
    found[0] = [draw.do_sample for draw in draws]
    found[1] = [draw.temperature for draw in draws]
    found[2] = [draw.top_k or vocab_size for draw in draws]
    found[3] = [draw.top_p if draw.top_p < 1 else np.inf for draw in draws]
    with np.errstate(divide="ignore"):
        found[4] = np.log([draw.min_p for draw in draws])
    return found


def kind_of(draws: Sequence[Draw]) -> Kind:
    """What the rows together ask for."""
    drawn = [draw for draw in draws if draw.do_sample]
    if any(draw.top_k or draw.top_p < 1 or draw.min_p for draw in drawn):
        return "filtered"
    return "plain" if drawn else "greedy"


def choose(logits: Tensor, draws: Draws, numbers: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
    """The next token of each row, (R,) int64, and its log-probability, (R,) float32.

    Log-probabilities are the model's own, before the temperature and filters; NaN where the logits
    are not numbers.

    Args:
        logits: (R, V), float32.
        draws: Of each row.
        numbers: (R,) float64 in [0, 1).
        kind: At least what the draws ask for.
    """
    top, chosen, log_sum = _summary(logits)
    if kind != "greedy":
        # shifted first: a tiny temperature overflows otherwise
        divisor = draws.temperature.clamp(min=_LEAST_TEMPERATURE).float()
        scaled = (logits - top[:, None]) / divisor[:, None]
        weights = scaled.exp()
        if kind == "filtered":
            weights = weights.masked_fill(~_kept(logits, scaled, draws), 0.0)
        chosen = torch.where(draws.do_sample > 0, pick(weights, numbers), chosen)
    return chosen, logits.gather(1, chosen[:, None])[:, 0] - log_sum


def _summary(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The highest logit of each row, its id, and the log of the sum of exps; all (R,)."""
    if logits.is_cuda:
        from ogpt.model.cuda import triton_kernels

        return triton_kernels.summarize(logits)
    top, best = logits.max(1)
    return top, best, logits.logsumexp(1)


def _kept(logits: Tensor, scaled: Tensor, draws: Draws) -> Tensor:
    """Which tokens top-k, then top-p and min-p of what is left keep, (R, V)."""
    order = logits.argsort(dim=1, descending=True, stable=True)  # of equals the lower id first
    depth = scaled.gather(1, order)
    rank = torch.arange(logits.shape[1], device=logits.device)
    kept = rank < draws.top_k[:, None]
    mass = depth.exp().masked_fill(~kept, 0.0).double()
    reached = mass.cumsum(1)
    kept &= reached - mass < draws.top_p[:, None] * reached[:, -1:]
    kept &= depth >= draws.log_min_p[:, None]
    return torch.zeros_like(kept).scatter(1, order, kept)


def pick(weights: Tensor, numbers: Tensor) -> Tensor:
    """The entry of each row that its number picks, by the inverse of the cumulative sum.

    Args:
        weights: (R, V), 0 or more, not all of a row 0; those of 0 are never picked.
        numbers: (R,) float64 in [0, 1).
    """
    V = weights.shape[1]
    full = V - V % _BLOCK
    in_blocks = weights[:, :full].view(len(weights), V // _BLOCK, _BLOCK)  # a view: its strides do
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
    """First place where the sum exceeds `target`; at most the last that added anything; (R, 1)."""
    last = torch.searchsorted(cumulative, cumulative[:, -1:].contiguous())
    found = torch.minimum(torch.searchsorted(cumulative, target, right=True), last)
    return found.clamp(max=cumulative.shape[1] - 1)  # of sums that are NaN
