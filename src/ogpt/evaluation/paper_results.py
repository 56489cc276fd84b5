"""What was reproduced of a table of the paper: scores beside the paper's, as data in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Any

from ogpt.errors import DamagedData, SourceNotFound
from ogpt.evaluation.paper_tables import (
    TRAINING_SAMPLE,
    ZERO_SHOT,
    Column,
    PaperTable,
    Variant,
)
from ogpt.evaluation.task_scores import TaskScore, mean_interval
from ogpt.folders.run_folder import METRICS_FILE, read_events
from ogpt.reading import parse_json
from ogpt.storage import write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperScore:
    """One score beside the paper's; all are in percent, as the paper prints them."""

    variant: str
    """Name of the variant."""
    column: str
    """Title of the column."""
    metric: str = ""
    paper: float | None = None
    before: float | None = None
    """The best score before the paper."""
    ours: float | None = None
    """The mean over the seeds; None if there is none, or it is not defined."""
    low: float | None = None
    """With `high`, the 95 % interval: over examples for one seed, else over seeds and examples."""
    high: float | None = None
    median: float | None = None
    best: float | None = None
    training: float | None = None
    """The mean over the seeds on a sample of the training set; None where it is not scored."""
    seeds: int = 0
    scored_on: str = ""
    """"test", or "validation" where the test set has no labels."""
    examples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsFacts:
    """The runs of a variant on a data set, all seeds together."""

    variant: str
    task: str
    """Title of the data set."""
    seeds: int
    examples: int
    """Of the training set."""
    wall_s: float | None
    flops: float | None
    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingSet:
    """A data set that is not there."""

    title: str
    owner: str
    licence: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCurve:
    """A zero-shot score during pre-training."""

    model: str
    """Transformer or LSTM."""
    name: str
    steps: tuple[int, ...]
    normalized: tuple[float, ...]
    """0 is chance, 1 the best single model before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A table of the paper, reproduced as far as its data sets are there."""

    table: str
    title: str
    remark: str
    variants: Mapping[str, str]
    """Name -> title, in the order of the paper."""
    scores: tuple[PaperScore, ...]
    runs: tuple[RunsFacts, ...]
    missing: tuple[MissingSet, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    """Name of a variant that could not run -> how to make what it needs."""
    notes: tuple[str, ...] = ()
    """Notices of the runs: other releases, texts that were cut."""
    curves: tuple[ProbeCurve, ...] = ()
    pending: int = 0
    """Runs that are not finished."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Model, settings, version."""
    report: Path | None = None
    """The page that shows it."""


def paper_score(
    table: PaperTable,
    variant: Variant,
    column: Column,
    metric: str,
    runs: Sequence[Mapping[str, TaskScore]],
    examples: Mapping[str, int],
) -> PaperScore:
    """The score of a variant in a column.

    Args:
        table: The table.
        variant: One of its variants.
        column: One of its columns.
        metric: Name of the measure.
        runs: Of each seed, its score on each set, such as "test/matched"; empty before they ran.
        examples: Number of examples of each set.
    """
    known = PaperScore(
        variant=variant.name,
        column=column.title,
        metric=metric,
        paper=table.paper_score(variant.name, column),
        before=column.before,
    )
    sets = _scored_sets(column, runs[0]) if runs else ()
    if not sets:
        return known
    # of the mean of several sets these bounds are those of the worst case, that they vary together
    each = [_mean([run[name] for name in sets]) for run in runs]
    values = [score.value for score in each]
    found = mean_interval(metric, each)
    return PaperScore(
        variant=known.variant,
        column=known.column,
        metric=metric,
        paper=known.paper,
        before=known.before,
        ours=_percent(found.value),
        low=_percent(found.low),
        high=_percent(found.high),
        median=_percent(median(values)),
        best=_percent(max(values)),
        training=_training_score(runs),
        seeds=len(runs),
        scored_on="test" if sets[0].startswith("test") else "validation",
        examples=sum(examples[name] for name in sets),
    )


def averages(table: PaperTable, scores: Sequence[PaperScore]) -> tuple[PaperScore, ...]:
    """The mean of each variant over its columns with a score, beside the paper's over the same."""
    made = []
    for variant in table.variants if table.averages else ():
        own = {one.column: one for one in scores if one.variant == variant.name}
        shown = [one for one in table.columns if own[one.title].ours is not None]
        values = [value for one in shown if (value := own[one.title].ours) is not None]
        made.append(
            PaperScore(
                variant=variant.name,
                column="average",
                metric=f"of {len(shown) or len(table.columns)}",
                paper=table.paper_average(variant.name, shown or table.columns),
                ours=round(fmean(values), 2) if values else None,
                seeds=max((own[one.title].seeds for one in shown), default=0),
            )
        )
    return tuple(made)


def probe_curves(run: Path, model: str) -> tuple[ProbeCurve, ...]:
    """The zero-shot scores that a pre-training with probes recorded.

    Args:
        run: Folder of the run.
        model: Transformer or LSTM.

    Raises:
        SourceNotFound: it recorded none.
        DamagedData: a line of its metrics is no event.
    """
    found: dict[str, dict[int, float]] = {}
    for event in read_events(run / METRICS_FILE):
        if event["event"] == "probe":
            found.setdefault(event["name"], {})[event["step"]] = event["normalized"]
    if not found:
        raise SourceNotFound(
            f"{run / METRICS_FILE} has no zero-shot scores",
            hint="pass the folder of a run that was pre-trained with --probes",
        )
    order = [*ZERO_SHOT, *found]
    return tuple(
        ProbeCurve(
            model=model,
            name=name,
            steps=tuple(sorted(points)),
            normalized=tuple(points[step] for step in sorted(points)),
        )
        for name, points in sorted(found.items(), key=lambda one: order.index(one[0]))
    )


def save_results(made: Reproduction, file: Path) -> None:
    """Write a reproduction as JSON.

    Raises:
        StorageError: the file cannot be written.
    """
    write_json(file, {key: value for key, value in asdict(made).items() if key != "report"})


def load_results(file: Path) -> Reproduction:
    """Read what `save_results` wrote.

    Raises:
        DamagedData: the file is no reproduction.
    """
    try:
        stored: dict[str, Any] = parse_json(file.read_text("utf-8"))
        records: dict[str, Any] = {
            name: tuple(_made(kind, row) for row in stored.pop(name))
            for name, kind in (
                ("scores", PaperScore),
                ("runs", RunsFacts),
                ("missing", MissingSet),
                ("curves", ProbeCurve),
            )
        }
        return Reproduction(**{**stored, **records, "notes": tuple(stored["notes"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedData(
            f"{file} holds no results of ogpt reproduce: {error!r}",
            hint="delete it and run the command again: finished runs are not repeated",
        ) from error


def _made(kind: type[Any], row: Mapping[str, Any]) -> Any:
    """A record of a JSON object, which has lists for tuples."""
    return kind(**{key: tuple(one) if isinstance(one, list) else one for key, one in row.items()})


def _scored_sets(column: Column, known: Mapping[str, TaskScore]) -> tuple[str, ...]:
    """The sets that give a column's score: test sets where they have labels."""

    def named(kind: str) -> tuple[str, ...]:
        return tuple(kind if one == "test" else f"{kind}/{one}" for one in column.splits)

    choices = [named("valid")] if column.validation else [named("test"), named("valid")]
    if column.splits in (("test",), ("all",)):
        choices.append(("valid",))
    return next((sets for sets in choices if all(name in known for name in sets)), ())


def _training_score(runs: Sequence[Mapping[str, TaskScore]]) -> float | None:
    values = [run[TRAINING_SAMPLE].value for run in runs if TRAINING_SAMPLE in run]
    return _percent(fmean(values)) if values else None


def _mean(scores: Sequence[TaskScore]) -> TaskScore:
    value, low, high = (fmean(part) for part in zip(*scores, strict=True))
    return TaskScore(value, low, high)


def _percent(value: float) -> float | None:
    return None if math.isnan(value) else round(100 * value, 2)
