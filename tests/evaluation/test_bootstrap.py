"""Measures of resamples equal those of scikit-learn and SciPy on the repeated examples."""

import math

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, mean_squared_error

from ogpt.evaluation import bootstrap

RNG = np.random.default_rng(3)
CLASSES = RNG.integers(0, 3, 40), RNG.integers(0, 3, 40)
SEVERAL = RNG.integers(0, 2, (30, 3)), RNG.integers(0, 2, (30, 3))
SCORES = RNG.integers(0, 6, 30) / 2, RNG.integers(0, 9, 30) / 3  # with ties
RARE = np.array([0, 0, 1, 2, 1]), np.array([0, 2, 1, 1, 1])  # resamples without a class


def averaged(how):
    return lambda gold, found: f1_score(gold, found, average=how, zero_division=0.0)


def pearson(gold, found):
    return pearsonr(gold, found).statistic


def spearman(gold, found):
    return spearmanr(gold, found).statistic


def f1_of_1(gold, found):
    return f1_score(gold == 1, found == 1, zero_division=0.0)


@pytest.mark.parametrize(
    ("measure", "expected", "data"),
    [
        *((bootstrap.accuracy, accuracy_score, data) for data in (CLASSES, RARE, SEVERAL)),
        *((bootstrap.macro_f1, averaged("macro"), data) for data in (CLASSES, RARE, SEVERAL)),
        *((bootstrap.micro_f1, averaged("micro"), data) for data in (CLASSES, RARE, SEVERAL)),
        *((bootstrap.matthews, matthews_corrcoef, data) for data in (CLASSES, RARE)),
        *((bootstrap.f1_of(1), f1_of_1, data) for data in (CLASSES, RARE)),
        (bootstrap.mse, mean_squared_error, SCORES),
        (bootstrap.pearson, pearson, SCORES),
        (bootstrap.spearman, spearman, SCORES),
    ],
)
@pytest.mark.filterwarnings("ignore")  # resamples with a constant, or without a class
def test_measures_of_counts_equal_those_of_repeated_examples(measure, expected, data):
    gold, found, times = bootstrap.distinct(*data)
    assert times.sum() == len(data[0])
    draws = [times, *RNG.multinomial(len(data[0]), times / times.sum(), size=20)]
    values = measure(np.array(draws, dtype=float), gold, found)
    for value, draw in zip(values, draws, strict=True):
        repeated = expected(np.repeat(gold, draw, axis=0), np.repeat(found, draw, axis=0))
        assert value == pytest.approx(repeated, abs=1e-12, nan_ok=True)


def test_correlations_of_constants_are_not_numbers():
    counts = np.array([[3.0, 0.0], [2.0, 1.0]])
    gold, found = np.array([0.1, 0.7]), np.array([0.3, 0.9])
    for measure in (bootstrap.pearson, bootstrap.spearman):
        with np.errstate(divide="ignore", invalid="ignore"):
            values = measure(counts, gold, found)
        assert math.isnan(values[0])
        assert values[1] == pytest.approx(1)
    equal = bootstrap.distinct(np.ones(4), np.arange(4.0))
    assert all(map(math.isnan, bootstrap.interval(bootstrap.pearson, equal)))


def test_classes_have_few_cells_however_many_examples_there_are():
    gold = RNG.integers(0, 2, 40_000)
    found = np.where(RNG.random(40_000) < 0.9, gold, 1 - gold)
    pairs = bootstrap.distinct(gold, found)
    assert len(pairs.times) == 4
    low, high = bootstrap.interval(bootstrap.matthews, pairs)
    assert low < matthews_corrcoef(gold, found) < high
    assert high - low < 0.02


def test_resamples_in_parts_are_those_at_once(monkeypatch):
    pairs = bootstrap.distinct(*SCORES)
    whole = bootstrap.interval(bootstrap.pearson, pairs, seed=4)
    monkeypatch.setattr(bootstrap, "_CELLS", 7 * len(pairs.times))
    assert bootstrap.interval(bootstrap.pearson, pairs, seed=4) == whole
