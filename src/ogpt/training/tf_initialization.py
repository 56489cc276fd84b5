"""Initial weights of a model in TensorFlow."""

from __future__ import annotations

import numpy as np

from ogpt.tf.pretrained import TFOpenAIGPTPreTrainedModel
from ogpt.weights.arrays import Array


def initialize(model: TFOpenAIGPTPreTrainedModel, seed: int) -> None:
    """Draw the matrices of a model from N(0, initializer_range) by a seed of its own.

    Keras's initializers follow the seeds of the whole process, which belong to the caller.

    Args:
        model: New; its biases are 0 and its gains 1 already.
        seed: 0 to 2**64 - 1.
    """
    for number, stored in enumerate(model.stored_variables().values()):
        if len(stored.shape) > 1:
            drawn = np.random.default_rng((seed, number)).standard_normal(stored.shape, np.float32)
            stored.assign(Array("float32", drawn * np.float32(model.config.initializer_range)))
