"""Several devices: what Keras must know of a batch before the replicas of a model take it."""

from __future__ import annotations

from typing import Any

import keras

from ogpt.tf.base import TFModel


class TFReplicatedModel(TFModel):
    """A model whose metrics Keras can build inside a tf.distribute strategy."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Let Keras build metrics from the first replica's batch.

        It would take the mean over replicas (Keras 3.15), but the mean of ids is of floats.
        """
        strategy = self._distribute_strategy
        if strategy is not None and iterator is not None:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(
                lambda one: strategy.experimental_local_results(one)[0], next(batches)
            )
        super()._maybe_symbolic_build(data_batch=data_batch)
