"""Fine-tuning in TensorFlow: a classifier on the extract token, and the language loss beside it.

The sibling of `ogpt.training.torch_task_objective` (paper, sections 3.2 and 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ogpt.data.batch import IGNORED, Batch
from ogpt.tasks.example import Problem
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tf.chunked_loss import summed_cross_entropy
from ogpt.tf.classification import TFOpenAIGPTForSequenceClassification
from ogpt.tf.double_heads import TFOpenAIGPTDoubleHeadsModel
from ogpt.tf.dropout import dropout
from ogpt.tf.tensors import Tensor
from ogpt.training.task_objective import LM_COEF, LM_LOSS, TASK_LOSS, TaskObjective
from ogpt.training.tf_objective import Arrays, TFMeasures

TFTaskModel = TFOpenAIGPTForSequenceClassification | TFOpenAIGPTDoubleHeadsModel

COMPILED_MULTIPLE = 64
"""Lengths are filled up to a multiple of it for XLA, which compiles for each length."""

_HEAD_SITE = -1  # number of the dropout before the head; the transformer's start at 0


class TFTaskObjective(TaskObjective):
    """L2 + lm_coef * L1 (paper, equation 5) of a model with a head for the task.

    Args:
        model: A double-heads model for multiple choice, else a classifier.
        spec: The task.
        lm_coef: Weight of the language loss.
        dropout: On the states that the head reads (paper: 0.1).
        class_weights: (labels,), the weight of each class in the loss; None: all alike.
        multiple: Sequences are filled up to a multiple of this length.
    """

    def __init__(
        self,
        model: TFTaskModel,
        spec: TaskSpec,
        lm_coef: float = LM_COEF,
        dropout: float = 0.1,
        class_weights: Sequence[float] | None = None,
        *,
        multiple: int = 1,
    ) -> None:
        super().__init__(spec.family, spec.problem, lm_coef)
        self.model = model
        self.dropout = dropout
        self.class_weights = class_weights
        self.multiple = multiple

    def arrays(self, batch: Batch) -> Arrays:
        """Sequences (B, K, T), labels, extract tokens and which choices there are."""
        assert batch.labels is not None  # counts() has refused such a batch
        assert batch.places is not None
        assert batch.targets is not None
        T = batch.ids.shape[-1]
        most = self.model.config.n_positions
        fill = min(-(-T // self.multiple) * self.multiple, max(T, most)) - T
        wider = ((0, 0), (0, 0), (0, fill))
        made: dict[str, NDArray[Any]] = {
            "ids": np.pad(batch.ids, wider).astype(np.int32),
            "targets": np.pad(batch.targets, wider, constant_values=IGNORED).astype(np.int32),
            "places": batch.places.reshape(batch.ids.shape[:2]).astype(np.int32),
            "labels": batch.labels,
        }
        if self.family == "multiple-choice" and batch.attention_mask is not None:
            made["absent"] = ~batch.attention_mask[:, :, 0]
        return made

    def measure(self, arrays: Mapping[str, Tensor], seed: Tensor | None) -> TFMeasures:
        """Sum the losses of the examples and of the tokens; see TFObjective."""
        hidden = self._hidden(arrays["ids"], seed)
        logits = self._logits(hidden, arrays, seed)
        sums = {TASK_LOSS: task_loss(logits, arrays["labels"], self.problem, self.class_weights)}
        if self.lm_coef:
            sums[LM_LOSS] = summed_cross_entropy(
                tf.reshape(hidden, (-1, hidden.shape[-1])),
                tf.convert_to_tensor(self.model.transformer.tokens_embed.embeddings),
                tf.reshape(arrays["targets"], (-1,)),
                needs_grad=seed is not None,
            )
        return TFMeasures(sums, logits)

    def predict(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Compute the logits alone; see TFObjective."""
        return self._logits(self._hidden(arrays["ids"], None), arrays, None)

    def _hidden(self, ids: Tensor, seed: Tensor | None) -> Tensor:
        """Last hidden states, (B * K, T, C), for ids (B, K, T)."""
        # There is no attention mask: padding comes after the extract token, where neither the
        # classifier nor a counted target sees it.
        rows = tf.reshape(ids, (-1, tf.shape(ids)[-1]))
        out = self.model.transformer(rows, training=seed is not None, seed=seed)
        return out.last_hidden_state

    def _logits(self, hidden: Tensor, arrays: Mapping[str, Tensor], seed: Tensor | None) -> Tensor:
        """Logits of a batch (B, labels) or (B, K), float32; hidden (B * K, T, C)."""
        places = arrays["places"]
        states = tf.gather(hidden, tf.reshape(places, (-1,)), batch_dims=1)  # (B * K, C)
        states = dropout(states, self.dropout, seed, _HEAD_SITE)
        # Both orders of a similarity are added (paper, section 3.3): for a linear head, the sum of
        # the logits is the head on the sum of the states.
        scores = tf.cast(self.head(states), tf.float32)  # (B * K, C) -> (B * K, labels or 1)
        if self.family != "multiple-choice":
            shape = (*tf.unstack(tf.shape(places)), scores.shape[-1])
            return tf.reduce_sum(tf.reshape(scores, shape), axis=1)
        scores = tf.reshape(scores, tf.shape(places))
        if "absent" not in arrays:
            return scores
        return tf.where(arrays["absent"], -float("inf"), scores)

    @property
    def head(self) -> Any:
        """The classifier, a Dense layer."""
        if isinstance(self.model, TFOpenAIGPTForSequenceClassification):
            return self.model.score
        return self.model.multiple_choice_head.summary


def task_loss(
    logits: Tensor, labels: Tensor, problem: Problem, class_weights: Sequence[float] | None = None
) -> Tensor:
    """Sum over the examples of the loss for a problem, ().

    Args:
        logits: (B, labels), (B, K) or (B, 1), float32.
        labels: (B,) classes, choices or scores, or (B, labels) of 0 and 1.
        problem: What is predicted. Several labels count as one example: the mean over the labels.
        class_weights: (labels,), the weight of each class; None: all alike.
    """
    if problem == "regression":
        return tf.reduce_sum(tf.square(logits[:, 0] - tf.cast(labels, logits.dtype)))
    if problem == "multi_label_classification":
        wanted = tf.cast(labels, logits.dtype)
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted, logits=logits)
        return tf.reduce_sum(tf.reduce_mean(losses, axis=-1))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
    if class_weights is not None:
        losses = losses * tf.gather(tf.constant(class_weights, tf.float32), labels)
    return tf.reduce_sum(losses)
