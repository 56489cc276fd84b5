"""`ogpt finetune`: a pre-trained model learns a task from examples (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.config.described import check_names
from ogpt.data.batch import Batch
from ogpt.errors import VocabularyMismatch
from ogpt.evaluation.task_scores import TaskScore, measures, scores
from ogpt.folders.model_card import write_card
from ogpt.folders.model_folder import CHECKPOINTS, ModelFolder
from ogpt.folders.run_folder import METRICS_FILE, RunFolder, read_events
from ogpt.reporting import Reporter, silent
from ogpt.storage import only_writer, storage_error
from ogpt.tasks.batching import TaskBatches
from ogpt.tasks.catalogue import paper_scores
from ogpt.tasks.task_data import TaskData
from ogpt.tasks.task_source import TaskSource
from ogpt.training.loop import BestBy, Loop, Measures, ValidationSet
from ogpt.training.objective import Totals
from ogpt.training.run_reports import reports
from ogpt.training.schedule import warmup_linear, warmup_linear_2018
from ogpt.training.step import TrainStep
from ogpt.weights.shapes import parameter_count
from ogpt.workflows.finetune_setup import (
    FinetuneRequest,
    FinetuneSetup,
    finetune_settings,
    make_finetune_step,
    set_up_finetune,
)
from ogpt.workflows.run_settings import opened_run

TASK = "fine-tuning"
LOWER_IS_BETTER = frozenset({"mse"})
"""Measures of which less is better; of all others more is."""
EVAL_EXAMPLES = 64
"""Examples of an evaluation batch, sorted by length."""


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """How a fine-tuning ended."""

    out: Path
    """The run, which stands for its best checkpoint."""
    steps: int
    best_step: int
    valid: Mapping[str, float]
    """Scores of the best checkpoint on the first validation set."""
    test: Mapping[str, Mapping[str, TaskScore]]
    """Scores of the best checkpoint on each test set with labels, with 95 % intervals."""
    wall_s: float | None
    """Wall time of the training, evaluations and checkpoints included."""
    flops: float | None
    """Operations of the training; as wall_s, None for a run that an earlier version finished."""
    paper_scores: Mapping[str, float] = field(default_factory=dict)
    """The paper's score on each test set, 0 to 1, by the first measure; empty for other data."""


def finetune(
    *,
    model: str | Path | ModelFolder,
    out: str | Path,
    source: TaskSource | TaskData | None = None,
    recipe: str | None = None,
    backend: str | None = None,
    config: str | Path | None = None,
    overrides: str | Sequence[str] = (),
    resume: bool = False,
    reporter: Reporter = silent,
    **named: Any,
) -> FinetuneResult:
    """Fine-tune a model on a task; every checkpoint is a model folder with a head for it.

    Args:
        model: Model folder, run or Hub id to start from: ours, Hugging Face's or OpenAI's.
        out: Folder of the run.
        source: Files of the task, or its examples.
        recipe: paper or 2018-code; None: as the settings say, and by default paper.
        backend: torch or tensorflow; None: as the settings say, and by default torch. Checkpoints
            serve both, so a run may resume with the other one.
        config: TOML file of settings.
        overrides: One `finetune.field=value` or several; they override recipe and file.
        resume: Resume the run in `out` from its last checkpoint, with its own settings.
        reporter: Receives all events (`ogpt.reporting`).
        **named: Fields of TaskSource (task and data; or family, train, valid, test, columns,
            problem), instead of `source` or to override it.

    Raises:
        ConfigError: invalid settings, or settings that differ from those of the run to resume.
        OutputExists: `out` holds a run and `resume` is off, or another process writes into it.
        DataError, TokenizerError, CheckpointError: inputs that cannot be used.
        UnknownArgument: a name that is no field.
        TrainingDiverged, TrainingInterrupted, StorageError: see Loop.run.
    """
    check_names(finetune, named, TaskSource)
    request = FinetuneRequest.of(
        model=model,
        out=out,
        source=source,
        recipe=recipe,
        backend=backend,
        config=config,
        overrides=overrides,
        resume=resume,
        **named,
    )
    return run_finetune(request, reporter)


def run_finetune(request: FinetuneRequest, reporter: Reporter) -> FinetuneResult:
    """The same as `finetune`, for checked arguments."""
    settings = finetune_settings(request)
    with only_writer(request.out):
        return _finetune(set_up_finetune(request, settings), request.out, reporter)


def _finetune(setup: FinetuneSetup, out: Path, reporter: Reporter) -> FinetuneResult:
    # made before the run: what it refuses leaves no run behind
    step = None if RunFolder.is_run(out) else make_finetune_step(setup)
    run = opened_run(out, setup.settings, kind=TASK, init=str(setup.folder.path))
    _check_same_examples(run, setup)
    if run.facts.get("finished"):
        reporter("message", text=f"the run in {out} is finished")
        if _unscored(setup, run):
            step = make_finetune_step(setup)
            _score_tests(setup, step, run, _facts(setup, step))
        return _result(setup, run)
    step = step or make_finetune_step(setup)
    state = run.load_last(step.load)
    done = 0 if state is None else int(state["step"])
    run.cut_metrics(done)
    about = _facts(setup, step)

    def add_files(folder: Path) -> None:
        setup.tokenizer.save_pretrained(folder)
        write_card(folder, about)

    with reports(out, done, reporter) as report:
        report(
            "plan",
            task=TASK,
            step=done,
            parameters=parameter_count(setup.folder.config, setup.folder.architecture),
            examples_per_step=setup.section.batch_size,
            total_steps=setup.total_steps,
        )
        loop = _loop(setup, step, run, report, add_files, state)
        try:
            loop.run()
            _finish(setup, step, run, loop)
            _score_tests(setup, step, run, about)
        except OSError as error:
            raise storage_error(out, error) from error
    return _result(setup, run)


def _loop(
    setup: FinetuneSetup,
    step: TrainStep,
    run: RunFolder,
    report: Reporter,
    add_files: Callable[[Path], None],
    state: Mapping[str, Any] | None,
) -> Loop:
    measure = setup.spec.metrics[0]
    first = next(iter(setup.valid.values()))
    return Loop(
        step,
        setup.train,
        _validation(setup, first),
        setup.training,
        schedule=partial(
            warmup_linear_2018 if setup.section.recipe == "2018-code" else warmup_linear,
            warmup_fraction=setup.section.warmup_fraction,
            total_steps=setup.total_steps,
        ),
        best=BestBy(measure, greater_is_better=measure not in LOWER_IS_BETTER),
        task=TASK,
        run=run,
        reporter=report,
        add_files=add_files,
        state=state,
    )


def _validation(setup: FinetuneSetup, batches: TaskBatches) -> ValidationSet:
    labels = batches.encoded.labels
    assert labels is not None  # checked before
    ordered = labels[batches.longest_first]

    def derived(_: Totals, predictions: Sequence[NDArray[Any]]) -> Measures:
        found = stacked(predictions)
        return measures(setup.spec, found, ordered[: len(found)])

    return ValidationSet(lambda: _batches(batches), derived)


def _batches(source: TaskBatches) -> Iterator[Batch]:
    return (batch for _, batch in source.by_length(EVAL_EXAMPLES))


def stacked(predictions: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Predictions of all batches (N, K); a choice that an example does not have is -inf.

    Args:
        predictions: (B, K) each, where K may differ.
    """
    width = max(part.shape[1] for part in predictions)
    parts = [
        np.pad(part, ((0, 0), (0, width - part.shape[1])), constant_values=-np.inf)
        for part in predictions
    ]
    return np.concatenate(parts)


def predicted(step: TrainStep, source: TaskBatches) -> NDArray[Any]:
    """Predictions of all examples in order, (N, K)."""
    found = []
    for batch in _batches(source):
        result = step.predict(batch)
        assert result is not None  # a task has predictions
        found.append(result)
    return stacked(found)[np.argsort(source.longest_first)]


def _finish(setup: FinetuneSetup, step: TrainStep, run: RunFolder, loop: Loop) -> None:
    """Record the end of the training, and how the best checkpoint did in validation."""
    best_step = int(_best(run).name.removeprefix("step-"))
    events = [
        event
        for event in read_events(run.path / METRICS_FILE)
        if event["event"] == "eval" and event["step"] == best_step
    ]
    valid = {name: events[-1][name] for name in setup.spec.metrics} if events else {}
    run.facts |= {
        "finished": True,
        "steps": loop.step,
        "best_step": best_step,
        "wall_s": loop.seconds,
        "flops": step.flops_per_token * setup.run_tokens,
        "machine": dict(step.description),
        "valid": valid,
        "test": {},
    }
    run.save_facts()


def _best(run: RunFolder) -> Path:
    return run.path / CHECKPOINTS / str(run.facts["best"] or run.facts["last"])


def _unscored(setup: FinetuneSetup, run: RunFolder) -> dict[str, TaskBatches]:
    """The test sets that a finished run has not been scored on yet."""
    return {name: batches for name, batches in setup.test.items() if name not in run.facts["test"]}


def _score_tests(
    setup: FinetuneSetup, step: TrainStep, run: RunFolder, about: Mapping[str, str]
) -> None:
    """Score the best checkpoint on the test sets, each once, and write its card with all scores."""
    unscored = _unscored(setup, run)
    if unscored:
        step.load(_best(run))
    for name, batches in unscored.items():
        labels = batches.encoded.labels
        assert labels is not None
        found = scores(setup.spec, predicted(step, batches), labels)
        run.facts["test"][name] = {measure: score.stored for measure, score in found.items()}
        run.facts.setdefault("test_sha256", {})[name] = setup.test_digests[name]
        run.save_facts()
    rows = {f"validation {name}": f"{value:.4g}" for name, value in run.facts["valid"].items()}
    for split, saved in _test_scores(run).items():
        rows |= {
            f"{split} {name}": f"{score.value:.4g} ({score.interval})"
            for name, score in saved.items()
        }
    write_card(_best(run), about, evaluation=rows)


def _test_scores(run: RunFolder) -> dict[str, dict[str, TaskScore]]:
    return {
        split: {name: TaskScore.of(score) for name, score in found.items()}
        for split, found in run.facts["test"].items()
    }


def _result(setup: FinetuneSetup, run: RunFolder) -> FinetuneResult:
    facts = run.facts
    test = _test_scores(run)
    return FinetuneResult(
        run.path,
        facts["steps"],
        facts["best_step"],
        facts["valid"],
        test,
        facts.get("wall_s"),
        facts.get("flops"),
        paper_scores(setup.spec),
    )


def _facts(setup: FinetuneSetup, step: TrainStep) -> dict[str, str]:
    """Rows of the model card."""
    section = setup.section
    pairs = "both orders are scored and added; transformers scores the given one alone"
    return {
        "fine-tuned from": str(setup.folder.path),
        "task": setup.spec.name or setup.spec.family,
        "labels": ", ".join(setup.spec.labels) or "none",
        **({"pairs": pairs} if setup.spec.family == "similarity" else {}),
        "training examples": f"{setup.train.n_windows:,}",
        "recipe": section.recipe,
        "batch": f"{section.batch_size} examples, {section.epochs:g} epochs",
        "learning rate": f"{section.learning_rate:g}",
        "auxiliary language loss": f"{section.lm_coef:g}",
        "seed": str(section.seed),
        "machine": ", ".join(f"{name} {value}" for name, value in step.description.items()),
    }


def _check_same_examples(run: RunFolder, setup: FinetuneSetup) -> None:
    seen = setup.digest
    known = run.facts.setdefault("data", {"examples_sha256": seen})
    if known["examples_sha256"] != seen:
        raise VocabularyMismatch(
            f"the run in {run.path} was trained on other examples or with another tokenizer: "
            f"{known['examples_sha256'][:12]}, now {seen[:12]}",
            hint="resume with the same model and files as the original run",
        )
    scored = run.facts.get("test_sha256", {})  # earlier versions did not record it
    for name, digest in setup.test_digests.items():
        if scored.get(name, digest) != digest:
            raise VocabularyMismatch(
                f"the run in {run.path} was scored on another test set {name!r}: "
                f"{scored[name][:12]}, now {digest[:12]}",
                hint="a test set is scored once: resume with the same file, and score others with "
                "ogpt evaluate",
            )
    run.save_facts()
