"""Scores against numbers worked out by hand, and intervals that are the same every time."""

import math
import sys
import warnings

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from ogpt.errors import BackendMissing, ConfigError, DataError
from ogpt.evaluation import bootstrap
from ogpt.evaluation.task_figures import confusion_figure
from ogpt.evaluation.task_scores import (
    TaskScore,
    decided,
    mean_interval,
    measures,
    probabilities,
    scores,
)
from ogpt.notices import collecting
from ogpt.tasks.task_spec import TaskSpec


def spec(*metrics, **changes) -> TaskSpec:
    fields = {"family": "classification", "labels": ("no", "yes"), "metrics": metrics}
    return TaskSpec(**(fields | changes))


def logits_of(classes, labels=2):
    return np.eye(labels, dtype=np.float32)[np.array(classes)]


GOLD, FOUND = np.array([0, 0, 0, 1, 1, 1, 1, 0]), [0, 0, 1, 1, 1, 0, 1, 1]


def test_binary_scores_by_hand():
    # yes: 3 found of 4, 2 too many; no: 2 found of 4
    found = measures(spec("accuracy", "f1", "matthews"), logits_of(FOUND), GOLD)
    assert found["accuracy"] == 5 / 8
    assert found["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    matthews = (3 * 2 - 2 * 1) / math.sqrt(5 * 4 * 4 * 3)
    assert found["matthews"] == pytest.approx(matthews)
    assert found["matthews"] == pytest.approx(matthews_corrcoef(GOLD, FOUND))


def test_f1_is_that_of_the_positive_class():
    no = measures(spec("f1", positive="no"), logits_of(FOUND), GOLD)
    assert no["f1"] == pytest.approx(f1_score(GOLD, FOUND, pos_label=0))
    assert no["f1"] != measures(spec("f1"), logits_of(FOUND), GOLD)["f1"]


def test_correlations():
    regression = {"problem": "regression", "labels": ()}
    gold = np.array([0.0, 1.0, 2.0, 4.0])
    found = measures(spec("pearson", "spearman", "mse", **regression), (gold**3)[:, None] + 1, gold)
    assert found["spearman"] == pytest.approx(1)
    assert 0.8 < found["pearson"] < 0.999
    assert found["mse"] == pytest.approx(np.mean((gold**3 + 1 - gold) ** 2))


def test_float32_predictions_that_hardly_differ_still_correlate():
    gold = np.array([1.0, 2.0, 3.0, 4.0])
    found = np.float32(4) + np.arange(4, dtype=np.float32)[:, None] * np.float32(2e-6)
    regression = {"problem": "regression", "labels": ()}
    scores_of = measures(spec("pearson", **regression), found, gold)
    assert scores_of["pearson"] == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("rounding", [0, 1e-7])
def test_a_correlation_of_constants_is_not_a_number_and_says_so(rounding):
    regression = {"problem": "regression", "labels": ()}
    equal = np.array([[1.0], [1 + rounding], [1.0]], dtype=np.float32)
    with collecting() as notices:
        found = measures(spec("pearson", **regression), equal, np.array([0.0, 1.0, 2.0]))
    assert math.isnan(found["pearson"])
    assert notices[0].message == (
        "the Pearson correlation is not defined: all predictions are equal; the score is nan"
    )


@pytest.mark.parametrize(
    ("gold", "found", "what"),
    [([1, 1, 1], [1, 1, 1], "gold labels"), ([0, 1, 1], [1, 1, 1], "predictions")],
)
def test_a_matthews_correlation_of_one_class_is_zero_and_says_so(gold, found, what):
    with warnings.catch_warnings(), collecting() as notices:
        warnings.simplefilter("error")  # scikit-learn's
        known = scores(spec("matthews"), logits_of(found), np.array(gold))
    assert (known["matthews"].value, known["matthews"].interval) == (0, "no interval")
    assert [notice.message for notice in notices] == [
        f"the Matthews correlation is not defined: all {what} are equal; the score is 0"
    ]


def test_several_labels():
    several = spec("accuracy", "micro_f1", problem="multi_label_classification")
    predictions = np.array([[2.0, -1.0], [-1.0, -1.0], [3.0, 0.5]])
    gold = np.array([[1, 0], [0, 1], [1, 1]], dtype=np.float32)
    found = measures(several, predictions, gold)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["micro_f1"] == pytest.approx(2 * 3 / (2 * 3 + 0 + 1))
    assert decided(several, predictions).tolist() == [[1, 0], [0, 0], [1, 1]]


def test_probabilities():
    one = probabilities(spec("accuracy"), np.array([[0.0, np.log(3)], [1e4, -np.inf]]))
    assert np.allclose(one, [[0.25, 0.75], [1, 0]])
    several = spec("accuracy", problem="multi_label_classification")
    assert np.allclose(probabilities(several, np.array([[0.0, np.log(3)]])), [[0.5, 0.75]])


def test_intervals_are_reproducible_and_hold_the_score():
    rng = np.random.default_rng(1)
    gold = rng.integers(0, 2, 400)
    found = logits_of(np.where(rng.random(400) < 0.8, gold, 1 - gold))
    first = scores(spec("accuracy", "matthews"), found, gold)
    assert first == scores(spec("accuracy", "matthews"), found, gold)
    assert first != scores(spec("accuracy", "matthews"), found, gold, seed=1)
    value, low, high = first["accuracy"]
    assert low < value < high
    # of a share p of n examples: 1.96 sqrt(p (1 - p) / n) to each side
    expected = 1.96 * math.sqrt(value * (1 - value) / 400)
    assert (high - low) / 2 == pytest.approx(expected, rel=0.15)


def test_the_interval_of_seeds_covers_seeds_and_examples():
    alone = [TaskScore(value, math.nan, math.nan) for value in (0.7, 0.8, 0.9)]
    found = mean_interval("accuracy", alone)
    assert found.value == pytest.approx(0.8)
    # Student's t of 2 degrees of freedom, 4.303, times 0.1 / sqrt(3)
    assert found.low == pytest.approx(0.8 - 0.2484, abs=1e-4)
    assert found.high == 1  # not 1.05
    # equal scores on the same examples: as uncertain as one of them, however many runs there are
    one = TaskScore(0.55, 0.42, 0.68)
    assert mean_interval("accuracy", [one] * 5) == pytest.approx(one)
    assert mean_interval("accuracy", [one]) == one
    both = mean_interval(
        "pearson", [TaskScore(value, value - 0.3, 1.0) for value in (0.7, 0.8, 0.9)]
    )
    assert both.low == pytest.approx(0.8 - math.hypot(0.2484, 0.3), abs=1e-4)


def test_the_interval_of_few_seeds_holds_the_mean_in_95_of_100_cases():
    rng = np.random.default_rng(0)
    held = 0
    for values in rng.normal(0.5, 0.05, (400, 3)):
        _, low, high = mean_interval("accuracy", [TaskScore(v, math.nan, math.nan) for v in values])
        held += low <= 0.5 <= high
    assert 0.92 <= held / 400 <= 0.98  # of percentiles of three resampled values: 0.75


def test_scores_at_the_ends_do_not_claim_certainty():
    gold = np.arange(60) % 2
    with collecting() as notices:
        right = scores(spec("accuracy", "macro_f1"), logits_of(gold), gold)
        wrong = scores(spec("accuracy"), logits_of(1 - gold[:9]), gold[:9])
        one_class = scores(spec("matthews"), logits_of([1] * 12), gold[:12])
    # Wilson's interval of 60 of 60, and of 0 of 9
    assert right["accuracy"] == pytest.approx((1, 0.9398, 1), abs=1e-4)
    assert wrong["accuracy"] == pytest.approx((0, 0, 0.2991), abs=1e-4)
    assert right["macro_f1"].value == 1
    assert right["macro_f1"].interval == one_class["matthews"].interval == "no interval"
    assert [notice.kind for notice in notices] == ["score-undefined"]  # of the one class
    assert bootstrap.wilson(0.5, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)


def test_a_score_that_is_not_a_number_is_refused():
    with pytest.raises(
        DataError, match="the predictions of 1 of 2 examples are NaN or infinite"
    ) as error:
        measures(spec("accuracy"), np.array([[0.0, 1.0], [np.nan, 0.0]]), np.array([0, 1]))
    assert "learning rate" in error.value.hint


def test_an_unknown_metric_is_refused():
    with pytest.raises(ConfigError, match="the metric is 'bleu'; allowed: accuracy, f1"):
        measures(spec("bleu"), logits_of([0]), np.array([0]))


def test_missing_packages_are_named_with_their_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(BackendMissing, match="scores need scikit-learn and SciPy") as error:
        measures(spec("accuracy"), logits_of([0]), np.array([0]))
    assert "ogpt[eval]" in error.value.hint
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BackendMissing, match="drawing figures needs matplotlib") as error:
        confusion_figure(np.array([0]), np.array([0]), ["a"])
    assert "ogpt[report]" in error.value.hint
