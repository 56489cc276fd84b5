"""Fine-tuning in PyTorch: a classifier on the extract token, and the language loss beside it.

Paper, sections 3.2 and 3.3. The four families differ in how the states of an example's sequences
become logits; everything else is shared.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.data.batch import IGNORED, Batch
from ogpt.model.chunked_loss import ChunkLoss, chunk_loss_and_grad, summed_cross_entropy
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.tasks.example import Problem
from ogpt.tasks.task_spec import TaskSpec
from ogpt.training.task_objective import LM_COEF, LM_LOSS, TASK_LOSS, TaskObjective
from ogpt.training.torch_objective import TorchMeasures, on_device

TaskModel = OpenAIGPTForSequenceClassification | OpenAIGPTDoubleHeadsModel


class TorchTaskObjective(TaskObjective):
    """L2 + lm_coef * L1 (paper, equation 5) of a model with a head for the task.

    Args:
        model: A double-heads model for multiple choice, else a classifier.
        spec: The task.
        lm_coef: Weight of the language loss.
        dropout: On the states that the head reads (paper: 0.1).
        class_weights: (labels,), the weight of each class in the loss; None: all alike.
    """

    def __init__(
        self,
        model: TaskModel,
        spec: TaskSpec,
        lm_coef: float = LM_COEF,
        dropout: float = 0.1,
        class_weights: Tensor | None = None,
    ) -> None:
        super().__init__(spec.family, spec.problem, lm_coef)
        self.model = model
        self.dropout = dropout
        self.class_weights = None if class_weights is None else class_weights.to(model.device)
        self.chunk_loss: ChunkLoss = chunk_loss_and_grad

    def compile(self) -> None:
        """Compile one block, and the loss of a chunk of logits.

        Lengths differ from batch to batch, so both are compiled for any length.
        """
        self.model.transformer.compile_blocks(dynamic=True)
        self.chunk_loss = torch.compile(chunk_loss_and_grad, dynamic=True)

    def measure(self, batch: Batch) -> TorchMeasures:
        """Sum the losses of the examples and of the tokens; see TorchObjective."""
        hidden = self.hidden(batch)
        return self._measures(batch, hidden, lambda: self._language_loss(hidden, batch))

    def predict(self, batch: Batch) -> Tensor:
        """Logits of a batch (B, labels) or (B, K), float32."""
        return self.logits(batch, self.hidden(batch))

    def _measures(
        self, batch: Batch, hidden: Tensor, language_loss: Callable[[], Tensor]
    ) -> TorchMeasures:
        """Both losses from the last hidden states, (B * K, T, C)."""
        assert batch.labels is not None  # counts() has refused such a batch
        logits = self.logits(batch, hidden)
        labels = on_device(batch.labels, logits.device)
        sums = {TASK_LOSS: task_loss(logits, labels, self.problem, self.class_weights)}
        if self.lm_coef:
            sums[LM_LOSS] = language_loss()
        return TorchMeasures(sums, logits.detach())

    def hidden(self, batch: Batch) -> Tensor:
        """Last hidden states, (B * K, T, C)."""
        ids = on_device(batch.ids, self.model.device).flatten(0, 1)  # (B, K, T) -> (B * K, T)
        # There is no attention mask: padding comes after the extract token, where neither the
        # classifier nor a counted target sees it.
        states: Tensor = self.model.transformer(ids, return_dict=True).last_hidden_state
        return states

    def logits(self, batch: Batch, hidden: Tensor) -> Tensor:
        """Logits of a batch (B, labels) or (B, K), float32; hidden (B * K, T, C)."""
        assert batch.places is not None  # counts() has refused such a batch
        B, K, _ = batch.ids.shape
        places = on_device(batch.places, hidden.device).view(B * K)
        states = hidden[torch.arange(B * K, device=hidden.device), places]  # (B * K, C)
        return self._logits(states.view(B, K, -1), batch)

    def _logits(self, states: Tensor, batch: Batch) -> Tensor:
        """States of the extract tokens (B, K, C) -> logits (B, labels) or (B, K), float32."""
        if self.model.training:
            states = self._dropped(states)
        # Both orders of a similarity are added (paper, section 3.3): for a linear head, the sum of
        # the logits is the head on the sum of the states.
        scores: Tensor = self.head(states).float()  # (B, K, C) -> (B, K, labels or 1)
        if self.family != "multiple-choice":
            return scores.sum(1)
        if batch.attention_mask is None:
            return scores[..., 0]
        absent = on_device(~batch.attention_mask[:, :, 0], states.device)
        return scores[..., 0].masked_fill(absent, -torch.inf)

    def _dropped(self, states: Tensor) -> Tensor:
        """The states (B, K, C) after dropout, in training."""
        return F.dropout(states, self.dropout)

    @property
    def head(self) -> nn.Linear:
        """The classifier."""
        if isinstance(self.model, OpenAIGPTForSequenceClassification):
            return self.model.score
        return self.model.multiple_choice_head.summary

    def _language_loss(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Sum over the targets, in nats; hidden (B * K, T, C)."""
        assert batch.targets is not None
        targets = torch.from_numpy(batch.targets).view(-1)
        # chosen on the host: a product with the whole vocabulary for padding would be wasted
        chosen = (targets != IGNORED).nonzero()[:, 0]
        with torch.autocast(hidden.device.type, enabled=False):  # the loss casts by itself
            return summed_cross_entropy(
                hidden.flatten(0, 1)[chosen.to(hidden.device)],
                self.model.transformer.tokens_embed.weight,
                targets[chosen].to(hidden.device),
                IGNORED,
                self.chunk_loss,
            )


def task_loss(
    logits: Tensor, labels: Tensor, problem: Problem, class_weights: Tensor | None = None
) -> Tensor:
    """Sum over the examples of the loss for a problem, ().

    Args:
        logits: (B, labels), (B, K) or (B, 1), float32.
        labels: (B,) classes, choices or scores, or (B, labels) of 0 and 1.
        problem: What is predicted. Several labels count as one example: the mean over the labels.
        class_weights: (labels,), the weight of each class; None: all alike.
    """
    if problem == "regression":
        return F.mse_loss(logits[:, 0], labels.float(), reduction="sum")
    if problem == "multi_label_classification":
        losses = F.binary_cross_entropy_with_logits(logits, labels.float(), reduction="none")
        return losses.mean(-1).sum()
    return F.cross_entropy(logits, labels, weight=class_weights, reduction="sum")
