"""Figures of a run: the loss beside its baselines, the speed, and the accuracy on a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from ogpt.evaluation.drawing import COLOURS, FONT, empty_figure, save_figure
from ogpt.evaluation.task_scores import TaskScore
from ogpt.recipes.run_metrics import Metrics, read_metrics
from ogpt.storage import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def save_loss_curve(run: Path, file: Path, opponents: Mapping[str, float] | None = None) -> None:
    """Draw the loss of a run into `file`, an .svg or .png.

    Args:
        run: Folder of a run.
        file: The figure to write.
        opponents: Name and validation loss, in nats per token, of each baseline.

    Raises:
        BackendMissing: matplotlib is not installed.
        SourceNotFound, DamagedData: see read_metrics.
        StorageError: the file cannot be written.
    """
    figure = loss_figure(read_metrics(run), opponents or {})
    with whole_file(file) as temporary:
        save_figure(figure, temporary, file.suffix.removeprefix("."))


def loss_figure(
    metrics: Metrics, opponents: Mapping[str, float], width: int = 720, height: int = 380
) -> Figure:
    """Training and validation loss over steps, and a dashed line per baseline; sizes in pixels."""
    figure, axes = _over_steps(width, height)
    train, valid = metrics.train, metrics.valid
    axes.plot(
        *smoothed(*_columns(train, "loss")),
        color=COLOURS["train"],
        linewidth=1.5,
        label="training (smoothed)",
    )
    marker = "o" if len(valid) < 40 else ""
    axes.plot(
        *_columns(valid, "loss"),
        color=COLOURS["valid"],
        linewidth=2,
        marker=marker,
        markersize=4,
        label="validation",
    )
    for name, loss in opponents.items():
        axes.axhline(loss, color=COLOURS["opponent"], linewidth=1.2, linestyle=(0, (5, 3)))
        axes.annotate(
            f"{name} {loss:.2f}",
            (1, loss),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            horizontalalignment="right",
            color=COLOURS["opponent"],
            fontsize=FONT,
        )
    if opponents:
        # the first steps are far above the baselines, and would flatten the curve
        axes.set_ylim(top=min(axes.get_ylim()[1], max(opponents.values()) + 0.8))
    axes.set_ylabel("nats per token")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=2,
        frameon=False,
        labelcolor=COLOURS["ink"],
        fontsize=FONT,
    )
    return figure


def speed_figure(metrics: Metrics, width: int = 720, height: int = 180) -> Figure:
    """Tokens per second over steps; sizes in pixels."""
    figure, axes = _over_steps(width, height)
    axes.plot(*_columns(metrics.train, "tokens_per_s"), color=COLOURS["valid"], linewidth=1.2)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set_ylabel("tokens/s")
    return figure


def accuracy_figure(
    models: Mapping[str, TaskScore], baseline: float, width: int = 720, height: int = 170
) -> Figure:
    """A bar per model with its interval, and a dashed line for the baseline; sizes in pixels.

    Args:
        models: Accuracy by name, 0 to 1; the first one stands out.
        baseline: Accuracy of always predicting the most frequent class.
        width: Of the figure.
        height: Of the figure.
    """
    figure, axes = empty_figure(width, height, "x")
    names = list(models)
    axes.barh(
        names,
        [score.value for score in models.values()],
        height=0.55,
        color=[COLOURS["valid"], *[COLOURS["train"]] * (len(models) - 1)],
    )
    for place, (value, low, high) in enumerate(models.values()):
        axes.plot([low, high], [place, place], color=COLOURS["ink"], linewidth=1.2)
        axes.annotate(
            f"{value:.1%}",
            (high, place),
            xytext=(6, 0),
            textcoords="offset points",
            verticalalignment="center",
            color=COLOURS["ink"],
            fontsize=FONT,
        )
    axes.axvline(baseline, color=COLOURS["opponent"], linewidth=1.2, linestyle=(0, (5, 3)))
    axes.annotate(
        f"most frequent class {baseline:.1%}",
        (baseline, 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, 2),
        textcoords="offset points",
        color=COLOURS["opponent"],
        fontsize=FONT,
    )
    axes.invert_yaxis()  # the first one on top
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.set_xlabel("accuracy on the test set, with 95 % intervals")
    return figure


def smoothed(
    steps: Sequence[int], values: Sequence[float], points: int = 80
) -> tuple[list[int], list[float]]:
    """Means of groups of neighbours, each at its last step; at most 2 x `points` groups."""
    size = max(1, len(values) // points)
    groups = [values[first : first + size] for first in range(0, len(values), size)]
    ends = [min(first + size, len(steps)) - 1 for first in range(0, len(steps), size)]
    return [steps[end] for end in ends], [fmean(group) for group in groups]


def _over_steps(width: int, height: int) -> tuple[Figure, Axes]:
    figure, axes = empty_figure(width, height, "y")
    axes.set_xlabel("step")
    axes.locator_params(axis="x", nbins=width // 80, integer=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    return figure, axes


def _columns(events: Any, name: str) -> tuple[list[int], list[float]]:
    return [event["step"] for event in events], [event[name] for event in events]
