"""AdamW on the variables of a model, as torch.optim computes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import tensorflow as tf

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.tf.tensors import StoredVariable, Tensor
from ogpt.training.optimizer_state import MOMENTS, OptimizerState


class TFAdamW:
    """AdamW with decoupled weight decay (paper, section 4.1; Loshchilov and Hutter 2019).

    Not keras.optimizers.AdamW, which adds epsilon to the root of the second moment before its bias
    correction: in the first steps a run would differ from PyTorch's where gradients are small.

    Args:
        trained: The variables that are not frozen, by the names of their weights.
        settings: Rates of decay, epsilon.
        compiled: Whether XLA compiles the update.
    """

    def __init__(
        self, trained: Mapping[str, StoredVariable], settings: TrainingSettings, compiled: bool
    ) -> None:
        self.trained = trained
        self.settings = settings
        self.steps = 0
        self.moments: dict[str, StoredVariable] = {}
        for moment in MOMENTS:
            for name, stored in trained.items():
                zeros = tf.Variable(tf.zeros(stored.variable.shape), name=moment, trainable=False)
                self.moments[f"{moment}.{name}"] = StoredVariable(zeros, stored.transposed)
        self._update = tf.function(self._move, jit_compile=compiled, autograph=False)

    def apply(self, gradients: Sequence[Tensor], scale: float, learning_rate: float) -> None:
        """Move all variables once.

        Args:
            gradients: Of the variables in order.
            scale: Factor of the gradients, which clips them.
            learning_rate: The schedule's factor included.
        """
        self.steps += 1
        settings = self.settings
        numbers = (
            scale,
            learning_rate * settings.weight_decay,
            learning_rate / (1 - settings.adam_beta1**self.steps),
            math.sqrt(1 - settings.adam_beta2**self.steps),
        )
        self._update(gradients, tf.constant(numbers, tf.float32))

    def state(self) -> OptimizerState:
        """What the next step needs, as a file holds it."""
        return OptimizerState(self.steps, {n: one.array() for n, one in self.moments.items()})

    def restore(self, state: OptimizerState) -> None:
        """Replace the state by that of a checkpoint.

        Raises:
            CheckpointError: the checkpoint lacks a moment.
        """
        self.steps = state.steps
        for moment in MOMENTS:
            for name in self.trained:
                self.moments[f"{moment}.{name}"].assign(state.moment(moment, name))

    def _move(self, gradients: Sequence[Tensor], numbers: Tensor) -> None:
        scale, decay, rate, correction = tf.unstack(numbers)
        beta1, beta2 = self.settings.adam_beta1, self.settings.adam_beta2
        for (name, stored), raw in zip(self.trained.items(), gradients, strict=True):
            mean, square = (self.moments[f"{moment}.{name}"].variable for moment in MOMENTS)
            weight, gradient = stored.variable, raw * scale
            mean.assign(beta1 * mean + (1 - beta1) * gradient)
            square.assign(beta2 * square + (1 - beta2) * tf.square(gradient))
            update = rate * mean / (tf.sqrt(square) / correction + self.settings.adam_epsilon)
            # No decay on 1-D tensors: these are biases and LayerNorm gains, which the paper exempts
            # (section 4.1). Embeddings are 2-D, so they do decay.
            kept = 1 - decay if len(weight.shape) > 1 else 1.0
            weight.assign(weight * kept - update)
