"""Fine-tuning's objective in TensorFlow: PyTorch's losses, logits and steps, for all families."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ogpt.data.batch import Batch
from ogpt.tasks.task_spec import TaskSpec
from ogpt.training.tf_step import TFTrainStep
from ogpt.training.tf_task_objective import TFTaskObjective
from ogpt.training.torch_step import TorchTrainStep
from ogpt.training.torch_task_objective import TorchTaskObjective
from tests.tf.steps import SETTINGS
from tests.tf.twins import gap, twin
from tests.training.task_batches import SPECS, batch_for, model_for

pytestmark = pytest.mark.slow

SEVERAL = TaskSpec(
    family="classification", labels=("a", "b", "c"), problem="multi_label_classification"
)
CASES: dict[str, tuple[TaskSpec, dict[str, object]]] = {
    "weights": (SPECS["classification"], {"class_weights": [0.5, 1.0, 2.0]}),
    "several labels": (SEVERAL, {}),
    "similarity": (SPECS["similarity"], {}),
    "multiple-choice": (SPECS["multiple-choice"], {}),
    "without the language loss": (SPECS["entailment"], {"lm_coef": 0.0}),
}


def batch_of(spec: TaskSpec) -> Batch:
    made = batch_for(spec)
    if spec is SEVERAL:
        return replace(made, labels=np.eye(3, dtype=np.float32)[made.labels])
    return made


def both(case: str, **faults: object) -> tuple[TorchTrainStep, TFTrainStep, Batch]:
    spec, options = CASES[case]
    model = model_for(spec)
    for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
        setattr(model.config, name, 0.0)
    model = type(model)(model.config)
    weights = options.get("class_weights")
    mine = {**options, "dropout": 0.0}
    if weights is not None:
        mine["class_weights"] = torch.tensor(weights)
    step = TorchTrainStep(TorchTaskObjective(model, spec, **mine), SETTINGS, False)
    its = {**options, "dropout": 0.0, "multiple": 8, **faults}
    other = TFTrainStep(TFTaskObjective(twin(model), spec, **its), SETTINGS, False)
    return step, other, batch_of(spec)


def comparable(logits: np.ndarray, step: TorchTrainStep) -> np.ndarray:
    """Probabilities of choices: one bias for all of them has no gradient but rounding."""
    if step.objective.family != "multiple-choice":
        return logits
    shares = np.exp(logits)  # an absent choice: 0
    return shares / shares.sum(-1, keepdims=True)


def apart(step: TorchTrainStep, other: TFTrainStep, batch: Batch) -> float:
    """Largest difference of the losses and logits, before and after a few steps."""
    far = []
    for _ in range(2):
        expected, found = step.evaluate(batch), other.evaluate(batch)
        wanted = comparable(expected.predictions, step)
        far += [
            gap(comparable(found.predictions, step), wanted),
            gap(comparable(other.predict(batch), step), wanted),
        ]
        for name, total in expected.totals.items():
            assert found.totals[name].count == total.count
            far.append(gap(found.totals[name].sum, total.sum))
        for number in range(3):
            mine, its = other.train([batch], number, 3e-3), step.train([batch], number, 3e-3)
            far.append(gap(mine.loss, its.loss))
    return max(far)


@pytest.mark.parametrize("case", CASES)
def test_losses_logits_and_steps_are_pytorchs(case: str) -> None:
    assert apart(*both(case)) < 1e-4


@pytest.mark.parametrize(
    "fault", [{"lm_coef": 0.4}, {"dropout": 0.3}, {"class_weights": [0.5, 1.0, 1.5]}]
)
def test_planted_faults_show(fault: dict[str, object]) -> None:
    assert apart(*both("weights", **fault)) > 1e-3
