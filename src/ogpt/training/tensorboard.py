"""A Reporter that writes measures, rates and speed for TensorBoard."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from ogpt.reporting import measures

_TRAINING = ("learning_rate", "grad_norm", "tokens_per_s", "mfu")


def available() -> bool:
    """Whether the tensorboard package is installed (extra `report`)."""
    return importlib.util.find_spec("tensorboard") is not None


class TensorBoard:
    """Writes event files into `folder`; use only where available().

    Args:
        folder: Folder of the event files; made if missing.
        step: Step that the run resumes from. What an earlier part wrote after it is purged, as
            those steps are taken again.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Write the numbers of one train, eval or probe event."""
        numbers = measures(kind, fields)
        if kind == "probe":
            numbers[fields["name"]] = fields["value"]
        if kind == "train":
            numbers |= {name: fields[name] for name in _TRAINING}
        for name, value in numbers.items():
            self.writer.add_scalar(f"{kind}/{name}", value, fields["step"])

    def close(self) -> None:
        """Flush and close the files."""
        self.writer.close()
