"""Log-probabilities of continuations under a TensorFlow model in training, in batches."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ogpt.generation.protocol.likelihood import Scorer
from ogpt.tf.language_model import TFLanguageModel
from ogpt.training.joined_choices import JoinedBatch, scorer_in_batches
from ogpt.training.tf_step import TFTrainStep

_CHUNK = 256
"""States whose logits exist at the same time: 40 MiB in float32 for GPT-1's vocabulary."""


def tf_scorer(step: TFTrainStep) -> Scorer:
    """A scorer with the weights that a training step has at the time of each call.

    It computes as `TrainStep.evaluate` does: without dropout, in the dtype of training. A batch has
    at most the tokens of a micro-batch.

    Args:
        step: Trains a language model.
    """
    model = step.model
    assert isinstance(model, TFLanguageModel)

    def log_probs(batch: JoinedBatch) -> NDArray[np.float32]:
        out = model.transformer(
            batch.ids, attention_mask=batch.visible, position_ids=batch.positions
        )
        places = np.stack([batch.rows, batch.places], axis=-1)
        states = tf.gather_nd(out.last_hidden_state, places)  # (B, T, C) -> (N, C)
        found = []
        for start in range(0, len(batch.targets), _CHUNK):
            logits = tf.cast(model.logits(states[start : start + _CHUNK]), tf.float32)
            wanted = batch.targets[start : start + _CHUNK]
            found.append(
                -tf.nn.sparse_softmax_cross_entropy_with_logits(
                    labels=wanted, logits=logits
                ).numpy()
            )
        return np.concatenate(found)

    n_positions = model.config.n_positions
    budget = step.settings.micro_batch_size * n_positions
    return scorer_in_batches(log_probs, n_positions, budget)
