"""`ogpt reproduce --plan`: what a table of the paper would cost, measured before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ogpt.config.described import check_names
from ogpt.notices import each_once
from ogpt.tasks.catalogue import TASKS
from ogpt.workflows.finetune_plan import FinetunePlan, finetune_plan
from ogpt.workflows.reproduce_cells import finished_cell
from ogpt.workflows.reproduce_setup import (
    Cell,
    ReproduceRequest,
    Study,
    scored,
    set_up_study,
    with_training_sample,
)

_SAVED = 2 * (4 + 2 * 4)
"""Bytes for each parameter while a run trains: two checkpoints, with two moments each."""


@dataclass(frozen=True, slots=True)
class ReproducePlan:
    """Estimated cost of a table."""

    runs: int
    """Fine-tunings to do."""
    finished: int
    """Fine-tunings that are done."""
    eta_s: float
    """Of all runs to do."""
    flops: float
    memory_bytes: int
    """Estimate of the peak."""
    disk_bytes: int
    """Of the models that are kept, and of the checkpoints of the run in progress."""
    device: str
    missing: Mapping[str, str]
    """Data set that is not there -> owner and terms."""
    absent: Mapping[str, str]
    """Variant that cannot run -> how to make what it needs."""
    cells: Mapping[str, str]
    """Variant and data set -> its runs, examples and time."""


def reproduce_plan(table: str, **arguments: Any) -> ReproducePlan:
    """Estimate what `ogpt.reproduce` would cost; nothing is trained or written.

    The data sets are read and checked as for the runs, and speed is measured on their batches, once
    for all variants of the same cost.

    Args:
        table: As in `ogpt.reproduce`.
        **arguments: Those of `ogpt.reproduce`.

    Raises:
        OgptError: as in `ogpt.reproduce`.
    """
    arguments.pop("reporter", None)
    check_names(reproduce_plan, arguments, ReproduceRequest)
    with each_once():
        study = set_up_study(ReproduceRequest.of(table, **arguments))
        to_do = [cell for cell in study.cells if finished_cell(study, cell) is None]
        plans = _plans(study, to_do)
    made = [plans[_cost(cell)] for cell in to_do]
    kept = sum(4 * one.parameters for one in made) * study.seeds
    return ReproducePlan(
        runs=len(to_do) * study.seeds,
        finished=(len(study.cells) - len(to_do)) * study.seeds,
        eta_s=sum(one.eta_s for one in made),
        flops=sum(one.flops for one in made),
        memory_bytes=max((one.memory_bytes for one in made), default=0),
        disk_bytes=kept + max((_SAVED * one.parameters for one in made), default=0),
        device=", ".join({one.device for one in made}),
        missing={one.title: f"{one.owner} (terms: {one.licence})" for one in study.missing},
        absent=study.absent,
        cells={_name(cell): _line(plans[_cost(cell)]) for cell in to_do},
    )


def _plans(
    study: Study, cells: list[Cell]
) -> dict[tuple[str, bool, tuple[str, ...]], FinetunePlan]:
    plans: dict[tuple[str, bool, tuple[str, ...]], FinetunePlan] = {}
    for cell in cells:
        if _cost(cell) in plans:
            continue
        data = with_training_sample(scored(study.read(cell.task)), cell.task)
        # a folder that no run has, as one that was stopped would have to be resumed
        arguments = {**study.arguments(cell), "out": study.out(cell) / "plan"}
        plans[_cost(cell)] = finetune_plan(source=data, seeds=study.seeds, **arguments)
    return plans


def _cost(cell: Cell) -> tuple[str, bool, tuple[str, ...]]:
    """What the cost of a cell depends on: not on where its weights come from."""
    kept = [each for each in cell.variant.overrides if "n_transfer" not in each]
    return cell.task, cell.variant.lstm, tuple(kept)


def _name(cell: Cell) -> str:
    return f"{TASKS[cell.task].title}, {cell.variant.name}"


def _line(plan: FinetunePlan) -> str:
    minutes = plan.eta_s / 60
    time = f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    seeds = f"{plan.runs} run{'s' * (plan.runs > 1)}"
    return f"{seeds} over {plan.train_examples:,} examples, about {time}"
