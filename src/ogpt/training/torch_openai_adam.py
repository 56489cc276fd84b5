"""Adam as the 2018 code writes it (opt.py, adam())."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ogpt.config.pretrain_settings import TrainingSettings


class OpenAIAdam(torch.optim.Optimizer):
    """Adam with the 2018 code's epsilon and weight decay.

    It differs from torch's AdamW in two places. Bias correction scales the step, and epsilon is
    added to the root of the uncorrected second moment: early steps are smaller where gradients are
    near epsilon. Weight decay, on tensors of rank 2 or more, is inside that scaled step, so it
    follows the bias correction too.

    The state of a parameter has the names of torch.optim: step, exp_avg, exp_avg_sq.

    Args:
        parameters: To train; those without a gradient are left as they are.
        lr: Learning rate, the schedule's factor included.
        betas: Decay of the first and the second moment.
        eps: Added to the root of the second moment.
        weight_decay: Factor of the decay.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 6.25e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(list(parameters), settings)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss is returned
        """Move all parameters once.

        Args:
            closure: Not used; torch's signature.
        """
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, parameter.grad, group)

    def _move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        taken = int(state["step"])
        beta1, beta2 = group["betas"]
        mean = state["exp_avg"].lerp_(gradient, 1 - beta1)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        rate = group["lr"] * math.sqrt(1 - beta2**taken) / (1 - beta1**taken)
        update = mean / square.sqrt().add_(group["eps"])
        if parameter.ndim > 1 and group["weight_decay"]:
            update.add_(parameter, alpha=group["weight_decay"])
        parameter.sub_(update, alpha=rate)


def make_openai_adam(model: nn.Module, settings: TrainingSettings) -> OpenAIAdam:
    """The 2018 code's Adam with the settings of a run."""
    return OpenAIAdam(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        weight_decay=settings.weight_decay,
    )
