"""The smallest TrainStep, and what tests ask of the run that it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ogpt.data.batch import Batch
from ogpt.folders.run_folder import RunFolder
from ogpt.training.objective import CausalLanguageModeling, Total
from ogpt.training.step import BatchResult, StepResult
from ogpt.weights.arrays import Array
from ogpt.weights.safetensors_file import open_safetensors, write_arrays


class Counter:
    """A TrainStep whose whole state is one number."""

    objective = CausalLanguageModeling()
    flops_per_token = 1.0
    peak_flops_per_s = 1.0
    memory_bytes = 8

    def __init__(self) -> None:
        self.description: dict[str, str | int] = {}
        self.value = 0.0

    def train(self, batches: list[Batch], step: int, learning_rate: float) -> StepResult:
        self.value += learning_rate
        return StepResult({"loss": self.value}, 1.0, {"loss": 10})

    def evaluate(self, batch: Batch) -> BatchResult:
        return BatchResult({"loss": Total(10.0 - self.value, 10)}, None)

    def save(self, folder: Path) -> None:
        write_arrays(folder / "model.safetensors", {"w": self._array()})
        (folder / "resume").mkdir()
        write_arrays(folder / "resume" / "optimizer.safetensors", {"m": self._array()})

    def load(self, folder: Path) -> None:
        weights = open_safetensors(folder / "model.safetensors")
        resume = open_safetensors(folder / "resume" / "optimizer.safetensors")
        assert weights["w"].data == resume["m"].data
        self.value = float(weights["w"].data[0])

    def _array(self) -> Array:
        return Array("float64", np.array([self.value]))


def nothing(folder: Path) -> None:
    """Adds no files."""


def names(run: RunFolder) -> list[str]:
    return sorted(folder.name for folder in (run.path / "checkpoints").iterdir())
