"""The seam between the training loop and a framework: one optimizer step, its state on disk.

The state goes from the step into a folder and back without passing through the loop, so a step
whose weights are spread over several devices or machines can write its own part. Nothing here
gathers a model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ogpt.data.batch import Batch
from ogpt.training.objective import LOSS, Objective, Totals


class StepResult(NamedTuple):
    """Result of one optimizer step."""

    measures: Mapping[str, float]
    """Mean of each measure over all micro-batches; "loss" is what the step minimized."""
    grad_norm: float
    """Norm of the whole gradient, before clipping."""
    counts: Mapping[str, int]
    """Number of tokens or examples behind each measure of the objective."""

    @property
    def loss(self) -> float:
        """What the step minimized."""
        return self.measures[LOSS]

    @property
    def finite(self) -> bool:
        """Whether loss and gradient are numbers, so that the update was applied."""
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class BatchResult(NamedTuple):
    """One batch, evaluated without dropout."""

    totals: Totals
    predictions: NDArray[Any] | None
    """One row per example, or None where an objective has none (a language model's would be
    (B, T, V) numbers)."""


class TrainStep(Protocol):
    """One optimizer step of an Objective; loop, checkpoints and reports know a model only so."""

    @property
    def objective(self) -> Objective:
        """What is learned."""
        ...

    @property
    def flops_per_token(self) -> float:
        """Operations of training on one token, for MFU."""
        ...

    @property
    def peak_flops_per_s(self) -> float:
        """Speed of the best matrix multiplication on this machine, in the training dtype."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Estimate of the peak memory of a step."""
        ...

    @property
    def description(self) -> Mapping[str, str | int]:
        """Framework, device, dtype, compile, threads: for people."""
        ...

    def train(self, batches: Sequence[Batch], step: int, learning_rate: float) -> StepResult:
        """Take optimizer step number `step` on the micro-batches.

        A pure function of the state, the batches and `step`: a resumed run repeats it bit for bit.
        A result that is not finite leaves the weights as they were.
        """
        ...

    def evaluate(self, batch: Batch) -> BatchResult:
        """Compute the objective's measures on one batch."""
        ...

    def predict(self, batch: Batch) -> NDArray[Any] | None:
        """Compute the predictions of one batch alone; None as in BatchResult.

        PyTorch computes them in float32, also where it trains in bfloat16.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write all state into an existing folder: a model folder, and what resuming needs more.

        The model's files (config.json, weights) lie in the folder itself, the other state in
        `resume/` (see `ogpt.training.optimizer_state`).

        Raises:
            StorageError: the disk is full or refuses.
        """
        ...

    def load(self, folder: Path) -> None:
        """Restore what `save` wrote.

        Raises:
            CheckpointError, WeightsError: state that is missing, damaged or of another model.
        """
        ...


def dropout_seed(seed: int, step: int, part: int) -> int:
    """A seed for one micro-batch of one step; SeedSequence keeps neighbours uncorrelated.

    Args:
        seed: Of the run.
        step: Number of the optimizer step.
        part: Number of the micro-batch in it.
    """
    # torch takes seeds below 2**63
    return int(np.random.SeedSequence((seed, step, part)).generate_state(1, np.uint64)[0] >> 1)
