"""The pictures of a run, as files and inside a page."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from ogpt.errors import BackendMissing, StorageError
from ogpt.evaluation.drawing import COLOURS, inline_svg
from ogpt.evaluation.task_scores import TaskScore
from ogpt.recipes.curves import (
    accuracy_figure,
    loss_figure,
    save_loss_curve,
    smoothed,
    speed_figure,
)
from ogpt.recipes.run_metrics import read_metrics

OPPONENTS = {"bigram": 5.1, "trigram": 4.6}


def test_svg_file_is_whole_and_the_same_every_time(run: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    save_loss_curve(run, first, OPPONENTS)
    save_loss_curve(run, second, OPPONENTS)
    assert first.read_bytes() == second.read_bytes()
    ET.parse(first)
    for word in ("validation", "trigram 4.60", "bigram 5.10", COLOURS["valid"]):
        assert word in first.read_text("utf-8")


def test_png_file(run: Path, tmp_path: Path) -> None:
    save_loss_curve(run, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_that_cannot_be_written_is_an_error(run: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="could not write"):
        save_loss_curve(run, tmp_path / "missing" / "a.svg")


def test_inline_picture_takes_its_colours_from_the_page(run: Path) -> None:
    figure = loss_figure(read_metrics(run), OPPONENTS)
    svg = inline_svg(figure, 'loss <of> "it"')
    assert svg.startswith('<svg role="img" aria-label="loss &lt;of&gt; &quot;it&quot;"')
    assert 'viewBox="0 0 720 380"' in svg
    for name in COLOURS.keys() - {"third", "fourth"}:  # which this figure has no lines for
        assert f"var(--{name})" in svg
    assert "#" not in svg.replace('xlink:href="#', "").replace("url(#", "")  # no colour is fixed
    for word in ("<style", "<metadata", "<?xml", "DOCTYPE", "font-family"):
        assert word not in svg
    ET.fromstring(svg)


def test_inline_pictures_share_no_ids(run: Path) -> None:
    metrics = read_metrics(run)
    ids = [
        [element.get("id") for element in ET.fromstring(inline_svg(figure, "")).iter()]
        for figure in (loss_figure(metrics, OPPONENTS), speed_figure(metrics))
    ]
    for names in ids:
        named = [name for name in names if name]
        assert len(named) == len(set(named))
    assert not set(filter(None, ids[0])) & set(filter(None, ids[1]))


def test_without_opponents_the_whole_curve_shows(run: Path) -> None:
    metrics = read_metrics(run)
    top = max(event["loss"] for event in metrics.train)
    assert loss_figure(metrics, {}).axes[0].get_ylim()[1] > top
    assert loss_figure(metrics, OPPONENTS).axes[0].get_ylim()[1] == pytest.approx(5.9)


def test_accuracies_are_bars_with_intervals_beside_the_baseline() -> None:
    scores = {"with": TaskScore(0.8, 0.7, 0.9), "without": TaskScore(0.6, 0.5, 0.7)}
    figure = accuracy_figure(scores, 0.25)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [0.8, 0.6]
    assert [list(line.get_xdata()) for line in axes.lines[:2]] == [[0.7, 0.9], [0.5, 0.7]]
    svg = inline_svg(figure, "")
    for word in ("80.0%", "60.0%", "most frequent class 25.0%", "without"):
        assert f">{word}<" in svg
    assert "#" not in svg.replace('xlink:href="#', "").replace("url(#", "")  # no colour is fixed


def test_smoothing_keeps_the_mean_and_the_last_step() -> None:
    assert smoothed([1, 2, 3, 4, 5], [5.0, 3.0, 2.0, 4.0, 7.0], points=2) == (
        [2, 4, 5],
        [4.0, 3.0, 7.0],
    )
    assert smoothed([1, 2], [5.0, 3.0]) == ([1, 2], [5.0, 3.0])


def test_without_matplotlib_the_hint_says_what_to_install(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BackendMissing, match="needs matplotlib") as caught:
        loss_figure(read_metrics(run), {})
    assert caught.value.hint == "pip install 'ogpt[report]'"
