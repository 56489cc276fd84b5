"""The seam between the training loop and a framework: one optimizer step, state out and in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ogpt.data.batch import Batch
from ogpt.weights.arrays import Array


class StepResult(NamedTuple):
    """What one optimizer step says."""

    loss: float
    """Mean over all counted tokens of all micro-batches, in nats."""
    grad_norm: float
    """Of the whole gradient, before clipping."""
    tokens: int
    """Counted tokens."""

    @property
    def finite(self) -> bool:
        """Whether the step could be taken."""
        return abs(self.loss) < float("inf") and abs(self.grad_norm) < float("inf")


class TrainStep(Protocol):
    """Loop, schedule, checkpoint and reporter know a model only through this."""

    flops_per_token: float
    """Of training, for MFU."""
    peak_flops_per_s: float
    """Best measured matrix product of this machine in the training dtype."""
    description: dict[str, str | int]
    """Framework, device, dtype, compile, threads: for people."""

    def train(self, batches: Sequence[Batch], step: int, learning_rate: float) -> StepResult:
        """Take optimizer step number `step` on the micro-batches.

        A pure function of the state, the batches and `step`. A result that is not finite leaves
        the weights as they were.
        """
        ...

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        """Summed loss in nats and number of counted tokens."""
        ...

    def save_model(self, folder: Path) -> None:
        """Write config.json and weights into an existing folder."""
        ...

    def resume_arrays(self) -> dict[str, Array]:
        """All state that the model folder does not hold (moments of the optimizer)."""
        ...

    def load_state(self, weights: Mapping[str, Array], resume: Mapping[str, Array]) -> None:
        """Take back what save_model and resume_arrays gave."""
        ...
