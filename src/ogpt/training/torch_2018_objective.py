"""The objective of fine-tuning as in the 2018 code (train.py, model() and mgpu_train())."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import ConfigError
from ogpt.model.chunked_loss import summed_cross_entropy
from ogpt.model.openai_2018 import States2018, states_2018
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.tasks.task_spec import TaskSpec
from ogpt.training.task_objective import LM_COEF, LM_LOSS
from ogpt.training.torch_objective import TorchMeasures, on_device
from ogpt.training.torch_task_objective import TaskModel, TorchTaskObjective


class Torch2018Objective(TorchTaskObjective):
    """Task and language loss with the quirks of 2018; see docs/fidelity.md, "Fine-tuning".

    The language loss is the mean over sequences of each sequence's mean, so that a token of a short
    sequence weighs more; the paper's objective is a mean over tokens.

    Args:
        model: A double-heads model for multiple choice, else a classifier.
        spec: The task.
        lm_coef: Weight of the language loss; 0 leaves it out.
        dropout: On the states that the head reads.
        class_weights: (labels,), the weight of each class in the loss; None: all alike.
        n_ctx: Length of the longest sequence of all splits, which was the context length in 2018;
            None: the model's n_positions.

    Raises:
        ConfigError: the model is an LSTM.
    """

    def __init__(
        self,
        model: TaskModel,
        spec: TaskSpec,
        lm_coef: float = LM_COEF,
        dropout: float = 0.1,
        class_weights: Tensor | None = None,
        n_ctx: int | None = None,
    ) -> None:
        super().__init__(model, spec, lm_coef, dropout, class_weights)
        if not isinstance(model.transformer, OpenAIGPTModel):
            raise ConfigError(
                "recipe is 2018-code and the model is an LSTM; allowed for an LSTM: paper",
                hint="omit --recipe: the 2018 code has no LSTM",
            )
        self.transformer = model.transformer
        self.n_ctx = n_ctx or model.config.n_positions

    def counts(self, batch: Batch) -> Mapping[str, int]:
        """Count the examples, and the sequences that have a token to predict; see Objective."""
        found = dict(super().counts(batch))
        if self.lm_coef:
            assert batch.targets is not None  # super().counts() has refused such a batch
            found[LM_LOSS] = int((batch.targets != IGNORED).any(-1).sum())
        return found

    def measure(self, batch: Batch) -> TorchMeasures:
        """Sum both losses over examples and sequences; see TorchObjective."""
        states = self._states(batch)
        assert batch.targets is not None  # counts() has refused such a batch
        targets = on_device(batch.targets, self.model.device).flatten(0, 1)
        return self._measures(batch, states.hidden, lambda: self._sequence_losses(states, targets))

    def hidden(self, batch: Batch) -> Tensor:
        """Last hidden states, (B * K, T, C)."""
        return self._states(batch).hidden

    def _states(self, batch: Batch) -> States2018:
        ids = on_device(batch.ids, self.model.device).flatten(0, 1)  # (B, K, T) -> (B * K, T)
        return states_2018(self.transformer, ids, self.n_ctx)

    def _dropped(self, states: Tensor) -> Tensor:
        # one mask for all sequences of an example: choices are compared by the same channels
        return states * F.dropout(states.new_ones(len(states), 1, states.shape[-1]), self.dropout)

    def _sequence_losses(self, states: States2018, targets: Tensor) -> Tensor:
        """Sum over sequences of the mean loss of their tokens, in nats; targets (B * K, T)."""
        counted = targets != IGNORED
        weights = counted / counted.sum(-1, keepdim=True).clamp(min=1)
        with torch.autocast(targets.device.type, enabled=False):  # the loss casts by itself
            return summed_cross_entropy(
                states.hidden[counted],
                states.table,
                targets[counted],
                IGNORED,
                self.chunk_loss,
                weights[counted],
            )
