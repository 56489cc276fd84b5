"""Scores of a fine-tuned model on examples, with a page of tables and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import DataError
from ogpt.evaluation.task_figures import (
    Calibration,
    calibration,
    calibration_figure,
    confusion_figure,
    scatter_figure,
)
from ogpt.evaluation.task_scores import TaskScore, decided, named, probabilities, scores
from ogpt.folders.model_folder import ModelFolder
from ogpt.reporting import Reporter, silent
from ogpt.storage import check_empty, check_writable, whole_folder
from ogpt.tasks.catalogue import paper_scores
from ogpt.tasks.encoded_examples import OnTooLong, check_some_kept
from ogpt.tasks.example import Example
from ogpt.tasks.published import split_name
from ogpt.tasks.task_file import read_task_file
from ogpt.tasks.task_spec import TaskSpec, task_of
from ogpt.workflows.training_backend import check_backend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HARDEST = 20
"""Examples that the page lists: those whose gold label the model finds least probable."""
_CELL = 200


@dataclass(frozen=True, slots=True)
class TaskEvaluation:
    """How well a model does its task."""

    examples: int
    scores: Mapping[str, TaskScore]
    """By name, with 95 % intervals."""
    calibration_error: float | None
    """Expected calibration error of classes and choices; None for other problems."""
    paper_score: float | None
    """The paper's figure for the first score, 0 to 1, on the test set of this name; None where the
    examples are not of one of its data sets."""
    report: Path | None
    """Folder of tables and pictures."""


def evaluate_task(
    folder: ModelFolder,
    data: Path,
    *,
    split: str | None = None,
    out: Path | None = None,
    on_too_long: OnTooLong = "truncate",
    threads: int = 0,
    reporter: Reporter = silent,
) -> TaskEvaluation:
    """Score a fine-tuned model on a file of labelled examples.

    Args:
        folder: A model that `ogpt finetune` wrote; its columns and labels are those of its task.
        data: File of examples: rows with the columns of the task, or an official file of its data
            set; or a folder with that data set.
        split: Of the data set in a folder; None: valid.
        out: New folder for scores.json, report.md, hardest.jsonl and pictures; None: none.
        on_too_long: What to do with examples that the model is too short for.
        threads: CPU threads; 0 uses all cores.
        reporter: Receives progress events.

    Raises:
        DataError: examples without labels, or with a label that the task does not have.
        OutputExists, StorageError: `out` holds other things, or cannot be written.
        BackendMissing: PyTorch is not installed.
    """
    check_backend("torch", "the evaluation of a fine-tuned model")
    from ogpt.training.torch_task_predictor import TorchTaskPredictor

    spec = task_of(folder.config, folder.path)
    if out is not None:
        check_empty(out)
        check_writable(out)
    examples, split = read_task_file(data, spec, split, labelled=True)
    predictor = TorchTaskPredictor(folder, threads)
    made = predictor.predict(examples, on_too_long=on_too_long, what=str(data), reporter=reporter)
    check_some_kept(len(made.encoded), len(examples), folder.config.n_positions, str(data))
    labels = made.encoded.labels
    if labels is None:
        raise DataError(
            f"the examples in {data} have no labels, so there is nothing to compare with",
            hint="name the column with --column label=NAME when fine-tuning, or use ogpt predict",
        )
    found = scores(spec, made.logits, labels)
    shown = probabilities(spec, made.logits)
    classes = spec.problem == "single_label_classification"
    calibrated = calibration(shown, labels) if classes else None
    error = calibrated.error if calibrated else None
    result = TaskEvaluation(len(labels), found, error, _paper_score(spec, split), out)
    if out is not None:
        kept = [examples[index] for index in made.encoded.kept]
        best = decided(spec, made.logits)
        hardest = _hardest(spec, kept, shown, best, labels)
        figures = _figures(spec, shown, best, labels, calibrated)
        with whole_folder(out) as temporary:
            _write(temporary, spec, result, hardest, figures)
    return result


def _paper_score(spec: TaskSpec, split: str) -> float | None:
    if not split or split == "train":
        return None
    paper = paper_scores(spec)
    return paper.get(split_name(split), paper.get("test"))


def _figures(
    spec: TaskSpec,
    shown: NDArray[Any],
    best: NDArray[Any],
    labels: NDArray[Any],
    calibrated: Calibration | None,
) -> dict[str, Figure]:
    """The pictures of a problem, by the name of their file."""
    if spec.problem == "regression":
        return {"scatter.png": scatter_figure(labels, best)}
    if calibrated is None:
        return {}
    names = spec.labels or [str(index) for index in range(shown.shape[1])]
    return {
        "confusion.png": confusion_figure(labels, best, names),
        "calibration.png": calibration_figure(calibrated),
    }


def _write(
    folder: Path,
    spec: TaskSpec,
    result: TaskEvaluation,
    hardest: list[dict[str, Any]],
    figures: Mapping[str, Figure],
) -> None:
    for name, figure in figures.items():
        figure.savefig(folder / name)
    facts = {
        "examples": result.examples,
        "task": asdict(spec),
        "scores": {
            name: dict(zip(score._fields, score.stored, strict=True))
            for name, score in result.scores.items()
        },
        "calibration_error": result.calibration_error,
        "paper_score": result.paper_score,
    }
    (folder / "scores.json").write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in hardest)
    (folder / "hardest.jsonl").write_text(lines, "utf-8")
    (folder / "report.md").write_text(_page(result, hardest, list(figures)), "utf-8")


def _page(result: TaskEvaluation, hardest: list[dict[str, Any]], pictures: list[str]) -> str:
    """The report in Markdown."""
    table = [
        "| score | value | 95 % interval |",
        "| --- | ---: | ---: |",
        *(
            f"| {name} | {score.value:.4f} | {score.interval} |"
            for name, score in result.scores.items()
        ),
    ]
    if result.calibration_error is not None:
        table.append(f"| expected calibration error | {result.calibration_error:.4f} | |")
    if result.paper_score is not None:
        first = next(iter(result.scores))
        table.append(f"| {first} in the paper (test set) | {result.paper_score:.4f} | |")
    worst = [
        "| gold | predicted | loss | place | texts |",
        "| --- | --- | ---: | --- | --- |",
        *(
            f"| {_cell(row['gold'])} | {_cell(row['predicted'])} | {row['loss']:.2f} "
            f"| {_cell(row['place'])} | {_cell(' / '.join(filter(None, row['texts'])))} |"
            for row in hardest
        ),
    ]
    parts = [
        f"# Scores of {result.examples:,} examples",
        "\n".join(table),
        *(f"![{name.removesuffix('.png')}]({name})" for name in pictures),
        "## The hardest examples",
        "\n".join(worst),
    ]
    return "\n\n".join(parts) + "\n"


def _cell(value: Any) -> str:
    """A value as the text of a table's cell, cut to _CELL characters."""
    text = f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())
    cut = text if len(text) <= _CELL else text[: _CELL - 1] + "…"
    return cut.replace("\\", "\\\\").replace("|", "\\|")


def _hardest(
    spec: TaskSpec,
    examples: list[Example],
    shown: NDArray[Any],
    best: NDArray[Any],
    labels: NDArray[Any],
) -> list[dict[str, Any]]:
    """The examples with the largest loss, which is the squared error of a score."""
    if spec.problem == "regression":
        losses = (shown[:, 0] - labels) ** 2
    elif spec.problem == "multi_label_classification":
        right = np.where(labels > 0, shown, 1 - shown)
        losses = -np.log(np.maximum(right, 1e-12)).mean(-1)
    else:
        right = shown[np.arange(len(labels)), labels]
        losses = -np.log(np.maximum(right, 1e-12))
    return [
        {
            "place": examples[index].place,
            "texts": list(examples[index].texts),
            "gold": examples[index].label,
            "predicted": named(spec, best[index]),
            "loss": round(float(losses[index]), 4),
        }
        for index in np.argsort(-losses)[:HARDEST]
    ]
