"""Learning-rate schedules: pure functions from a step to a factor of the peak rate."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]
"""Optimizer steps already taken -> factor of the peak learning rate for the next one, 0 to 1."""


SHORTENED = 10
"""A warm-up that outlasts the run is shortened to 1 / SHORTENED of it."""


def outlasts(warmup_steps: int, total_steps: int) -> bool:
    """Whether a warm-up leaves no step of the run for the cosine."""
    return warmup_steps >= total_steps


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up from 0 over `warmup_steps`, then half a cosine to 0 at `total_steps`.

    A warm-up that outlasts the run is shortened to a tenth of it: the rate would end at its peak
    or below, and the model be left at its noisiest.

    Args:
        step: Optimizer steps already taken, from 0; the factor is for the next one.
        warmup_steps: 0 or more.
        total_steps: Steps in the run.

    Source: paper, section 4.1.
    """
    if outlasts(warmup_steps, total_steps):
        warmup_steps = total_steps // SHORTENED
    # Adam's second moment is an average of few gradients at first, and its steps are erratic;
    # the warm-up keeps them small. A factor of 0 for the first step would waste it, hence + 1.
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def warmup_linear(step: int, warmup_fraction: float, total_steps: int) -> float:
    """Linear warm-up from 0 over a share of the run, then linear decay to 0 at its end.

    Args:
        step: Optimizer steps already taken, from 0; the factor is for the next one.
        warmup_fraction: Share of the run, 0 to below 1 (paper: 0.002).
        total_steps: Steps in the run.

    Source: paper, section 4.1.
    """
    # a factor of 0 for the first step would waste it, hence + 1
    warmup_steps = warmup_fraction * total_steps
    if step < warmup_steps:
        return min(1.0, (step + 1) / warmup_steps)
    return 1.0 - step / total_steps


def warmup_linear_2018(step: int, warmup_fraction: float, total_steps: int) -> float:
    """The schedule of the 2018 code: the linear decay runs during the warm-up too.

    Args:
        step: Optimizer steps already taken, from 0; the factor is for the next one.
        warmup_fraction: Share of the run, 0 to below 1 (paper: 0.002).
        total_steps: Steps in the run.

    Source: 2018 code, opt.py, warmup_linear(). The recorded run of that code reads the counter of
    steps after it is raised: the first step has a factor above 0, and the last one a factor of 0.
    """
    done = (step + 1) / total_steps
    rise = min(1.0, done / warmup_fraction) if warmup_fraction else 1.0
    return rise * (1.0 - done)
