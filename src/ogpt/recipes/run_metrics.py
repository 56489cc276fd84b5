"""Read a run's metrics.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ogpt.errors import DamagedData, SourceNotFound
from ogpt.folders.run_folder import METRICS_FILE, read_events

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The events of a run in the order of their steps; the last one of a step that was repeated."""

    train: tuple[Event, ...]
    """One per `log_every` steps, with the fields of a `train` event."""
    valid: tuple[Event, ...]
    """One per evaluation, with the fields of an `eval` event."""
    probes: tuple[Event, ...] = ()
    """One per evaluation and zero-shot probe, with the fields of a `probe` event; those of a step
    by name."""

    @property
    def train_seconds(self) -> float:
        """Time in training steps, without evaluations and checkpoints."""
        before = [0, *(event["step"] for event in self.train)]
        return math.fsum(
            (event["step"] - last) * event["tokens"] / event["tokens_per_s"]
            for event, last in zip(self.train, before, strict=False)
        )

    @property
    def tokens_per_s(self) -> float:
        """Median over the run."""
        return median(float(event["tokens_per_s"]) for event in self.train)

    @property
    def mfu(self) -> float:
        """Median share of the best measured matrix multiplication."""
        return median(float(event["mfu"]) for event in self.train)


def read_metrics(run: Path) -> Metrics:
    """Read RUN/metrics.jsonl, also while the run is in progress.

    Raises:
        SourceNotFound: there is no such file.
        DamagedData: a line is not an event, or there is no measure yet.
    """
    file = run / METRICS_FILE
    if not file.is_file():
        raise SourceNotFound(f"there is no {file}", hint="pass the folder of a run")
    found: dict[str, dict[tuple[int, str], Event]] = {"train": {}, "eval": {}, "probe": {}}
    for event in read_events(file):
        if event["event"] in found:
            found[event["event"]][event["step"], event.get("name", "")] = event
    if not (found["train"] and found["eval"]):
        raise DamagedData(
            f"{file} holds {len(found['train'])} train events and {len(found['eval'])} "
            "evaluations; at least one of each is needed",
            hint="continue the run with --resume",
        )
    return Metrics(*(tuple(event for _, event in sorted(kind.items())) for kind in found.values()))
