"""One optimizer step in TensorFlow: micro-batches, count-weighted losses, clipping, AdamW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import Batch
from ogpt.tf.tensors import StoredVariable, Tensor
from ogpt.training.cost import flops_per_token, training_memory_bytes
from ogpt.training.objective import Total, added_counts, means
from ogpt.training.optimizer_state import open_optimizer, stored_weight, write_optimizer
from ogpt.training.step import BatchResult, StepResult, dropout_seed
from ogpt.training.tf_adam import TFAdamW
from ogpt.training.tf_objective import TFMeasures, TFObjective
from ogpt.training.tf_precision import best_matrix_product, device_name, used_threads
from ogpt.weights.model_weights import open_weights

_CLIP_EPSILON = 1e-6
"""Added to the norm that clipping divides by, as torch does."""


class TFTrainStep:
    """A TrainStep on a TensorFlow model, whose weights stay float32.

    Args:
        objective: What is learned, and the model that learns it. Variables that are not trainable
            are frozen. The model's dtype policy is the precision.
        settings: Optimizer, seed and threads.
        compiled: Whether XLA compiles the step.
        shape: Of a micro-batch: its sequences, and the tokens of the longest. None: as many as the
            settings and the model allow.
        flops_for_token: Operations of training on one token; None: of language modeling.
    """

    def __init__(
        self,
        objective: TFObjective,
        settings: TrainingSettings,
        compiled: bool,
        *,
        shape: tuple[int, int] | None = None,
        flops_for_token: float | None = None,
    ) -> None:
        self.objective = objective
        self.settings = settings
        self.model = objective.model
        self.stored: dict[str, StoredVariable] = self.model.stored_variables()
        trained = {name: one for name, one in self.stored.items() if one.variable.trainable}
        self.optimizer = TFAdamW(trained, settings, compiled)
        dtype = str(self.model.compute_dtype)
        config = self.model.config
        rows, length = shape or (settings.micro_batch_size, config.n_positions)
        self.flops_per_token = flops_for_token or flops_per_token(config, length)
        self.memory_bytes = training_memory_bytes(config, rows, length, dtype != "float32")
        self.description: dict[str, str | int] = {
            "framework": f"tensorflow {tf.__version__}",
            "device": device_name(),
            "dtype": dtype,
            "compile": "XLA" if compiled else "off",
            "threads": used_threads(),
        }
        # autograph rewrites Python's control flow, of which the network has none on tensors
        graph = {"autograph": False, "reduce_retracing": True}
        self._gradients = tf.function(self._measured, jit_compile=compiled, **graph)
        # not compiled: the last validation batch has another shape, and each shape takes a compile
        self._evaluation = tf.function(self._evaluated, **graph)
        self._predictions = tf.function(objective.predict, **graph)

    @cached_property
    def peak_flops_per_s(self) -> float:
        """Speed of the best matrix multiplication in the training dtype; see TrainStep."""
        return best_matrix_product(str(self.description["dtype"]))

    def train(self, batches: Sequence[Batch], step: int, learning_rate: float) -> StepResult:
        """Take one optimizer step; see TrainStep."""
        # Counted before the first gradient: each micro-batch is divided by the counts of all, so
        # the gradient is that of the whole batch, however it is cut.
        counts = added_counts(map(self.objective.counts, batches))
        factors = {
            name: tf.constant(factor / max(1, counts[name]), tf.float32)
            for name, factor in self.objective.coefficients.items()
        }
        sums = dict.fromkeys(counts, tf.zeros((), tf.float64))
        gradients: list[Tensor] = []
        for part, batch in enumerate(batches):
            seed = tf.constant(_pass_seed(dropout_seed(self.settings.seed, step, part)), tf.int64)
            arrays = self.objective.arrays(batch)
            measured, new = self._gradients(_tensors(arrays), factors, seed)
            gradients = [a + b for a, b in zip(gradients, new, strict=True)] if part else new
            sums = {
                name: sums[name] + tf.cast(total, tf.float64) for name, total in measured.items()
            }
        norm = float(tf.linalg.global_norm(gradients))
        totals = {name: Total(float(total), counts[name]) for name, total in sums.items()}
        result = StepResult(means(totals, self.objective.coefficients), norm, counts)
        if result.finite:
            most = self.settings.clip_norm
            scale = min(1.0, most / (norm + _CLIP_EPSILON)) if most else 1.0
            self.optimizer.apply(gradients, scale, learning_rate)
        return result

    def evaluate(self, batch: Batch) -> BatchResult:
        """Compute the measures of one batch, without dropout; see TrainStep."""
        counts = self.objective.counts(batch)
        measured: TFMeasures = self._evaluation(_tensors(self.objective.arrays(batch)))
        return BatchResult(
            {name: Total(float(total), counts[name]) for name, total in measured.sums.items()},
            _as_array(measured.predictions),
        )

    def predict(self, batch: Batch) -> NDArray[Any] | None:
        """Compute the predictions of one batch alone, without dropout; see TrainStep."""
        return _as_array(self._predictions(_tensors(self.objective.arrays(batch))))

    def save(self, folder: Path) -> None:
        """Write model folder and optimizer; see TrainStep."""
        self.model.save_pretrained(folder)
        write_optimizer(folder, self.optimizer.state())

    def load(self, folder: Path) -> None:
        """Restore weights and moments; see TrainStep."""
        weights, state = open_weights(folder), open_optimizer(folder)
        for name, stored in self.stored.items():
            stored.assign(stored_weight(weights, name))
        self.optimizer.restore(state)

    def _measured(
        self, arrays: Mapping[str, Tensor], factors: Mapping[str, Tensor], seed: Tensor
    ) -> tuple[Mapping[str, Tensor], list[Tensor]]:
        """The sums of a micro-batch, and what it adds to the gradient of the step."""
        trained = [one.variable.value for one in self.optimizer.trained.values()]
        with tf.GradientTape() as tape:
            sums = self.objective.measure(arrays, seed).sums
            loss = tf.add_n([factor * sums[name] for name, factor in factors.items()])
        gradients = tape.gradient(loss, trained, unconnected_gradients="zero")
        # the gradient of a gathered embedding is a sparse one
        return sums, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def _evaluated(self, arrays: Mapping[str, Tensor]) -> TFMeasures:
        return self.objective.measure(arrays, None)


def _as_array(predictions: Tensor | None) -> NDArray[Any] | None:
    return None if predictions is None else predictions.numpy()


def _tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    return {name: tf.constant(array) for name, array in arrays.items()}


def _pass_seed(seed: int) -> int:
    """The seed of a forward pass that PyTorch draws after torch.manual_seed(seed).

    Both frameworks then drop the same elements in a step, also in a run that moves between them.
    torch's generator is MT19937, seeded with the lowest 32 bits. torch makes 64 bits of two of its
    outputs, of which the range keeps the lowest 31: those of the second one.
    """
    outputs = np.random.RandomState(seed % 2**32).randint(0, 2**32, 2, np.uint32)
    return int(outputs[1]) % 2**31
