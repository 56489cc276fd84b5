"""The pictures of a reproduction show each score at its place."""

from dataclasses import replace

import numpy as np

from ogpt.evaluation.drawing import COLOURS, both_widths, inline_svg
from ogpt.evaluation.paper_figures import scores_figure, transfer_figure, zero_shot_figure
from ogpt.evaluation.paper_results import PaperScore, ProbeCurve
from ogpt.evaluation.paper_tables import ZERO_SHOT

ONE = PaperScore(variant="full", column="RTE", paper=56.0, ours=57.0, low=55.0, high=59.0)
CURVE = ProbeCurve(model="Transformer", name="cola", steps=(10, 100), normalized=(0.1, 0.3))


def points(figure) -> list[tuple[list[float], str]]:
    (axes,) = figure.axes
    return [(np.atleast_1d(line.get_xdata()).tolist(), line.get_marker()) for line in axes.lines]


def test_a_score_stands_beside_the_papers_with_its_interval() -> None:
    missing = PaperScore(variant="full", column="QNLI", paper=88.1)
    figure = scores_figure([ONE, missing], {"full": "Full"})
    assert points(figure) == [([56], "D"), ([57], "o"), ([55, 59], "None"), ([88.1], "D")]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["RTE", "QNLI"]


def test_variants_have_colours_and_places_of_their_own() -> None:
    scores = [ONE, replace(ONE, variant="lstm")]
    (axes,) = scores_figure(scores, {"full": "Full", "lstm": "LSTM"}).axes
    places = {(line.get_color(), float(np.atleast_1d(line.get_ydata())[0])) for line in axes.lines}
    assert places == {(COLOURS["valid"], -0.2), (COLOURS["opponent"], 0.2)}
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["reproduced", "paper", "Full", "LSTM"]


def test_layers_transferred() -> None:
    scores = [
        replace(ONE, variant="transfer-00", paper=40.0),
        replace(ONE, variant="transfer-01", paper=None, ours=None, low=None, high=None),
        replace(ONE, variant="full", paper=None),
    ]
    figure = transfer_figure(scores)
    assert points(figure) == [([0, 2], "o"), ([0], "D")]


def test_scores_on_training_examples_are_dashed() -> None:
    scores = [
        replace(ONE, variant="transfer-00", training=70.0),
        replace(ONE, variant="full", training=90.0),
    ]
    (axes,) = transfer_figure(scores).axes
    (dashed,) = (line for line in axes.lines if line.get_linestyle() == "--")
    assert np.array(dashed.get_xydata()).tolist() == [[0, 70], [1, 90]]
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend[-1] == "dashed: training examples"


def test_zero_shot_curves() -> None:
    figure = zero_shot_figure([CURVE, replace(CURVE, model="LSTM")])
    assert points(figure) == [([10, 100], "o"), ([10, 100], "o"), ([100], "D")]
    (axes,) = figure.axes
    solid, dashed, end = axes.lines
    assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
    assert float(np.atleast_1d(end.get_ydata())[0]) == ZERO_SHOT["cola"].end
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["linguistic acceptability", "paper, at its end", "dashed: LSTM"]
    assert axes.get_xscale() == "log"


def test_pictures_take_their_colours_from_the_page() -> None:
    figures = [zero_shot_figure([CURVE], width) for width in (720, 340)]
    text = both_widths(*figures, "zero shot")
    assert text.count("<svg") == 2
    assert inline_svg(figures[0], "zero shot") in text
    assert "#" not in text.replace('xlink:href="#', "").replace("url(#", "")
