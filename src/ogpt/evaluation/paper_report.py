"""`report.html` and `report.md` of what was reproduced: tables and pictures beside the paper's."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ogpt.evaluation.drawing import both_widths, save_figure
from ogpt.evaluation.page import (
    Block,
    Bullets,
    Grid,
    Heading,
    Paragraph,
    Picture,
    as_html,
    as_markdown,
    framed,
)
from ogpt.evaluation.paper_figures import scores_figure, transfer_figure, zero_shot_figure
from ogpt.evaluation.paper_results import PaperScore, Reproduction
from ogpt.evaluation.paper_tables import FIGURE_2, ZERO_SHOT, ZeroShot
from ogpt.storage import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE, MARKDOWN = "report.html", "report.md"
_NONE = "-"
_LABEL = "The table has the numbers."
_INTERVALS = (
    "All scores are in percent. Ours is the mean over the seeds. Its 95 % interval is that of the "
    "examples for one seed; for several it covers both seeds and examples. Where a test set has "
    "no labels, the score is that of the validation set, which also selected the checkpoint."
)


def write_paper_report(out: Path, made: Sequence[Reproduction]) -> Path:
    """Write OUT/report.html, OUT/report.md and the pictures; return the path of the page.

    Args:
        out: An existing folder.
        made: What was reproduced, in the order of the page.

    Raises:
        BackendMissing: matplotlib is not installed.
        StorageError: a file cannot be written.
    """
    blocks: list[Block] = []
    for one in made:
        blocks += _section(one, partial(_picture, out))
    title = "The paper, reproduced"
    head = [Paragraph(_summary(made)), Paragraph(_INTERVALS, note=True)]
    for name, text in (
        (PAGE, framed(title, as_html(head), as_html(blocks))),
        (MARKDOWN, f"# {title}\n\n{as_markdown([*head, *blocks])}"),
    ):
        with whole_file(out / name) as temporary:
            temporary.write_text(text, "utf-8")
    return out / PAGE


_Draw = Callable[[str, Callable[[int], "Figure"], str], Picture]
"""(name of the file, draws it in a width, what it shows) -> the picture, also saved."""


def _picture(out: Path, name: str, draw: Callable[[int], Figure], label: str) -> Picture:
    file = f"{name}.png"
    wide = draw(720)
    with whole_file(out / file) as temporary:
        save_figure(wide, temporary, "png")
    return Picture(both_widths(wide, draw(340), label), file, label)


def _summary(made: Sequence[Reproduction]) -> str:
    facts = made[0].facts if made else {}
    known = "; ".join(f"{name}: {value}" for name, value in facts.items())
    return (
        'The tables of "Improving Language Understanding by Generative Pre-Training" (Radford et '
        f"al. 2018), with the paper's scores beside those reached here. {known}."
    )


def _section(made: Reproduction, picture: _Draw) -> list[Block]:
    blocks: list[Block] = [Heading(made.title)]
    if made.remark:
        blocks.append(Paragraph(made.remark))
    if made.pending:
        total = made.pending + len(made.runs)
        text = f"Done so far: {len(made.runs)} of {total}. The same command continues."
        blocks.append(Paragraph(text))
    if made.table == FIGURE_2:
        blocks += _figure_2(made, picture)
    else:
        if len(made.variants) > 1:
            blocks.append(_matrix(made))
        draw = partial(scores_figure, _of_columns(made.scores), made.variants)
        blocks.append(picture(made.table, draw, f"{made.title}. {_LABEL}"))
        blocks.append(_scores(made))
    if made.runs:
        blocks.append(_runs(made))
    absent = [f"{made.variants[name]}: {how}" for name, how in made.absent.items()]
    missing = [
        f"{one.title} is missing: get it from {one.owner} (terms: {one.licence})."
        for one in made.missing
    ]
    for items in (absent, missing, made.notes):
        if items:
            blocks.append(Bullets(tuple(items)))
    return blocks


def _figure_2(made: Reproduction, picture: _Draw) -> list[Block]:
    blocks: list[Block] = []
    if made.scores:
        label = f"Accuracy by the number of layers transferred. {_LABEL}"
        draw = partial(transfer_figure, made.scores)
        blocks += [picture(f"{FIGURE_2}-left", draw, label), _by_variant(made)]
    if made.curves:
        right = partial(zero_shot_figure, made.curves)
        label = f"Zero-shot scores over the updates of pre-training. {_LABEL}"
        blocks += [picture(f"{FIGURE_2}-right", right, label), _curves(made)]
    return blocks


def _of_columns(scores: Sequence[PaperScore]) -> list[PaperScore]:
    return [one for one in scores if one.column != "average"]


def _matrix(made: Reproduction) -> Grid:
    """In the paper's form: models by data sets, ours below the paper's."""
    columns = list(dict.fromkeys(one.column for one in made.scores))
    by_place = {(one.variant, one.column): one for one in made.scores}
    rows = []
    for name, title in made.variants.items():
        own = [by_place[name, column] for column in columns]
        rows.append([f"{title}: paper", *(_number(one.paper) for one in own)])
        rows.append([f"{title}: ours", *(_number(one.ours) for one in own)])
    return Grid(["", *columns], rows, strong=frozenset(range(1, len(rows), 2)))


def _scores(made: Reproduction) -> Grid:
    """All scores with their intervals, one in a row."""
    several = len(made.variants) > 1
    seeds = max((one.seeds for one in made.scores), default=0) > 1
    before = any(one.before is not None for one in made.scores)
    header = ["data set", *["model"] * several, "measure", *["before"] * before, "paper", "ours"]
    header += ["95 % interval", *["median", "best"] * seeds, "scored on", "seeds"]
    rows = []
    for one in _of_columns(made.scores):
        row = [one.column, *[one.variant] * several, one.metric]
        row += [*[_number(one.before)] * before, _number(one.paper), _number(one.ours)]
        row += [_interval(one), *[_number(one.median), _number(one.best)] * seeds]
        on = f"{one.scored_on} ({one.examples:,})" if one.scored_on else _NONE
        rows.append([*row, on, str(one.seeds)])
    return Grid(header, rows, numbers_from=2 + several)


def _by_variant(made: Reproduction) -> Grid:
    rows = [
        [
            one.column,
            made.variants[one.variant],
            *(_number(one.paper), _number(one.ours), _interval(one), _number(one.training)),
        ]
        for one in made.scores
    ]
    header = ["data set", "layers transferred", "paper", "ours", "95 % interval", "training"]
    return Grid(header, rows)


def _curves(made: Reproduction) -> Grid:
    """Where the zero-shot scores end, normalized."""
    rows = []
    for one in made.curves:
        known = ZERO_SHOT.get(one.name, ZeroShot(one.name, None))
        paper = None if one.model == "LSTM" else known.end
        row = [known.title, one.model, _NONE if paper is None else f"{paper:.2f}"]
        row += [f"{one.normalized[-1]:.2f}", f"{max(one.normalized):.2f}", f"{one.steps[-1]:,}"]
        rows.append(row)
    header = [
        "zero-shot score",
        "model",
        "paper, at its end",
        "ours, at the end",
        "best",
        "updates",
    ]
    return Grid(header, rows, numbers_from=2)


def _runs(made: Reproduction) -> Grid:
    rows = [
        [
            one.task,
            one.variant,
            one.machine,
            str(one.seeds),
            f"{one.examples:,}",
            _NONE if one.wall_s is None else _duration(one.wall_s),
            _NONE if one.flops is None else f"{one.flops:.2g}",
        ]
        for one in made.runs
    ]
    header = ["runs on", "model", "machine", "seeds", "training examples", "wall time", "FLOPs"]
    return Grid(header, rows, numbers_from=3)


def _interval(one: PaperScore) -> str:
    return _NONE if one.low is None or one.high is None else f"{one.low:.1f} to {one.high:.1f}"


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1f}"


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
