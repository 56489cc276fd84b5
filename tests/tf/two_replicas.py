"""Train the same model alone and on two replicas, and print how far apart they end, as JSON.

A process of its own: TensorFlow divides the CPU into devices only before its first use.
"""

import json
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ogpt import OpenAIGPTConfig, TFOpenAIGPTLMHeadModel

SIZES = {"vocab_size": 40, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}
NONE = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}


def numbers(model: Any) -> dict[str, Any]:
    return {name: one.array() for name, one in model.stored_variables().items()}


def trained(strategy: Any, start: dict[str, Any] | None) -> tuple[Any, dict[str, Any], Any]:
    """Weights before, losses and accuracies, and weights after two epochs."""
    with strategy.scope():
        model = TFOpenAIGPTLMHeadModel(OpenAIGPTConfig(**SIZES, **NONE))
        if start is not None:
            model.load_arrays(start)
        model.compile(keras.optimizers.SGD(0.5), metrics=["accuracy"], jit_compile=False)
    before = numbers(model)
    ids = np.random.default_rng(0).integers(0, 40, (16, 6))
    ids[:, 2:] = ids[:, 1:2]  # that some are right
    data = tf.data.Dataset.from_tensor_slices({"input_ids": ids, "labels": ids}).batch(8)
    history = model.fit(data, epochs=2, verbose=0, shuffle=False).history
    return before, history, numbers(model)


def main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
    start, history, one = trained(tf.distribute.get_strategy(), None)
    both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    _, its_history, other = trained(both, start)
    moved = max(float(np.abs(one[name].data - start[name].data).max()) for name in one)
    apart = max(float(np.abs(one[name].data - other[name].data).max()) for name in one)
    found = {"history": history, "its_history": its_history, "moved": moved, "apart": apart}
    sys.stdout.write("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
