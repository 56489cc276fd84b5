"""A Reporter that draws losses and rates in TensorBoard."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

_DRAWN = {
    "train": ("loss", "learning_rate", "grad_norm", "tokens_per_s", "mfu"),
    "eval": ("loss", "perplexity", "bits_per_byte"),
}


def available() -> bool:
    """Whether the tensorboard package is installed (extra `report`)."""
    return importlib.util.find_spec("tensorboard") is not None


class TensorBoard:
    """Writes event files into `folder`; use only where available().

    Args:
        folder: Of the event files; made if missing.
        step: The step that the run goes on from; what an earlier part drew after it is forgotten.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def __call__(self, kind: str, /, **fields: Any) -> None:
        """Draw the numbers of one train or eval event."""
        for name in _DRAWN.get(kind, ()):
            self.writer.add_scalar(f"{kind}/{name}", fields[name], fields["step"])

    def close(self) -> None:
        """Flush and close the files."""
        self.writer.close()
