"""The sets of the zero-shot probes, and the scale of figure 2: chance and the best known value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ogpt.errors import DataError, SourceNotFound
from ogpt.evaluation.zero_shot import Candidate, acceptability, answers, referents, sentiment
from ogpt.notices import tell
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.example import Example
from ogpt.tasks.finding import files_below
from ogpt.tasks.open_task import open_split
from ogpt.tasks.probes import PROBES, open_probe
from ogpt.tasks.readers.decoding_lines import Drops
from ogpt.tasks.task_data import notice_dropped

Metric = Literal["accuracy", "matthews"]

ROWS_SEED = 0
"""Of the choice of rows where a set is cut."""


class ZeroShotRow(NamedTuple):
    """One example of a set, as texts to score."""

    candidates: list[Candidate]
    gold: int
    """Index of the right candidate; of CoLA, 1 for an acceptable sentence."""
    place: str
    """File and line, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotSet:
    """One curve of figure 2, right.

    The paper does not state its two ends of the scale: it calls them a random guess and the state
    of the art with a single model. Those here are the values that were published in June 2018.

    Args:
        title: As in the paper.
        metric: Measure of the set.
        chance: Expected value of a random guess, 0 to 1.
        best: The best value of a single model that was known when the paper appeared, 0 to 1.
        source: Where `best` is published.
        owner: Page of its owner.
        read: Reads its rows, from the files below a folder.
    """

    title: str
    metric: Metric
    chance: float
    best: float
    source: str
    owner: str
    read: Callable[[Path], list[ZeroShotRow]]


_SCALES: Mapping[str, tuple[Metric, float, float, str]] = {
    "cola": (
        "matthews",
        0.0,
        0.350,
        "paper, table 4: single-task BiLSTM with ELMo and attention (Wang et al. 2018)",
    ),
    "sst2": ("accuracy", 0.5, 0.932, "paper, table 4: sparse byte mLSTM (Gray et al. 2017)"),
    "race": (
        "accuracy",
        0.25,
        0.504,  # the 53.3 % of the paper's table 3 are nine models
        'Wang et al. 2018, "A Co-Matching Model for Multi-choice Reading Comprehension"',
    ),
    "dprd": (
        "accuracy",
        0.5,
        0.764,
        'Peng et al. 2015, "Solving Hard Coreference Problems"',
    ),
    "winograd": (
        "accuracy",
        0.5,
        0.626,
        'Trinh and Le 2018, "A Simple Method for Commonsense Reasoning", one model',
    ),
}
"""Metric, chance, best known value, its source."""

_CANDIDATES: Mapping[str, Callable[[Example], list[Candidate]]] = {
    "cola": acceptability,
    "sst2": sentiment,
    "race": answers,
}


def _examples(name: str, folder: Path) -> list[ZeroShotRow]:
    """The validation examples of a task of the paper."""
    labels, candidates = TASKS[name].labels, _CANDIDATES[name]
    drops: Drops = Drops()
    examples = open_split(name, folder, "valid", drops)
    notice_dropped(drops, TASKS[name].spec())
    return [
        ZeroShotRow(
            candidates(each),
            labels.index(str(each.label)) if labels else int(str(each.label)),
            each.place,
        )
        for each in examples
    ]


def _cases(name: str, folder: Path) -> list[ZeroShotRow]:
    return [
        ZeroShotRow(referents(case), case.label, case.place) for case in open_probe(name, folder)
    ]


def _set(name: str) -> ZeroShotSet:
    metric, chance, best, source = _SCALES[name]
    known = TASKS.get(name) or PROBES[name]
    return ZeroShotSet(
        title=known.title,
        metric=metric,
        chance=chance,
        best=best,
        source=source,
        owner=known.owner,
        read=partial(_examples if name in TASKS else _cases, name),
    )


ZERO_SHOT_SETS: Mapping[str, ZeroShotSet] = {name: _set(name) for name in _SCALES}
"""The sets by name, in the order of reports."""


def open_zero_shot_sets(folder: str | Path, rows: int = 0) -> dict[str, list[ZeroShotRow]]:
    """Read the sets that lie anywhere below a folder; those that do not give one notice.

    CoLA, SST-2 and RACE are read from their validation files, as labels of test sets are hidden.

    Args:
        folder: Where the sets were unpacked.
        rows: Rows of a set that are used, chosen at random with a fixed seed, with a notice; 0 uses
            all.

    Raises:
        SourceNotFound: the folder or all sets are missing.
        DataError: a set has fewer than 2 rows, or a file is not of its form.
        DamagedData: a file is of another format than its name says.
    """
    folder = Path(folder)
    files_below(folder)  # is it a folder?
    found: dict[str, list[ZeroShotRow]] = {}
    missing = []
    for name, known in ZERO_SHOT_SETS.items():
        try:
            found[name] = known.read(folder)
        except SourceNotFound:
            missing.append(f"{known.title} ({known.owner})")
            continue
        if len(found[name]) < 2:
            raise DataError(
                f"{known.title} in {folder} has {len(found[name])} rows; allowed: 2 or more",
                hint="download the data set again",
            )
    if not found:
        raise SourceNotFound(
            f"no set of the zero-shot probes is in {folder}",
            hint=f"get one of them and unpack it there: {', '.join(missing)}",
        )
    if missing:
        tell("probes-missing", names=", ".join(missing), folder=folder)
    return _cut(found, rows)


def _cut(found: dict[str, list[ZeroShotRow]], rows: int) -> dict[str, list[ZeroShotRow]]:
    long = [name for name, all_rows in found.items() if 0 < rows < len(all_rows)]
    if not long:
        return found
    names = ", ".join(f"{ZERO_SHOT_SETS[name].title} ({len(found[name]):,})" for name in long)
    tell("probe-rows-cut", rows=rows, names=names, seed=ROWS_SEED)
    # at random: files are in the order of levels and sources, and twin sentences alternate
    random = np.random.default_rng(ROWS_SEED)
    kept = {name: random.choice(len(found[name]), rows, replace=False) for name in long}
    return {
        name: [all_rows[index] for index in sorted(kept[name].tolist())]
        if name in kept
        else all_rows
        for name, all_rows in found.items()
    }
