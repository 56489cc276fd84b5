"""What is learned: from a batch to named losses, in the part that no framework is needed for.

An objective names its measures and counts what each is a mean of: tokens, examples. A framework's
side (`ogpt.training.torch_objective`) computes the sums. Sums and counts are added over the
micro-batches of a step and divided once, so every token weighs the same however a batch was cut.
An average of the micro-batches' means would weigh the tokens of short ones more.

Other objectives fit the same shape, each as one file beside this one and one per framework: a
classifier, entailment, similarity or multiple choice names "task_loss" and "accuracy", counted in
examples, and "lm_loss", counted in tokens, with the coefficients {"task_loss": 1.0, "lm_loss":
0.5} of the paper's L2 + coef * L1 (section 3.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import DataError

LOSS = "loss"
"""Name of the measure that training minimizes."""


@dataclass(frozen=True, slots=True)
class Total:
    """A measure before division."""

    sum: float
    count: int
    """Number of tokens or examples that the sum is over."""

    @property
    def mean(self) -> float:
        """The sum over the count; 0 where nothing was counted, as a sum of nothing is 0."""
        return self.sum / max(1, self.count)


Totals = Mapping[str, Total]
"""Each measure of an objective by name."""


class Objective(Protocol):
    """What is learned, without a framework."""

    @property
    def coefficients(self) -> Mapping[str, float]:
        """The measures that are trained on, each with its coefficient in the loss."""
        ...

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Name every measure and count what its sum over this batch is over, on the host.

        Raises:
            DataError: the batch lacks an array that the objective needs.
        """
        ...


class CausalLanguageModeling:
    """Predict each next token (paper, equation 1): one loss, in nats per token."""

    coefficients: Mapping[str, float] = MappingProxyType(
        {LOSS: 1.0}
    )  # a Mapping, not a dict to change

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Count the tokens that are predicted; see Objective."""
        if batch.targets is None:
            raise DataError(
                "the batch has no targets; language modeling needs the token after each position",
                hint="pass targets, the ids shifted by one",
            )
        return {LOSS: int((batch.targets != IGNORED).sum())}


def added_counts(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts of several batches together."""
    added: dict[str, int] = {}
    for one in counts:
        for name, count in one.items():
            added[name] = added.get(name, 0) + count
    return added


def added_totals(left: Totals, right: Totals) -> dict[str, Total]:
    """Totals of two sets of batches together."""
    zero = Total(0.0, 0)
    names = dict.fromkeys((*left, *right))  # in the order of the objective
    pairs = {name: (left.get(name, zero), right.get(name, zero)) for name in names}
    return {name: Total(a.sum + b.sum, a.count + b.count) for name, (a, b) in pairs.items()}


def means(totals: Totals, coefficients: Mapping[str, float]) -> dict[str, float]:
    """Each measure's mean, and first the loss that training minimizes.

    Args:
        totals: All measures of an objective.
        coefficients: The objective's.
    """
    loss = sum(factor * totals[name].mean for name, factor in coefficients.items())
    return {LOSS: loss} | {name: total.mean for name, total in totals.items() if name != LOSS}
