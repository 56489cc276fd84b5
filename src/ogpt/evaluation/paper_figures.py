"""The pictures of a reproduction: scores beside the paper's, and both panels of figure 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ogpt.evaluation.drawing import COLOURS, FONT, empty_figure
from ogpt.evaluation.paper_results import PaperScore, ProbeCurve
from ogpt.evaluation.paper_tables import ZERO_SHOT, ZeroShot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = ("valid", "opponent", "third", "fourth", "faint")
"""Roles of colours, for variants and for curves."""
_DASHED = (0, (4, 3))
_ROW = 30
"""Pixels for each score."""


def scores_figure(
    scores: Sequence[PaperScore], variants: Mapping[str, str], width: int = 720
) -> Figure:
    """Scores with their intervals, beside hollow diamonds for the paper's.

    Args:
        scores: Of all variants.
        variants: Name -> title; one colour each.
        width: In pixels.
    """
    columns = list(dict.fromkeys(one.column for one in scores))
    names = list(variants)
    rows = len(columns) * len(names)
    legend = 20 * (2 if len(names) == 1 else (len(names) + 2) // max(1, width // 300))
    height = 60 + legend + (_ROW if len(names) == 1 else _ROW // 2) * rows
    figure, axes = empty_figure(width, height, "x")
    step = 0.8 / len(names)
    for one in scores:
        colour = COLOURS[_LINES[names.index(one.variant)]]
        y = columns.index(one.column) + step * (names.index(one.variant) - (len(names) - 1) / 2)
        if one.paper is not None:
            axes.plot(one.paper, y, "D", markersize=6, markerfacecolor="none", color=colour)
        if one.ours is not None:
            axes.plot(one.ours, y, "o", markersize=6, color=colour)
        if one.low is not None and one.high is not None:
            axes.plot([one.low, one.high], [y, y], color=colour, linewidth=1.4)
    axes.set_yticks(range(len(columns)), columns)
    axes.set_ylim(len(columns) - 0.5, -0.5)  # the first one on top
    axes.tick_params(axis="y", labelcolor=COLOURS["ink"])
    axes.set_xlabel("score in percent")
    handles = [_mark("o", "faint", "reproduced"), _mark("D", "faint", "paper")]
    if len(names) > 1:
        handles += [_mark("s", _LINES[at], variants[name]) for at, name in enumerate(names)]
    _legend(axes, handles, columns=max(1, width // 300))
    return figure


def transfer_figure(scores: Sequence[PaperScore], width: int = 720, height: int = 380) -> Figure:
    """Figure 2, left: accuracy over the number of blocks transferred, with intervals.

    That on training examples is dashed.

    Args:
        scores: In the order of the blocks.
        width: In pixels.
        height: In pixels.
    """
    figure, axes = empty_figure(width, height, "y")
    order = list(dict.fromkeys(one.variant for one in scores))
    handles = []
    for role, column in zip(_LINES, dict.fromkeys(one.column for one in scores), strict=False):
        own = [one for one in scores if one.column == column]
        done = [
            (order.index(one.variant), one.ours, one.low, one.high)
            for one in own
            if one.ours is not None and one.low is not None and one.high is not None
        ]
        if done:
            places, values, lows, highs = zip(*done, strict=True)
            axes.plot(places, values, "o-", markersize=4, linewidth=2, color=COLOURS[role])
            axes.fill_between(places, lows, highs, color=COLOURS[role], alpha=0.15, linewidth=0)
        trained = [
            (order.index(one.variant), one.training) for one in own if one.training is not None
        ]
        if trained:
            axes.plot(*zip(*trained, strict=True), linestyle=_DASHED, color=COLOURS[role])
        for one in own:
            if one.paper is not None:
                place = order.index(one.variant)
                axes.plot(place, one.paper, "D", markerfacecolor="none", color=COLOURS[role])
        handles.append(_mark("o", role, f"{column}, validation set"))
    axes.set_xlabel("layers transferred")
    axes.set_ylabel("accuracy in percent")
    axes.set_xlim(-0.4, len(order) - 0.6)
    axes.set_xticks(range(len(order)))
    handles.append(_mark("D", "faint", "paper, read off its plot"))
    if any(one.training is not None for one in scores):
        handles.append(_mark("_", "faint", "dashed: training examples"))
    _legend(axes, handles, max(1, width // 220))
    return figure


def zero_shot_figure(curves: Sequence[ProbeCurve], width: int = 720, height: int = 400) -> Figure:
    """Figure 2, right: zero-shot scores over the updates of pre-training.

    Args:
        curves: Of the Transformer (solid) and of the LSTM (dashed).
        width: In pixels.
        height: In pixels.
    """
    figure, axes = empty_figure(width, height, "y")
    names = list(dict.fromkeys(curve.name for curve in curves))
    handles = []
    for curve in curves:
        role = _LINES[names.index(curve.name) % len(_LINES)]
        dashed = curve.model == "LSTM"
        axes.plot(
            curve.steps,
            curve.normalized,
            marker="o" if len(curve.steps) < 40 else "",
            markersize=3,
            linewidth=1.4 if dashed else 2,
            linestyle=_DASHED if dashed else "-",
            color=COLOURS[role],
        )
    last = max(step for curve in curves for step in curve.steps)
    for at, name in enumerate(names):
        role = _LINES[at % len(_LINES)]
        known = ZERO_SHOT.get(name, ZeroShot(name, None))
        if known.end is not None:
            axes.plot(last, known.end, "D", markerfacecolor="none", color=COLOURS[role])
        handles.append(_mark("o", role, known.title))
    axes.set_xscale("log")
    axes.set_xlabel("updates of pre-training")
    axes.set_ylabel("0: chance, 1: best model before")
    handles.append(_mark("D", "faint", "paper, at its end"))
    if any(curve.model == "LSTM" for curve in curves):
        handles.append(_mark("_", "faint", "dashed: LSTM"))
    _legend(axes, handles, max(1, width // 300))
    return figure


def _mark(marker: str, role: str, label: str) -> tuple[str, str, str]:
    return marker, COLOURS[role], label


def _legend(axes: Axes, marks: Sequence[tuple[str, str, str]], columns: int) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=marker,
            color=colour,
            label=label,
            markerfacecolor="none" if marker == "D" else colour,
        )
        for marker, colour, label in marks
    ]
    axes.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        frameon=False,
        labelcolor=COLOURS["ink"],
        fontsize=FONT,
        borderaxespad=0.2,
    )
