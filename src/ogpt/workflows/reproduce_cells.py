"""The runs of `ogpt reproduce`: each cell of a table is a sweep of seeds, run once and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ogpt.config.loader import to_toml
from ogpt.errors import ConfigError, DamagedData
from ogpt.evaluation.paper_tables import FULL
from ogpt.evaluation.task_scores import TaskScore
from ogpt.folders.run_folder import RunFolder
from ogpt.notices import keeping
from ogpt.reading import parse_json
from ogpt.reporting import Reporter
from ogpt.storage import write_json
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.task_data import TaskData
from ogpt.workflows.finetune_sweep import finetune_sweep
from ogpt.workflows.predict import predict
from ogpt.workflows.reproduce_setup import Cell, Study, scored, with_training_sample

RESULT_FILE = "result.json"
SUBMISSIONS = "submissions"
"""Folder in OUT for what GLUE's server scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellResult:
    """What the runs of a cell reached."""

    key: Mapping[str, Any]
    """What they depend on: examples, settings, number of seeds."""
    metric: str
    runs: tuple[Mapping[str, TaskScore], ...]
    """Of each seed, its score by the metric on each set with labels."""
    examples: Mapping[str, int]
    """Number of examples of each set."""
    train_examples: int
    best_run: str
    """Name of the run that is best in validation."""
    wall_s: float | None
    """Of all seeds together."""
    flops: float | None
    machine: str
    notes: tuple[str, ...]
    """Messages of the notices."""


def finished_cell(study: Study, cell: Cell) -> CellResult | None:
    """The result of a cell whose runs are finished; None: there are runs to do.

    Raises:
        ConfigError: there are results of other examples or settings.
        DamagedData: the file of the results is damaged.
    """
    file = study.out(cell) / RESULT_FILE
    if not file.exists():
        return None
    found = _load(file)
    key = _key(study, cell)
    differing = [name for name in ("examples", "settings") if found.key[name] != key[name]]
    if differing:
        raise ConfigError(
            f"{study.out(cell)} holds results of other {' and '.join(differing)}",
            hint="choose another --out, or repeat the command with the data and --set of before",
        )
    return found if found.key["seeds"] == key["seeds"] else None


def run_cell(study: Study, cell: Cell, reporter: Reporter) -> CellResult:
    """Run what is left of a cell, and keep its result and the weights of its best checkpoints.

    Raises:
        OgptError: as in `ogpt.finetune_sweep`.
    """
    with keeping() as notices:
        read = study.read(cell.task)
        data = with_training_sample(scored(read), cell.task)
        made = finetune_sweep(
            **study.arguments(cell),
            source=data,
            seeds=study.seeds,
            resume=True,
            reporter=reporter,
        )
        _submit(study, cell, made.best_run, read)
    folders = [RunFolder.open(run) for run in made.points[0].runs]
    result = CellResult(
        key=_key(study, cell),
        metric=made.metric,
        runs=tuple(
            {name: TaskScore.of(scores[made.metric]) for name, scores in run.facts["test"].items()}
            for run in folders
        ),
        examples={name: len(examples) for name, examples in data.test.items()},
        train_examples=len(data.train),
        best_run=made.best_run.name,
        wall_s=_sum(folders, "wall_s"),
        flops=_sum(folders, "flops"),
        machine=_machine(folders[0]),
        notes=tuple(dict.fromkeys(notice.message for notice in notices)),
    )
    runs = [{name: score.stored for name, score in run.items()} for run in result.runs]
    write_json(study.out(cell) / RESULT_FILE, {**asdict(result), "runs": runs})
    for run in folders:
        run.keep_best()
    return result


def _submit(study: Study, cell: Cell, best: Path, data: TaskData) -> None:
    """Write the files that GLUE's server scores, of the full model on test sets without labels."""
    files = TASKS[cell.task].submissions if cell.variant.name == FULL.name else {}
    for name, file in files.items():
        split = name if name == "test" else f"test/{name}"
        if name in data.test and split not in scored(data).test:
            out = study.request.out / SUBMISSIONS / file
            out.parent.mkdir(exist_ok=True)
            threads = study.settings(cell).finetune.threads
            assert study.request.data is not None
            predict(best, study.request.data, split=split, out=out, format="glue", threads=threads)


def _key(study: Study, cell: Cell) -> dict[str, Any]:
    return {
        "examples": study.digests[cell.task],
        "settings": to_toml(study.settings(cell)),
        "seeds": study.seeds,
    }


def _load(file: Path) -> CellResult:
    try:
        stored: dict[str, Any] = parse_json(file.read_text("utf-8"))
        stored["runs"] = tuple(
            {name: TaskScore.of(score) for name, score in run.items()} for run in stored["runs"]
        )
        return CellResult(**{**stored, "notes": tuple(stored["notes"])})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedData(
            f"{file} is damaged: {error!r}", hint="delete it: the runs beside it are not repeated"
        ) from error


def _sum(runs: list[RunFolder], name: str) -> float | None:
    values = [run.facts.get(name) for run in runs]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _machine(run: RunFolder) -> str:
    known = run.facts.get("machine", {})
    return ", ".join(str(known[name]) for name in ("device", "dtype") if name in known)
