"""`report.html`: a run on one page, which loads no other file and runs no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from ogpt.evaluation.drawing import both_widths
from ogpt.evaluation.page import framed
from ogpt.folders.run_folder import SETTINGS_FILE
from ogpt.recipes.curves import accuracy_figure, loss_figure, speed_figure
from ogpt.recipes.package_task import TaskComparison
from ogpt.recipes.run_metrics import Metrics, read_metrics
from ogpt.storage import whole_file

REPORT_FILE = "report.html"


@dataclass(frozen=True, slots=True)
class ModelScore:
    """How well one model predicts the validation text."""

    name: str
    loss: float
    """Nats per token."""
    perplexity: float
    bits_per_byte: float


@dataclass(frozen=True, slots=True)
class Sample:
    """A text that the model generated, unchanged."""

    prompt: str
    text: str
    """The continuation, without the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The content of a report beside the run's metrics and settings; plain text."""

    title: str
    summary: str
    verdict: str
    won: bool
    """Whether the model has the lowest loss of all."""
    commands: Sequence[str]
    """How to use the model; the last one serves it."""
    page_address: str
    """Where the writing page is while that command runs."""
    scores: Sequence[ModelScore]
    """The model first, then its baselines."""
    scores_note: str
    samples: Sequence[Sample]
    samples_note: str
    task: TaskComparison
    task_note: str
    facts: Mapping[str, str]


def write_report(run: Path, story: Story) -> Path:
    """Write RUN/report.html from the run's metrics and settings and the story; return its path.

    Raises:
        BackendMissing: matplotlib is not installed.
        SourceNotFound, DamagedData: see read_metrics.
        StorageError: the page cannot be written; the one before is whole.
    """
    metrics = read_metrics(run)
    template = Template((resources.files("ogpt.recipes") / "report.html").read_text("utf-8"))
    body = template.substitute(
        commands=escape("\n".join(story.commands)),
        page_address=escape(story.page_address),
        scores="\n".join(
            _score_row(score, "model" if score is story.scores[0] else "opponent")
            for score in story.scores
        ),
        scores_note=escape(story.scores_note),
        loss_curve=_loss_curve(metrics, story),
        samples="\n".join(_sample(sample) for sample in story.samples),
        samples_note=escape(story.samples_note),
        task_verdict=escape(story.task.verdict),
        task_figure=_task_figure(story.task),
        task_note=escape(story.task_note),
        speed_curve=both_widths(
            speed_figure(metrics, 720, 180),
            speed_figure(metrics, 340, 160),
            f"Tokens per second over the steps; the median is {metrics.tokens_per_s:,.0f}",
        ),
        facts="\n".join(_fact_row(name, value) for name, value in story.facts.items()),
        settings=escape((run / SETTINGS_FILE).read_text("utf-8").strip()),
    )
    verdict = _paragraph("verdict" if story.won else "verdict beaten", story.verdict)
    header = f"<p>{escape(story.summary)}</p>\n{verdict}"
    file = run / REPORT_FILE
    with whole_file(file) as temporary:
        temporary.write_text(framed(story.title, header, body), "utf-8")
    return file


def _loss_curve(metrics: Metrics, story: Story) -> str:
    opponents = {score.name: score.loss for score in story.scores[1:]}
    beside = ", ".join(f"{name} {loss:.2f}" for name, loss in opponents.items())
    return both_widths(
        loss_figure(metrics, opponents, 720, 380),
        loss_figure(metrics, opponents, 340, 320),
        f"Training and validation loss over the steps; the validation loss ends at "
        f"{metrics.valid[-1]['loss']:.2f}, beside {beside}",
    )


def _task_figure(task: TaskComparison) -> str:
    models = {"with pre-training": task.pretrained, "without": task.random}
    return both_widths(
        accuracy_figure(models, task.majority, 720, 170),
        accuracy_figure(models, task.majority, 340, 170),
        f"Accuracy on the test set: {task.pretrained.value:.1%} with pre-training, "
        f"{task.random.value:.1%} without, {task.majority:.1%} for the most frequent class",
    )


def _paragraph(kind: str, text: str) -> str:
    return f'<p class="{kind}">{escape(text)}</p>'


def _score_row(score: ModelScore, kind: str) -> str:
    numbers = (f"{score.loss:.4f}", f"{score.perplexity:,.2f}", f"{score.bits_per_byte:.4f}")
    cells = "".join(f"<td>{number}</td>" for number in numbers)
    return f'<tr class="{kind}"><th scope="row">{escape(score.name)}</th>{cells}</tr>'


def _sample(sample: Sample) -> str:
    return f"<blockquote><b>{escape(sample.prompt)}</b>{escape(sample.text)}</blockquote>"


def _fact_row(name: str, value: str) -> str:
    return f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
