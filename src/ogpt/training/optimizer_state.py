"""The optimizer's state as a file that any framework can read: `resume/optimizer.safetensors`.

For each weight W of the model folder: `exp_avg.W` and `exp_avg_sq.W`, Adam's first and second
moment, without bias correction, in the shape and orientation that W has in model.safetensors,
float32. `steps`, int64 with shape (): optimizer steps taken, from which the bias correction
follows. Moments of weights that are tied stand once, under the name that model.safetensors uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ogpt.errors import CheckpointError
from ogpt.folders.run_folder import RESUME_FOLDER
from ogpt.weights.arrays import Array
from ogpt.weights.safetensors_file import open_safetensors, write_arrays

OPTIMIZER_FILE = "optimizer.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""Adam's first and second moment, by the names of torch.optim."""

_STEPS = "steps"


class OptimizerState(NamedTuple):
    """What Adam remembers between two steps."""

    steps: int
    """Optimizer steps taken."""
    moments: Mapping[str, Array]
    """`exp_avg.W` and `exp_avg_sq.W` for each weight W."""

    def moment(self, moment: str, weight: str) -> Array:
        """One moment of one weight.

        Raises:
            CheckpointError: the file does not hold it.
        """
        return _stored(self.moments, f"{moment}.{weight}", f"{moment}.{weight}")


def write_optimizer(folder: Path, state: OptimizerState) -> None:
    """Write the state into a checkpoint's folder, without a second copy of it in memory.

    Raises:
        StorageError: the disk is full or refuses.
    """
    (folder / RESUME_FOLDER).mkdir(exist_ok=True)
    steps = {_STEPS: Array("int64", np.array(state.steps))}
    write_arrays(folder / RESUME_FOLDER / OPTIMIZER_FILE, steps | dict(state.moments))


def open_optimizer(folder: Path) -> OptimizerState:
    """Open the state in a checkpoint's folder; each moment is read when it is asked for.

    Raises:
        CheckpointError: the file has no count of steps.
        WeightsError: the file is missing or damaged.
    """
    arrays = open_safetensors(folder / RESUME_FOLDER / OPTIMIZER_FILE)
    if _STEPS not in arrays:
        raise CheckpointError(
            f"the checkpoint {folder} does not count its optimizer steps",
            hint="resume from another checkpoint, or start a new run",
        )
    return OptimizerState(int(arrays[_STEPS].data), arrays)


def stored_weight(weights: Mapping[str, Array], name: str) -> Array:
    """One weight of a checkpoint that a run resumes from.

    Raises:
        CheckpointError: the checkpoint does not hold it.
    """
    return _stored(weights, name, f"the weight {name}")


def _stored(arrays: Mapping[str, Array], name: str, what: str) -> Array:
    if name not in arrays:
        raise CheckpointError(
            f"the checkpoint lacks {what}",
            hint="resume from another checkpoint, or start a new run",
        )
    return arrays[name]
