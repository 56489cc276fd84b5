"""Step -> learning-rate factor: pure functions."""

from __future__ import annotations

import math


def warmup_cosine(step: int, warmup_steps: int, total_steps: int) -> float:
    """Linear from 0 over `warmup_steps`, then half a cosine down to 0 at `total_steps`.

    Args:
        step: Optimizer steps already taken, from 0; the factor is for the next one.
        warmup_steps: 0 or more; a run that is shorter than its warm-up never leaves it.
        total_steps: Steps in the run.

    Source: paper, section 4.1.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
