"""The smallest TrainStep, and what tests ask of the run that it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ogpt.data.batch import Batch
from ogpt.folders.run_folder import RunFolder
from ogpt.training.step import StepResult
from ogpt.weights.arrays import Array
from ogpt.weights.safetensors_file import write_arrays


class Counter:
    """A TrainStep whose whole state is one number."""

    flops_per_token = 1.0
    peak_flops_per_s = 1.0

    def __init__(self) -> None:
        self.description: dict[str, str | int] = {}
        self.value = 0.0

    def train(self, batches: list[Batch], step: int, learning_rate: float) -> StepResult:
        self.value += learning_rate
        return StepResult(self.value, 1.0, 10)

    def evaluate(self, batch: Batch) -> tuple[float, int]:
        return 10.0 - self.value, 10

    def save_model(self, folder: Path) -> None:
        write_arrays(folder / "model.safetensors", {"w": self._array()})

    def resume_arrays(self) -> dict[str, Array]:
        return {"m": self._array()}

    def load_state(self, weights: dict[str, Array], resume: dict[str, Array]) -> None:
        assert weights["w"].data == resume["m"].data
        self.value = float(weights["w"].data[0])

    def _array(self) -> Array:
        return Array("float64", np.array([self.value]))


def nothing(folder: Path) -> None:
    """Adds no files."""


def names(run: RunFolder) -> list[str]:
    return sorted(folder.name for folder in (run.path / "checkpoints").iterdir())
