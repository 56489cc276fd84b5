"""The objective of fine-tuning, without a framework: L3 = L2 + lm_coef * L1 (paper, equation 5)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import DataError
from ogpt.tasks.example import Family, Problem

TASK_LOSS = "task_loss"
LM_LOSS = "lm_loss"
LM_COEF = 0.5
"""Weight of the auxiliary language loss (paper, section 4.1)."""


class TaskObjective:
    """Predict the label of each example, and beside it each next token of its sequences.

    A batch holds ids (B, K, T): one sequence an example for classification and entailment, both
    orders for similarity, one a choice for multiple choice. A choice that an example does not have
    is all padding.

    Args:
        family: How examples become sequences.
        problem: What is predicted.
        lm_coef: Weight of the language loss; 0 leaves it out.
    """

    def __init__(self, family: Family, problem: Problem, lm_coef: float = LM_COEF) -> None:
        self.family = family
        self.problem = problem
        self.lm_coef = lm_coef
        weights = {TASK_LOSS: 1.0} | ({LM_LOSS: lm_coef} if lm_coef else {})
        self.coefficients: Mapping[str, float] = MappingProxyType(weights)

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Count the examples, and the tokens that are predicted; see Objective."""
        needed = {"labels": batch.labels, "places": batch.places, "targets": batch.targets}
        for name, array in needed.items():
            if array is None:
                raise DataError(
                    f"the batch has no {name}; fine-tuning needs labels, places and targets",
                    hint="make the batch with ogpt.tasks.batching",
                )
        assert batch.targets is not None
        found = {TASK_LOSS: len(batch)}
        if self.lm_coef:
            found[LM_LOSS] = int(np.count_nonzero(batch.targets != IGNORED))
        return found
