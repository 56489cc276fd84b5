"""Objectives in TensorFlow: a model, and the sums of its measures on one batch.

The siblings of `ogpt.training.torch_objective`. A batch crosses into TensorFlow once, as arrays by
name, so that one graph serves all batches of a shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ogpt.data.batch import Batch, document_positions
from ogpt.tf.heads import TFOpenAIGPTLMHeadModel
from ogpt.tf.pretrained import TFOpenAIGPTPreTrainedModel
from ogpt.tf.tensors import Tensor
from ogpt.training.objective import LOSS, CausalLanguageModeling, Objective

Arrays = dict[str, NDArray[Any]]
"""A batch as arrays by name."""


class TFMeasures(NamedTuple):
    """What a model computes on one batch."""

    sums: Mapping[str, Tensor]
    """Sum of each measure, (), float32; over as many as `counts` says."""
    predictions: Tensor | None = None
    """(B, ...) per example, for scores that no sum gives, such as F1; None: none."""


class TFObjective(Objective, Protocol):
    """An objective and the model that learns it."""

    @property
    def model(self) -> TFOpenAIGPTPreTrainedModel:
        """The model, whose variables are trained and stay float32."""
        ...

    def arrays(self, batch: Batch) -> Arrays:
        """What `measure` needs of a batch."""
        ...

    def measure(self, arrays: Mapping[str, Tensor], seed: Tensor | None) -> TFMeasures:
        """Compute the measures that `counts` names.

        Args:
            arrays: Those of a batch.
            seed: Of dropout, (), int64; None evaluates, without dropout and gradients.
        """
        ...

    def predict(self, arrays: Mapping[str, Tensor]) -> Tensor | None:
        """Compute the predictions of TFMeasures alone."""
        ...


class TFLanguageModeling(CausalLanguageModeling):
    """Causal language modeling of a TFOpenAIGPTLMHeadModel.

    Args:
        model: The model to train.
    """

    def __init__(self, model: TFOpenAIGPTLMHeadModel) -> None:
        self.model = model

    def arrays(self, batch: Batch) -> Arrays:
        """Ids and targets, and for packed windows which document a token is of."""
        assert batch.targets is not None  # counts() has refused such a batch
        made = {"ids": batch.ids, "targets": batch.targets}
        if batch.documents is not None:
            # a packed document does not attend to its neighbours, and its positions start at 0, as
            # in ogpt.training.torch_objective
            made["documents"] = batch.documents
            made["positions"] = document_positions(batch.documents)
        return {name: array.astype(np.int32) for name, array in made.items()}

    def measure(self, arrays: Mapping[str, Tensor], seed: Tensor | None) -> TFMeasures:
        """Sum the loss over the targets, in nats; see TFObjective."""
        mask, documents = None, arrays.get("documents")
        if documents is not None:
            mask = documents[:, :, None] == documents[:, None, :]  # (B, T) -> (B, T, T)
        loss = self.model.token_loss(
            arrays["ids"], arrays["targets"], mask, arrays.get("positions"), seed
        )
        return TFMeasures({LOSS: loss})

    def predict(self, arrays: Mapping[str, Tensor]) -> None:
        """None; see TFObjective."""
