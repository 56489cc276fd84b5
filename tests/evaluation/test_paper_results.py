"""From the scores of runs to scores beside the paper's."""

import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from ogpt.errors import DamagedData
from ogpt.evaluation.paper_report import write_paper_report
from ogpt.evaluation.paper_results import (
    PaperScore,
    averages,
    load_results,
    paper_score,
    save_results,
)
from ogpt.evaluation.paper_tables import FULL, TABLE_3, TABLE_5, TRAINING_SAMPLE, figure_2
from ogpt.evaluation.task_scores import TaskScore
from tests.evaluation.reproduced import ALL, EXAMPLES, MADE, MIDDLE, RACE, scored


def test_one_seed_has_the_interval_of_its_examples() -> None:
    one = scored(MIDDLE, RACE)
    assert (one.ours, one.low, one.high, one.median, one.best) == (60, 50, 70, 60, 60)
    assert (one.paper, one.before, one.scored_on, one.examples) == (62.9, 60.2, "test", 10)


def test_several_seeds_have_the_interval_of_their_mean() -> None:
    other = {**RACE, "test/middle": TaskScore(0.9, 0.8, 1.0)}
    one = scored(MIDDLE, RACE, other, other)
    assert (one.ours, one.median, one.best, one.seeds) == (80, 90, 90, 3)
    # of 60, 90 and 90 by Student's t, 43 to each side, and 10 for the examples
    assert one.low == pytest.approx(35.82, abs=0.01)
    assert one.high == 100


def test_the_validation_set_stands_in_for_the_test_set_it_is_like() -> None:
    valid = {"valid": RACE["valid"]}
    one = scored(ALL, valid)
    assert (one.ours, one.scored_on) == (30, "validation")
    assert scored(MIDDLE, valid).ours is None  # it mixes both levels
    dev = figure_2(12)
    assert paper_score(dev, FULL, dev.columns[1], "accuracy", [RACE], EXAMPLES).ours == 30


def test_a_mean_of_two_sets() -> None:
    column = TABLE_5.columns[5]
    runs = [{"valid/matched": RACE["test/middle"], "valid/mismatched": RACE["test/high"]}]
    one = paper_score(TABLE_5, FULL, column, "accuracy", runs, dict.fromkeys(runs[0], 10))
    assert (one.ours, one.low, one.high, one.examples) == (55, 45, 65, 20)


def test_the_score_on_training_examples_is_the_mean_over_seeds() -> None:
    runs = [{**RACE, TRAINING_SAMPLE: TaskScore(value, 0.0, 1.0)} for value in (0.8, 0.9)]
    assert scored(MIDDLE, *runs).training == pytest.approx(85)
    assert scored(MIDDLE, RACE).training is None


def test_an_undefined_score_is_none() -> None:
    one = scored(ALL, {"test/all": TaskScore(math.nan, math.nan, math.nan)})
    assert (one.ours, one.low, one.best, one.seeds) == (None, None, None, 1)


def test_the_average_is_of_the_columns_with_a_score_on_both_sides() -> None:
    scores = [
        PaperScore(variant=variant.name, column=column.title, ours=ours, seeds=2)
        for variant in TABLE_5.variants
        for column, ours in zip(TABLE_5.columns, [40.0, 90.0, *[None] * 6], strict=True)
    ]
    full = averages(TABLE_5, scores)[0]
    assert (full.ours, full.paper, full.metric, full.seeds) == (65, 68.3, "of 2", 2)
    nothing = averages(TABLE_5, [replace(one, ours=None) for one in scores])[0]
    assert (nothing.ours, nothing.paper) == (None, 74.7)
    assert averages(TABLE_3, []) == ()


def test_results_are_read_back(tmp_path: Path) -> None:
    save_results(replace(MADE, report=tmp_path), tmp_path / "a.json")
    assert load_results(tmp_path / "a.json") == MADE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scores": [{"x": 1}]}'])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, "utf-8")
    with pytest.raises(DamagedData, match="holds no results of ogpt reproduce"):
        load_results(tmp_path / "a.json")


def test_the_report_names_what_is_done_and_what_is_missing(tmp_path: Path) -> None:
    page = write_paper_report(tmp_path, [MADE])
    assert page == tmp_path / "report.html"
    html = page.read_text("utf-8")
    body = ET.fromstring(html[html.index("<body>") : html.index("</html>")])
    assert len(list(body.iter("table"))) == 2
    text = (tmp_path / "report.md").read_text("utf-8")
    for line in (
        "| RACE-m | accuracy | 60.2 | 62.9 | 60.0 | 50.0 to 70.0 | test (10) | 1 |",
        "| RACE-h | accuracy | 50.3 | 57.4 | - | - | - | 0 |",
        "| RACE | full | cpu | 1 | 9 | 1:02:05 | 1.5e+12 |",
        "Done so far: 1 of 3. The same command continues.",
        "- Story Cloze is missing: get it from https://a.b (terms: c).",
        "- Full: make one",
        "- a note",
        "A remark.",
    ):
        assert line in text.splitlines()
