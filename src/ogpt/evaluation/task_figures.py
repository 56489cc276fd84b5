"""Pictures of how a model predicts: confusion matrix, scatter of scores, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.evaluation.drawing import COLOURS, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INK, _BLUE, _ORANGE = (COLOURS[role] for role in ("ink", "valid", "opponent"))
_MOST_NAMED = 30
BINS = 10


class Calibration(NamedTuple):
    """How often the best class is right, by the probability that the model gives it."""

    error: float
    """Expected calibration error: mean distance of the two, 0 to 1 (Guo et al. 2017)."""
    confidence: list[float]
    """Mean probability in each bin that has examples."""
    accuracy: list[float]
    examples: list[int]


def calibration(probabilities: NDArray[Any], labels: NDArray[Any]) -> Calibration:
    """Compare probabilities (N, K) with how often the best class is right, in BINS bins."""
    best = probabilities.argmax(-1)
    sure = probabilities.max(-1)
    right = best == labels
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    held = [index for index in range(BINS) if (bins == index).any()]
    confidence = [float(sure[bins == index].mean()) for index in held]
    accuracy = [float(right[bins == index].mean()) for index in held]
    count = [int((bins == index).sum()) for index in held]
    parts = zip(confidence, accuracy, count, strict=True)
    error = sum(n * abs(c - a) for c, a, n in parts) / len(labels)
    return Calibration(error, confidence, accuracy, count)


def confusion_figure(
    gold: NDArray[Any], found: NDArray[Any], names: Sequence[str], title: str = ""
) -> Figure:
    """Confusion matrix: rows are gold classes, columns predicted ones; shares of the row in colour.

    Args:
        gold: (N,) classes.
        found: (N,) predicted classes.
        names: Of the classes.
        title: Above the picture.
    """
    figure, axes = _figure(max(4.0, 2.2 + 0.5 * min(len(names), _MOST_NAMED)))
    n = len(names)
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, (gold, found), 1)
    shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if n <= _MOST_NAMED:
        axes.set_xticks(range(n), names, rotation=45 if max(map(len, names)) > 4 else 0, ha="right")
        axes.set_yticks(range(n), names)
        for row in range(n):
            for column in range(n):
                colour = "white" if shares[row, column] > 0.6 else _INK
                text = f"{counts[row, column]}\n{shares[row, column]:.0%}"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xlabel("predicted")
    axes.set_ylabel("gold")
    axes.set_title(title)
    return figure


def scatter_figure(gold: NDArray[Any], found: NDArray[Any], title: str = "") -> Figure:
    """Predicted scores over gold ones, each (N,), with the line where they are equal."""
    figure, axes = _figure(4.5)
    axes.scatter(gold, found, s=9, alpha=0.4, color=_BLUE, linewidths=0)
    low, high = float(gold.min()), float(gold.max())
    axes.plot([low, high], [low, high], color=_ORANGE, linewidth=1)
    axes.set_xlabel("gold score")
    axes.set_ylabel("predicted score")
    axes.set_title(title)
    return figure


def calibration_figure(found: Calibration, title: str = "") -> Figure:
    """Accuracy over probability; the closer to the diagonal, the more a probability means."""
    figure, axes = _figure(4.5)
    axes.plot([0, 1], [0, 1], color=_ORANGE, linewidth=1)
    total = max(1, sum(found.examples))
    sizes = [20 + 400 * n / total for n in found.examples]
    axes.plot(found.confidence, found.accuracy, color=_BLUE, linewidth=1)
    axes.scatter(found.confidence, found.accuracy, s=sizes, color=_BLUE, alpha=0.7)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.set_xlabel("probability of the predicted class")
    axes.set_ylabel("share that is right")
    axes.set_title(title or f"expected calibration error {found.error:.3f}")
    return figure


def _figure(inches: float) -> tuple[Figure, Any]:
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(inches + 0.5, inches), dpi=120, layout="constrained")
    return figure, figure.subplots()
