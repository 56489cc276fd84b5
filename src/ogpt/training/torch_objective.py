"""Objectives in PyTorch: a model, and the sums of its measures on one batch.

The framework-free half is `ogpt.training.objective`. An objective for a task is one class like
`TorchLanguageModeling`: its model has another head, `sums` computes {"task_loss", "lm_loss",
"accuracy"}, and predictions are the logits of the head.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.data.batch import Batch, document_positions
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel
from ogpt.training.objective import LOSS, CausalLanguageModeling, Objective


class TorchMeasures(NamedTuple):
    """What a model computes on one batch."""

    sums: Mapping[str, Tensor]
    """Sum of each measure, (), float32, on the model's device; over as many as `counts` says."""
    predictions: Tensor | None = None
    """(B, ...) per example, for scores that no sum gives, such as F1; None: none."""


class TorchObjective(Objective, Protocol):
    """An objective and the model that learns it."""

    @property
    def model(self) -> OpenAIGPTPreTrainedModel:
        """The model, whose parameters are trained and stay float32."""
        ...

    def compile(self) -> None:
        """Compile what a training step runs many times."""
        ...

    def measure(self, batch: Batch) -> TorchMeasures:
        """Compute the measures that `counts` names; their gradients reach the model's weights."""
        ...

    def predict(self, batch: Batch) -> Tensor | None:
        """Compute the predictions of TorchMeasures alone."""
        ...


class TorchLanguageModeling(CausalLanguageModeling):
    """Causal language modeling of an OpenAIGPTLMHeadModel.

    Args:
        model: The model to train.
    """

    def __init__(self, model: OpenAIGPTLMHeadModel) -> None:
        self.model = model

    def compile(self) -> None:
        """Compile one block and the loss; see OpenAIGPTLMHeadModel.compile_training."""
        self.model.compile_training()

    def measure(self, batch: Batch) -> TorchMeasures:
        """Sum the loss over the targets, in nats, without (B, T, V) logits; see TorchObjective."""
        device = self.model.device
        assert batch.targets is not None  # counts() has refused such a batch
        mask = positions = None
        if batch.documents is not None:
            # A packed document must not attend to its neighbours, and reads as if it were alone:
            # its positions start at 0 (Krell et al. 2021, "Efficient Sequence Packing", section 3)
            documents = on_device(batch.documents, device)
            mask = documents[:, :, None] == documents[:, None, :]  # (B, T) -> (B, T, T)
            positions = on_device(document_positions(batch.documents), device)
        ids, targets = on_device(batch.ids, device), on_device(batch.targets, device)
        return TorchMeasures({LOSS: self.model.token_loss(ids, targets, mask, positions)})

    def predict(self, batch: Batch) -> None:
        """None; see TorchObjective."""


def on_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on the device; on the CPU they share memory."""
    return torch.from_numpy(array).to(device)
