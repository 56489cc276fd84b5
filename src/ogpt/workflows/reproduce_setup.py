"""What `ogpt reproduce` is to do: the table, its model, the data sets that are there, its runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ogpt.config.finetune_settings import FinetuneSettings
from ogpt.config.lstm_config import LSTMConfig
from ogpt.errors import ConfigError, SourceNotFound
from ogpt.evaluation.drawing import require_matplotlib
from ogpt.evaluation.paper_results import MissingSet, ProbeCurve, probe_curves
from ogpt.evaluation.paper_tables import (
    FIGURE_2,
    PAPERS_LAYERS,
    TASKS_OF_FIGURE_2,
    TRAINING_ROWS,
    TRAINING_SAMPLE,
    TRAINING_SEED,
    PaperTable,
    Variant,
    table_named,
)
from ogpt.evaluation.task_scores import require_scikit_learn
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import tell
from ogpt.storage import check_empty, check_writable, path_of
from ogpt.tasks.catalogue import TASKS
from ogpt.tasks.finding import files_below
from ogpt.tasks.open_task import open_task
from ogpt.tasks.task_data import TaskData, check_data
from ogpt.workflows.finetune_setup import FinetuneRequest

DEFAULT_MODEL = "openai-community/openai-gpt"
DEFAULT_OUT = Path("runs/paper")
MODELS_FILE = "models.json"
"""File in OUT with the hashes of the models that its runs start from."""
RUNS = "runs"
"""Folder of the fine-tunings in OUT: VARIANT/TASK/SEED."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproduceRequest:
    """The arguments of `ogpt.reproduce`, which documents them."""

    table: str
    data: Path | None = None
    model: str | Path | ModelFolder = DEFAULT_MODEL
    out: Path = DEFAULT_OUT
    seeds: int | None = None
    overrides: tuple[str, ...] = ()
    lstm: str | Path | ModelFolder | None = None
    run: Path | None = None

    @classmethod
    def of(
        cls,
        table: str,
        *,
        data: str | Path | None = None,
        model: str | Path | ModelFolder = DEFAULT_MODEL,
        out: str | Path = DEFAULT_OUT,
        seeds: int | None = None,
        overrides: str | Sequence[str] = (),
        lstm: str | Path | ModelFolder | None = None,
        run: str | Path | None = None,
    ) -> ReproduceRequest:
        """A request of arguments as people pass them.

        Raises:
            ConfigError: arguments that make no sense together.
        """
        made = cls(
            table=table,
            data=None if data is None else path_of(data, "data"),
            model=model,
            out=path_of(out, "out"),
            seeds=seeds,
            overrides=(overrides,) if isinstance(overrides, str) else tuple(overrides),
            lstm=lstm,
            run=None if run is None else path_of(run, "run"),
        )
        made._check()
        return made

    def _check(self) -> None:
        table_named(self.table, PAPERS_LAYERS)  # refuses another name
        if self.run is not None and self.table != FIGURE_2:
            raise ConfigError(
                f"run is {self.run} and the table is {self.table}; allowed with a run: {FIGURE_2}",
                hint="omit --run: only figure 2 shows scores of a pre-training",
            )
        if self.data is None and self.run is None:
            run = " or --run (its right panel)" * (self.table == FIGURE_2)
            raise ConfigError(
                f"there is no data for {self.table}; allowed: a folder that holds its data sets",
                hint=f"pass --data FOLDER{run}",
            )
        if self.seeds is not None and (type(self.seeds) is not int or self.seeds < 1):
            raise ConfigError(
                f"the number of seeds is {self.seeds!r}; allowed: 1 or more",
                hint="pass for example --seeds 3",
            )


class Cell(NamedTuple):
    """One variant on one data set: its runs differ in the seed alone."""

    variant: Variant
    task: str
    """Name in the catalogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A table to reproduce, and what is there for it."""

    request: ReproduceRequest
    table: PaperTable
    model: ModelFolder | None
    """None where nothing is fine-tuned."""
    lstm: ModelFolder | None
    digests: Mapping[str, str]
    """Data set -> SHA-256 of its examples; of those that are there."""
    missing: tuple[MissingSet, ...]
    curves: tuple[ProbeCurve, ...] = ()

    @property
    def seeds(self) -> int:
        """Runs of each cell."""
        return self.request.seeds or self.table.seeds

    @property
    def cells(self) -> list[Cell]:
        """What to run: data set by data set, all variants of each."""
        variants = [one for one in self.table.variants if self.folder(one) is not None]
        return [Cell(one, task) for task in self.digests for one in variants]

    @property
    def absent(self) -> dict[str, str]:
        """Name of a variant that cannot run -> how to make what it needs."""
        how = (
            "pre-train one with ogpt pretrain --set model.network=lstm, on the same text as the "
            "Transformer, and pass it with --lstm"
        )
        return {one.name: how for one in self.table.variants if one.lstm and self.lstm is None}

    def folder(self, variant: Variant) -> ModelFolder | None:
        """The model that a variant starts from."""
        return self.lstm if variant.lstm else self.model

    def out(self, cell: Cell) -> Path:
        """Folder of the runs of a cell."""
        return self.request.out / RUNS / cell.variant.name / cell.task

    def arguments(self, cell: Cell) -> dict[str, Any]:
        """The arguments of `ogpt.finetune_sweep` for a cell, without its examples."""
        own = (*self.table.settings, *self.request.overrides, *cell.variant.overrides)
        return {
            "model": self.folder(cell.variant),
            "out": self.out(cell),
            "recipe": cell.variant.recipe,
            "overrides": own,
        }

    def settings(self, cell: Cell) -> FinetuneSettings:
        """The settings that the runs of a cell share."""
        made = FinetuneRequest.of(source=_NO_DATA, **self.arguments(cell))
        return made.settings(None)

    def read(self, task: str) -> TaskData:
        """The examples of a data set."""
        assert self.request.data is not None
        return open_task(task, self.request.data)


_NO_DATA = TaskData(next(iter(TASKS.values())).spec(), (), {})


def set_up_study(request: ReproduceRequest) -> Study:
    """Find the model and the data sets, and check everything before hours of work.

    Raises:
        ConfigError: settings that are invalid, or a model of the other network.
        OutputExists, StorageError: `out` holds other things, or cannot be written.
        SourceNotFound: the folder, or all data sets of the table in it, are missing.
        CheckpointError, HubError: the model cannot be found.
        DataError: a data set cannot be used.
        BackendMissing: scikit-learn or matplotlib is not installed.
    """
    require_scikit_learn()
    require_matplotlib()
    if not (request.out / MODELS_FILE).exists():
        check_empty(request.out)
    check_writable(request.out)
    curves = _curves(request)
    if request.data is None:
        return Study(
            request=request,
            table=table_named(request.table, PAPERS_LAYERS),
            model=None,
            lstm=None,
            digests={},
            missing=(),
            curves=curves,
        )
    files_below(request.data)  # refuses what is no folder
    model = _opened(request.model, "--model", lstm=False)
    table = table_named(request.table, model.config.n_layer)
    lstm = None
    if request.lstm is not None and any(variant.lstm for variant in table.variants):
        lstm = _opened(request.lstm, "--lstm", lstm=True)
    elif request.lstm is not None and not curves:
        reason = f"{table.name} shows no LSTM" if table.name != FIGURE_2 else "there is no --run"
        tell("setting-without-effect", setting="--lstm", reason=reason)
    study = Study(
        request=request,
        table=table,
        model=model,
        lstm=lstm,
        digests={},
        missing=(),
        curves=curves,
    )
    batch_size = max(
        study.settings(Cell(variant, table.tasks[0])).finetune.batch_size
        for variant in table.variants
    )
    digests, missing = _sets(study, batch_size)
    return replace(study, digests=digests, missing=missing)


def _opened(model: str | Path | ModelFolder, option: str, *, lstm: bool) -> ModelFolder:
    """The model of an option, which is a Transformer or an LSTM as the rows of the tables are."""
    folder = ModelFolder.open(model)
    if isinstance(folder.config, LSTMConfig) is not lstm:
        kinds = ("a Transformer", "an LSTM")
        raise ConfigError(
            f"{option} {folder.path} is {kinds[not lstm]}; allowed: {kinds[lstm]}",
            hint="the tables compare both: pass the Transformer with --model, the LSTM with --lstm",
        )
    return folder


def _curves(request: ReproduceRequest) -> tuple[ProbeCurve, ...]:
    """The zero-shot scores of the runs that the request names."""
    if request.run is None:
        return ()
    found = probe_curves(request.run, "Transformer")
    if isinstance(request.lstm, str | Path):
        found += probe_curves(Path(request.lstm), "LSTM")
    return found


def _sets(study: Study, batch_size: int) -> tuple[dict[str, str], tuple[MissingSet, ...]]:
    """The data sets that are there, each read and checked once, and those that are missing."""
    digests: dict[str, str] = {}
    missing = []
    for name in study.table.tasks:
        task = TASKS[name]
        try:
            data = scored(study.read(name))
        except SourceNotFound as error:
            reason = str(error)
            missing.append(
                MissingSet(title=task.title, owner=task.owner, licence=task.licence, reason=reason)
            )
        else:
            check_data(data, batch_size)
            digests[name] = _digest(data)
    if not digests and not study.curves:
        where = "; ".join(f"{one.title}: {one.owner} (terms: {one.licence})" for one in missing)
        raise SourceNotFound(
            f"none of the data sets of {study.table.name} is in {study.request.data}: "
            f"{', '.join(one.title for one in missing)}",
            hint=f"get one or more and unpack them there. {where}",
        )
    return digests, tuple(missing)


def scored(data: TaskData) -> TaskData:
    """The same data, with every set that has labels to be scored, validation sets included."""
    sets = {
        name if name == kind else f"{kind}/{name}": examples
        for kind, found in (("test", data.test), ("valid", data.valid))
        for name, examples in found.items()
        if any(example.label is not None for example in examples)
    }
    return replace(data, test=sets)


def with_training_sample(data: TaskData, task: str) -> TaskData:
    """The same data, with the training examples to be scored where figure 2 shows their score.

    The runs are those of other tables too, so all tables score them: of 2,000 examples, that costs
    next to nothing.
    """
    if task not in TASKS_OF_FIGURE_2:
        return data
    random = np.random.default_rng(TRAINING_SEED)
    count = min(TRAINING_ROWS, len(data.train))
    chosen = random.choice(len(data.train), count, replace=False)
    sample = tuple(data.train[index] for index in sorted(chosen.tolist()))
    return replace(data, test={**data.test, TRAINING_SAMPLE: sample})


def _digest(data: TaskData) -> str:
    """SHA-256 of all examples and their labels."""
    sha256 = hashlib.sha256()
    for name, examples in {"train": data.train, **data.valid, **data.test}.items():
        for one in examples:
            sha256.update(json.dumps([name, one.texts, one.label]).encode())
    return sha256.hexdigest()
