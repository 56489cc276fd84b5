"""Learning-rate schedules: pure functions from a step to a factor of the peak rate."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]
"""Optimizer steps already taken -> factor of the peak learning rate for the next one, 0 to 1."""


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up from 0 over `warmup_steps`, then half a cosine to 0 at `total_steps`.

    Args:
        step: Optimizer steps already taken, from 0; the factor is for the next one.
        warmup_steps: 0 or more; a run shorter than its warm-up never leaves it.
        total_steps: Steps in the run.

    Source: paper, section 4.1.
    """
    # Adam's second moment is an average of few gradients at first, and its steps are erratic;
    # the warm-up keeps them small. A factor of 0 for the first step would waste it, hence + 1.
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
