"""Scores of a task: the paper's measures by scikit-learn and SciPy, with bootstrap intervals.

An interval says how much a score depends on the examples at hand, not on the seed of the training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import BackendMissing, ConfigError, DataError
from ogpt.evaluation import bootstrap
from ogpt.notices import tell
from ogpt.tasks.task_spec import TaskSpec

Array = NDArray[Any]

ROUNDING = 1e-6
"""Relative difference of predictions that are equal: in float32, equal texts at different places of
a batch may differ by a few units in the last place (6e-8)."""


RANGES = {
    "matthews": (-1.0, 1.0),
    "pearson": (-1.0, 1.0),
    "spearman": (-1.0, 1.0),
    "mse": (0.0, math.inf),
}
"""Lowest and highest value of a measure; of all others these are 0 and 1."""


class Metric(NamedTuple):
    """A measure, of gold labels and predictions and of resamples of them."""

    of: Callable[[Array, Array], float]
    """(N,) classes or scores, or (N, labels) of 0 and 1, of each -> the score."""
    counted: bootstrap.Counted


class TaskScore(NamedTuple):
    """A score and its 95 % interval, whose bounds are NaN where there is none."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, stored: Sequence[float | None]) -> TaskScore:
        """The score that was `stored`."""
        return cls(*(np.nan if part is None else part for part in stored))

    @property
    def stored(self) -> list[float | None]:
        """Value and bounds for JSON, which has no NaN."""
        return [None if math.isnan(part) else part for part in self]

    @property
    def interval(self) -> str:
        """The interval for tables."""
        return interval_text(self.low, self.high)


def interval_text(low: float | None, high: float | None) -> str:
    """An interval for tables and cards; bounds that are None or NaN are none."""
    if low is None or high is None or math.isnan(low):
        return "no interval"
    return f"{low:.4f} to {high:.4f}"


def decided(spec: TaskSpec, predictions: Array) -> Array:
    """What is predicted: the best class or choice, all labels above one half, or the score.

    Args:
        spec: The task.
        predictions: (N, labels), (N, K) or (N, 1) logits.

    Returns:
        (N,) classes or scores, or (N, labels) of 0 and 1.
    """
    if spec.problem == "regression":
        return predictions[:, 0]
    if spec.problem == "multi_label_classification":
        return (predictions > 0).astype(np.int64)  # sigmoid(0) is one half
    best: Array = predictions.argmax(-1)
    return best


def named(spec: TaskSpec, value: Any) -> Any:
    """A decision as people read it: a class, the names that apply, a choice from 0, or a score."""
    if spec.problem == "regression":
        return float(value)
    if spec.problem == "multi_label_classification":
        return [name for name, is_set in zip(spec.labels, value, strict=True) if is_set]
    return spec.labels[int(value)] if spec.labels else int(value)


def probabilities(spec: TaskSpec, predictions: Array) -> Array:
    """Softmax over classes or choices, or a sigmoid for each of several labels; scores as they are.

    Args:
        spec: The task.
        predictions: (N, labels), (N, K) or (N, 1) logits; -inf for a choice that is not there.
    """
    if spec.problem == "regression":
        return predictions
    if spec.problem == "multi_label_classification":
        several: Array = 1 / (1 + np.exp(-predictions))
        return several
    wide = predictions.astype(np.float64)
    exps = np.exp(wide - wide.max(-1, keepdims=True))
    one: Array = exps / exps.sum(-1, keepdims=True)
    return one


def measures(spec: TaskSpec, predictions: Array, labels: Array) -> dict[str, float]:
    """The scores of a task, without intervals: what validation during training reports.

    Args:
        spec: The task, which names its measures.
        predictions: (N, labels), (N, K) or (N, 1) logits.
        labels: As `ogpt.tasks.labels.label_array` returns them.

    Raises:
        DataError: a prediction is not a number.
        BackendMissing: scikit-learn is not installed.
    """
    check_numbers(predictions)
    found = decided(spec, predictions)
    gold = _gold(spec, labels)
    return {name: metric.of(gold, found) for name, metric in _metrics(spec).items()}


def scores(
    spec: TaskSpec, predictions: Array, labels: Array, *, seed: int = 0
) -> dict[str, TaskScore]:
    """The scores of a task with their 95 % intervals; the same numbers for the same seed.

    Args:
        spec: The task, which names its measures.
        predictions: (N, labels), (N, K) or (N, 1) logits.
        labels: As `ogpt.tasks.labels.label_array` returns them.
        seed: Of the resampling.

    Raises:
        DataError: a prediction is not a number.
        BackendMissing: scikit-learn is not installed.
    """
    values = measures(spec, predictions, labels)
    pairs = bootstrap.distinct(_gold(spec, labels), decided(spec, predictions))
    return {
        name: TaskScore(values[name], *bootstrap.interval(metric.counted, pairs, seed=seed))
        for name, metric in _metrics(spec).items()
    }


def mean_interval(metric: str, runs: Sequence[TaskScore]) -> TaskScore:
    """Mean of several runs, such as seeds, and its 95 % interval.

    Two errors add in quadrature: that of a mean of so few runs, by Student's t, and that of the
    examples, which all runs share, so that no number of runs makes it smaller. The second one is
    the mean distance of the runs' own bounds; bounds that are NaN are not known and left out.

    Args:
        metric: Of all scores; its range bounds the interval.
        runs: One score or more.

    Returns:
        Of one run its own score and interval.
    """
    from scipy.stats import t

    if len(runs) == 1:
        return TaskScore(*runs[0])
    values, low, high = np.array(runs, dtype=np.float64).T
    mean = float(values.mean())
    error = values.std(ddof=1) / math.sqrt(len(runs))
    seeds = float(t.ppf((1 + bootstrap.LEVEL) / 2, len(runs) - 1)) * error
    below, above = (float(np.nan_to_num(side).mean()) for side in (values - low, high - values))
    least, most = RANGES.get(metric, (0.0, 1.0))
    return TaskScore(
        mean,
        max(least, mean - math.hypot(seeds, below)),
        min(most, mean + math.hypot(seeds, above)),
    )


def check_numbers(predictions: Array) -> None:
    """Check that a model predicts numbers.

    Args:
        predictions: (N, labels), (N, K) or (N, 1) logits.

    Raises:
        DataError: a prediction is NaN or infinite; -inf is a choice that is not there.
    """
    bad = int((np.isnan(predictions) | (predictions == np.inf)).any(-1).sum())
    if bad:
        raise DataError(
            f"the predictions of {bad} of {len(predictions)} examples are NaN or infinite",
            hint="the training diverged: use an earlier checkpoint, or a lower learning rate",
        )


def _gold(spec: TaskSpec, labels: Array) -> Array:
    several = spec.problem == "multi_label_classification"
    return labels.astype(np.int64) if several else labels


def require_scikit_learn() -> None:
    """Check that scores can be computed.

    Raises:
        BackendMissing: scikit-learn or SciPy is not installed.
    """
    try:
        import scipy  # noqa: F401  # asks whether they are there
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise BackendMissing(
            f"scores need scikit-learn and SciPy: {error}", hint="pip install 'ogpt[eval]'"
        ) from error


def _metrics(spec: TaskSpec) -> dict[str, Metric]:
    require_scikit_learn()
    known: dict[str, Metric] = {
        "accuracy": Metric(_accuracy, bootstrap.accuracy),
        "f1": _f1_of(spec),
        "macro_f1": Metric(_macro_f1, bootstrap.macro_f1),
        "micro_f1": Metric(_micro_f1, bootstrap.micro_f1),
        "matthews": Metric(_matthews, bootstrap.matthews),
        "pearson": Metric(_pearson, bootstrap.pearson),
        "spearman": Metric(_spearman, bootstrap.spearman),
        "mse": Metric(_mse, bootstrap.mse),
    }
    unknown = [name for name in spec.metrics if name not in known]
    if unknown:
        raise ConfigError(
            f"the metric is {unknown[0]!r}; allowed: {', '.join(known)}",
            hint="correct the metrics of the task",
        )
    return {name: known[name] for name in spec.metrics}


def _accuracy(gold: Array, found: Array) -> float:
    same = gold == found
    return float((same.all(-1) if same.ndim > 1 else same).mean())


def _f1_of(spec: TaskSpec) -> Metric:
    positive = spec.labels.index(spec.positive) if spec.positive in spec.labels else 1

    def f1(gold: Array, found: Array) -> float:
        from sklearn.metrics import f1_score

        binary = (gold == positive, found == positive)
        return float(f1_score(*binary, zero_division=0.0))

    return Metric(f1, bootstrap.f1_of(positive))


def _macro_f1(gold: Array, found: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(gold, found, average="macro", zero_division=0.0))


def _micro_f1(gold: Array, found: Array) -> float:
    from sklearn.metrics import f1_score

    return float(f1_score(gold, found, average="micro", zero_division=0.0))


def _matthews(gold: Array, found: Array) -> float:
    from sklearn.metrics import matthews_corrcoef

    # scikit-learn returns 0, and warns of some such cases in words that are not the user's
    if not _vary({"gold labels": gold, "predictions": found}, "the Matthews correlation", 0):
        return 0.0
    return float(matthews_corrcoef(gold, found))


def _pearson(gold: Array, found: Array) -> float:
    from scipy.stats import pearsonr

    if not _vary({"gold scores": gold, "predictions": found}, "the Pearson correlation"):
        return math.nan
    # float64: in float32 SciPy warns of inputs that differ in their last digits
    return float(pearsonr(gold.astype(np.float64), found.astype(np.float64)).statistic)


def _spearman(gold: Array, found: Array) -> float:
    from scipy.stats import spearmanr

    if not _vary({"gold scores": gold, "predictions": found}, "the Spearman correlation"):
        return math.nan
    return float(spearmanr(gold, found).statistic)


def _mse(gold: Array, found: Array) -> float:
    return float(((gold - found) ** 2).mean())


def _vary(both: Mapping[str, Array], name: str, otherwise: float = math.nan) -> bool:
    """Whether a correlation is defined; if not, it gives the notice `score-undefined`."""
    for what, values in both.items():
        if len(values) < 2 or np.ptp(values) <= ROUNDING * np.abs(values).max():
            reason = f"all {what} are equal"
            tell("score-undefined", name=name, reason=reason, score=f"{otherwise:g}")
            return False
    return True
