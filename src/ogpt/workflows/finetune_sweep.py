"""`ogpt finetune --seeds N --grid ...`: several runs on one task, and what they show together.

Seeds repeat a run with other new weights, dropout masks and order of examples: their spread shows
how much of a score is chance (the 2018 code reports the median of 10 runs). A grid chooses settings
by the validation set, and only the runs with the chosen settings see the test set.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from ogpt.config.described import check_names
from ogpt.config.finetune_settings import FinetuneSettings
from ogpt.config.loader import load_settings_of, to_toml
from ogpt.errors import ConfigError, OutputExists
from ogpt.evaluation.task_scores import TaskScore, mean_interval
from ogpt.folders.model_folder import SWEEP_FILE
from ogpt.folders.run_folder import SETTINGS_FILE, RunFolder
from ogpt.notices import each_once
from ogpt.reporting import Reporter, silent
from ogpt.storage import only_writer, whole_file, write_json
from ogpt.tasks.catalogue import paper_scores
from ogpt.tasks.task_data import TaskData
from ogpt.tasks.task_source import TaskSource
from ogpt.workflows.finetune import LOWER_IS_BETTER, FinetuneResult, run_finetune
from ogpt.workflows.finetune_setup import CADENCE, FinetuneRequest
from ogpt.workflows.run_settings import check_same_settings

PAPER_GRID = (
    "finetune.learning_rate=3.125e-5,6.25e-5,1.25e-4",
    "finetune.batch_size=16,32",
)
"""Around the paper's values: 6.25e-5 and 32 "for most tasks" (section 4.1); it names no others."""


@dataclass(frozen=True, slots=True)
class Spread:
    """One score over several seeds."""

    median: float
    best: float
    mean: float
    low: float | None
    """With `high`, the 95 % interval of the mean (`ogpt.evaluation.task_scores.mean_interval`); of
    validation scores it covers the seeds, not the examples. None: there is none."""
    high: float | None


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """The runs that differ in the seed alone."""

    settings: Mapping[str, str]
    """What the grid sets."""
    runs: tuple[Path, ...]
    """Folders of the runs, by seed."""
    valid: Mapping[str, Spread]
    test: Mapping[str, Mapping[str, Spread]]
    """By name of the test set; of the chosen point only."""


@dataclass(frozen=True, slots=True)
class FinetuneSweep:
    """All runs of a sweep, and which are best."""

    out: Path
    metric: str
    """The measure of the validation set that decides."""
    points: tuple[SweepPoint, ...]
    chosen: int
    """Index of the point with the best median."""
    best_run: Path
    """The run of the chosen point that is best in validation; it stands for its model."""
    paper_scores: Mapping[str, float] = field(default_factory=dict)
    """The paper's score on each test set, 0 to 1, by the first measure; empty for other data."""


class _Point(NamedTuple):
    """What a grid sets, and the runs to do with it."""

    settings: dict[str, str]
    runs: list[FinetuneRequest]


def finetune_sweep(
    *,
    out: str | Path,
    seeds: int = 1,
    grid: str | Sequence[str] = (),
    reporter: Reporter = silent,
    **arguments: Any,
) -> FinetuneSweep:
    """Fine-tune with several seeds, with each setting of a grid, or both.

    The runs are OUT/seed-0000, OUT/seed-0001, ..., or lie in such folders below one for each point
    of the grid. OUT/sweep.json holds the scores, and OUT can be used as a model: it stands for its
    best run. A sweep that was stopped continues with `resume`; seeds and points can be added to it
    in the same way.

    Args:
        out: Folder of the sweep.
        seeds: Number of seeds, from finetune.seed on.
        grid: "paper", or one `finetune.field=value,value` or several; every combination is tried.
        reporter: Receives all events (`ogpt.reporting`).
        **arguments: The others of `ogpt.finetune`.

    Raises:
        ConfigError: seeds or a grid that make no sense, invalid settings, or settings that differ
            from those of the sweep to resume.
        OutputExists: `out` holds a sweep and `resume` is off, or holds other things.
        UnknownArgument: a name that neither has.
        OgptError: as in `ogpt.finetune`.
    """
    check_names(finetune_sweep, arguments, FinetuneRequest, TaskSource)
    request = FinetuneRequest.of(out=out, **arguments)
    settings = _settings(request)
    points = sweep_points(request, settings.finetune.seed, seeds, grid)
    with only_writer(request.out), each_once():
        with whole_file(request.out / SETTINGS_FILE) as temporary:
            temporary.write_text(to_toml(settings), "utf-8")
        write_json(request.out / SWEEP_FILE, {"finished": False})
        made = _sweep(request, points, reporter)
        facts: dict[str, Any] = {"finished": True, **asdict(made)}
        text = json.dumps(facts, default=lambda path: path.relative_to(request.out).as_posix())
        write_json(request.out / SWEEP_FILE, json.loads(text))
    return made


def sweep_points(
    request: FinetuneRequest, first_seed: int, seeds: int, grid: str | Sequence[str]
) -> dict[str, _Point]:
    """The points of a sweep by name, with all their settings checked.

    Raises:
        ConfigError: seeds or a grid that make no sense, or settings outside their range.
    """
    if type(seeds) is not int or seeds < 1:
        raise ConfigError(
            f"seeds is {seeds!r}; allowed: 1 or more", hint="pass for example --seeds 10"
        )
    points = {}
    for settings in _combinations(grid):
        name = ",".join(f"{key.removeprefix('finetune.')}={settings[key]}" for key in settings)
        chosen = (*request.overrides, *(f"{key}={settings[key]}" for key in settings))
        replace(request, overrides=chosen).settings(request.config)  # refuses what is wrong
        runs = [
            replace(
                request,
                out=request.out / name / f"seed-{seed:04d}",
                config=request.out / SETTINGS_FILE,
                overrides=(*chosen, f"finetune.seed={seed}"),
            )
            for seed in range(first_seed, first_seed + seeds)
        ]
        points[name] = _Point(settings, runs)
    return points


def _combinations(grid: str | Sequence[str]) -> list[dict[str, str]]:
    """What each point of a grid sets, `finetune.field` -> value; one empty point without a grid."""
    items = (grid,) if isinstance(grid, str) else grid
    axes: dict[str, list[str]] = {}
    for item in itertools.chain(*(PAPER_GRID if item == "paper" else [item] for item in items)):
        name, _, values = item.partition("=")
        axes[name.strip()] = [value.strip() for value in values.split(",")]
        if name.strip() == "finetune.seed" or not all(axes[name.strip()]):
            raise ConfigError(
                f"the grid is {item!r}; allowed: paper, or a setting other than the seed, = and "
                "values separated by commas",
                hint="pass for example --grid finetune.learning_rate=3e-5,6e-5, and --seeds for "
                "several seeds",
            )
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _settings(request: FinetuneRequest) -> FinetuneSettings:
    """The settings that all runs share; on resuming, those of the sweep in `out`."""
    out = request.out
    sweep = (out / SWEEP_FILE).exists()
    if RunFolder.is_run(out) or (sweep and not request.resume):
        raise OutputExists(
            f"{out} already holds a {'sweep' if sweep else 'run'}",
            hint="resume a sweep with --resume, or choose another --out",
        )
    if not sweep:
        RunFolder.check_free(out)
        return request.settings(request.config)
    saved = load_settings_of(FinetuneSettings, file=out / SETTINGS_FILE)
    asked = request.settings(request.config or out / SETTINGS_FILE)
    check_same_settings(out, saved, asked, CADENCE)
    return asked


def _sweep(
    request: FinetuneRequest, points: Mapping[str, _Point], reporter: Reporter
) -> FinetuneSweep:
    data = request.read()  # once for all runs
    metric = data.spec.metrics[0]
    selecting = replace(data, test={}) if len(points) > 1 else data
    found = {name: _runs(name, point, selecting, reporter) for name, point in points.items()}
    chosen = max(found, key=lambda name: _rank(metric, _median(metric, found[name])))
    if data.test and selecting is not data:
        found[chosen] = _runs(chosen, points[chosen], data, reporter)
    return FinetuneSweep(
        request.out,
        metric,
        tuple(_point(points[name].settings, results) for name, results in found.items()),
        list(found).index(chosen),
        max(found[chosen], key=lambda result: _rank(metric, result.valid[metric])).out,
        paper_scores(data.spec),
    )


def _runs(name: str, point: _Point, data: TaskData, reporter: Reporter) -> list[FinetuneResult]:
    """Train the runs of a point; of those that are finished, read the results."""
    results = []
    for number, run in enumerate(point.runs, start=1):
        which = f"{name}, " if name else ""
        text = f"{which}{run.out.name}: run {number} of {len(point.runs)}"
        reporter("message", text=text)
        run = replace(run, source=data, resume=RunFolder.is_run(run.out))
        results.append(run_finetune(run, reporter))
    return results


def _rank(metric: str, value: float) -> float:
    """Larger is better; what is undefined is worst."""
    if math.isnan(value):
        return -math.inf
    return -value if metric in LOWER_IS_BETTER else value


def _median(metric: str, results: Sequence[FinetuneResult]) -> float:
    return statistics.median(result.valid[metric] for result in results)


def _point(settings: Mapping[str, str], results: Sequence[FinetuneResult]) -> SweepPoint:
    valid = {
        # the run records no interval of its validation scores
        name: _spread(name, [TaskScore(run.valid[name], math.nan, math.nan) for run in results])
        for name in results[0].valid
    }
    test = {
        split: {
            name: _spread(name, [result.test[split][name] for result in results]) for name in scores
        }
        for split, scores in results[0].test.items()
    }
    return SweepPoint(settings, tuple(result.out for result in results), valid, test)


def _spread(name: str, runs: Sequence[TaskScore]) -> Spread:
    values = [run.value for run in runs]
    best = max(values, key=lambda value: _rank(name, value))
    mean, *bounds = mean_interval(name, runs)
    low, high = (None if math.isnan(bound) else bound for bound in bounds)
    return Spread(statistics.median(values), best, mean, low, high)
