"""Recipe `2018-code`: objective and optimizer equal a recorded run of the published code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.data.batch import IGNORED, Batch
from ogpt.tasks.task_spec import TaskSpec
from ogpt.training.schedule import warmup_linear_2018
from ogpt.training.task_objective import LM_LOSS, TASK_LOSS
from ogpt.training.torch_2018_objective import Torch2018Objective
from ogpt.training.torch_openai_adam import OpenAIAdam
from tests.golden import run_2018

TOLERANCE = 1e-5
OF_KEYS = 5e-5  # the gradient of a key's bias is zero in exact arithmetic
HEAD_BIAS = "multiple_choice_head.summary.bias"  # cancels in the softmax over choices, likewise
RATE, STEPS, WARMUP = 6.25e-3, 10, 0.002

CHOICES = TaskSpec(family="multiple-choice", recipe="2018-code")

Arrays = dict[str, Any]


@pytest.fixture(scope="module")
def golden() -> Arrays:
    return run_2018.read()


def objective_of(golden: Arrays, parity: str = "2018", **dropout: float) -> Torch2018Objective:
    model = run_2018.model_of(golden, "p", parity, **dropout)
    return Torch2018Objective(model, CHOICES)


def loss_of(objective: Torch2018Objective, batch: Batch) -> Tensor:
    """The mean loss of a batch, as TorchTrainStep adds it."""
    counts, sums = objective.counts(batch), objective.measure(batch).sums
    parts = [k * sums[name] / counts[name] for name, k in objective.coefficients.items()]
    return torch.stack(parts).sum()


def furthest(seen: Mapping[str, Tensor], wanted: Mapping[str, Tensor], of_keys: bool) -> float:
    """The largest difference of any array, of the key biases or of all other numbers."""
    found = 0.0
    for name, tensor in seen.items():
        apart = (tensor - wanted[name]).abs()
        if name.endswith("c_attn.bias"):
            third = len(apart) // 3
            keys, rest = apart[third : 2 * third], torch.cat([apart[:third], apart[2 * third :]])
            apart = keys if of_keys else rest
        elif of_keys:
            continue
        found = max(found, float(apart.max()))
    return found


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def test_logits_and_losses(golden: Arrays) -> None:
    objective, batch = objective_of(golden), run_2018.batch_of(golden)
    sums, logits = objective.measure(batch)
    assert objective.counts(batch) == {TASK_LOSS: 4, LM_LOSS: 8}
    assert logits is not None
    assert np.abs(logits.detach().numpy() - golden["clf_logits"]).max() < TOLERANCE
    assert abs(sums[TASK_LOSS].item() / 4 - golden["clf_losses"].mean()) < TOLERANCE
    assert abs(sums[LM_LOSS].item() / 8 - golden["lm_losses"].mean()) < TOLERANCE
    for row in range(4):  # one example alone: each loss, not only their means
        one = Batch(
            *(batch.ids[row : row + 1], batch.targets[row : row + 1]),  # type: ignore[index]
            labels=batch.labels[row : row + 1],  # type: ignore[index]
            places=batch.places[row : row + 1],  # type: ignore[index]
        )
        sums = objective.measure(one).sums
        assert abs(sums[TASK_LOSS].item() - golden["clf_losses"][row]) < TOLERANCE
        lm_losses = golden["lm_losses"][2 * row : 2 * row + 2]
        assert abs(sums[LM_LOSS].item() - lm_losses.sum()) < TOLERANCE
    assert abs(loss_of(objective, batch).item() - float(golden["loss"])) < TOLERANCE


def test_the_additive_mask_changes_nothing(golden: Arrays) -> None:
    batch = run_2018.batch_of(golden)
    losses = [loss_of(objective_of(golden, parity), batch).item() for parity in ("2018", "ogpt")]
    assert abs(losses[0] - losses[1]) < TOLERANCE


def gradients(objective: Torch2018Objective, batch: Batch) -> dict[str, Tensor]:
    loss_of(objective, batch).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in objective.model.named_parameters()}  # type: ignore[misc]


def test_gradients(golden: Arrays) -> None:
    seen = gradients(objective_of(golden), run_2018.batch_of(golden))
    wanted = weights_of(run_2018.model_of(golden, "g"))
    assert len(golden["names"]) == 27
    assert seen.keys() == wanted.keys()
    assert furthest(seen, wanted, of_keys=False) < TOLERANCE
    assert furthest(seen, wanted, of_keys=True) < OF_KEYS


class TokenMean(Torch2018Objective):
    """A fault: all tokens weigh the same."""

    def counts(self, batch: Batch) -> Mapping[str, int]:
        assert batch.targets is not None
        return {TASK_LOSS: len(batch), LM_LOSS: int((batch.targets != IGNORED).sum())}

    def _sequence_losses(self, states: Any, targets: Tensor) -> Tensor:
        logits = states.hidden @ states.table.T
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


class TokensOnly(Torch2018Objective):
    """A fault: the softmax runs over tokens, not over positions."""

    def _sequence_losses(self, states: Any, targets: Tensor) -> Tensor:
        return super()._sequence_losses(states._replace(table=states.table[:53]), targets)


@pytest.mark.parametrize(
    ("kind", "parity"),
    [
        (TokenMean, "2018"),
        (TokensOnly, "2018"),
        (Torch2018Objective, "transformers-4-tf"),  # the exact gelu
    ],
)
def test_the_tolerance_catches_a_fault_of_the_objective(
    golden: Arrays, kind: type[Torch2018Objective], parity: str
) -> None:
    model = run_2018.model_of(golden, "p", parity)
    objective = kind(model, CHOICES)
    batch = run_2018.batch_of(golden)
    assert abs(loss_of(objective, batch).item() - float(golden["loss"])) > 2 * TOLERANCE
    wanted = weights_of(run_2018.model_of(golden, "g"))
    assert furthest(gradients(objective, batch), wanted, of_keys=False) > 2 * TOLERANCE


class EpsilonInside(OpenAIAdam):
    """A fault: epsilon is added below the root."""

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        before = parameter.clone()
        super()._move(parameter, gradient, group | {"weight_decay": 0.0})
        state, (beta1, beta2), taken = self.state[parameter], group["betas"], 0
        taken = int(state["step"])
        rate = group["lr"] * math.sqrt(1 - beta2**taken) / (1 - beta1**taken)
        update = state["exp_avg"] / (state["exp_avg_sq"] + group["eps"]).sqrt()
        if parameter.ndim > 1:
            update = update + group["weight_decay"] * before
        parameter.copy_(before - rate * update)


class DecayOutside(OpenAIAdam):
    """A fault: the decay follows the learning rate, not the schedule and the bias correction."""

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        decay = RATE * group["weight_decay"] if parameter.ndim > 1 else 0.0
        old = parameter.clone()
        super()._move(parameter, gradient, group | {"weight_decay": 0.0})
        parameter.sub_(old, alpha=decay)


class DecayOfVectors(OpenAIAdam):
    """A fault: biases and gains decay too."""

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        old = parameter.clone()
        super()._move(parameter, gradient, group)
        if parameter.ndim == 1:
            parameter.sub_(old, alpha=group["lr"] * group["weight_decay"])


def adamw(parameters: Any, **settings: float) -> torch.optim.Optimizer:
    """A fault: epsilon beside the corrected moment, decay without the bias correction."""
    return torch.optim.AdamW(parameters, **settings)  # type: ignore[arg-type]


def after_two_steps(golden: Arrays, make: Any, clip: float = 1.0) -> list[dict[str, Tensor]]:
    """The weights after one step and after two.

    In float64: Adam turns a gradient that is rounding noise into steps of up to its rate, and the
    noise of float32 differs between machines. So what is compared is the noise of the golden run.
    """
    objective, batch = objective_of(golden), run_2018.batch_of(golden)
    objective.model.double()
    optimizer = make(objective.model.parameters(), weight_decay=0.01)
    found = []
    for step in range(2):
        optimizer.zero_grad()
        loss_of(objective, batch).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(objective.model.parameters(), clip)
        for group in optimizer.param_groups:
            group["lr"] = RATE * warmup_linear_2018(step, WARMUP, STEPS)
        optimizer.step()
        found.append({name: p.clone() for name, p in weights_of(objective.model).items()})
    return found


def test_a_step_from_the_recorded_gradients(golden: Arrays) -> None:
    model = run_2018.model_of(golden, "p")
    recorded = weights_of(run_2018.model_of(golden, "g"))
    for name, parameter in model.named_parameters():
        parameter.grad = recorded[name].clone()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    rate = RATE * warmup_linear_2018(0, WARMUP, STEPS)
    OpenAIAdam(model.parameters(), lr=rate, weight_decay=0.01).step()
    wanted = weights_of(run_2018.model_of(golden, "after1_"))
    for name, seen in weights_of(model).items():  # key biases and the head's bias too
        assert (seen - wanted[name]).abs().max() < TOLERANCE, name


def test_two_optimizer_steps(golden: Arrays) -> None:
    for step, seen in enumerate(after_two_steps(golden, OpenAIAdam), start=1):
        wanted = weights_of(run_2018.model_of(golden, f"after{step}_"))
        # Adam makes steps of up to the learning rate of a gradient that is rounding noise
        assert (seen.pop(HEAD_BIAS) - wanted[HEAD_BIAS]).abs() < 0.1 * RATE
        assert furthest(seen, wanted, of_keys=False) < TOLERANCE, step
        assert furthest(seen, wanted, of_keys=True) < OF_KEYS, step


@pytest.mark.parametrize(
    ("make", "clip"),
    [
        (EpsilonInside, 1.0),
        (DecayOutside, 1.0),
        (DecayOfVectors, 1.0),
        (adamw, 1.0),
        (OpenAIAdam, 0.5),
        (OpenAIAdam, math.inf),
    ],
)
def test_the_tolerance_catches_a_fault_of_the_optimizer(
    golden: Arrays, make: Any, clip: float
) -> None:
    _, seen = after_two_steps(golden, make, clip)
    del seen[HEAD_BIAS]
    wanted = weights_of(run_2018.model_of(golden, "after2_"))
    assert furthest(seen, wanted, of_keys=False) > 2 * TOLERANCE
