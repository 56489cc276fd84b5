"""One vector for a whole sequence: the hidden state of one position, or the mean of all."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from ogpt.config.call_errors import refused
from ogpt.config.model import OpenAIGPTConfig
from ogpt.tf.activations import SUMMARY_FNS
from ogpt.tf.base import built, dense, stored_dense
from ogpt.tf.dropout import draw_seed, dropout
from ogpt.tf.inputs import TFInputShape, agree, integers, known, mask_rows, outside, readable
from ogpt.tf.tensors import StoredVariable, Tensor

_FIRST_SITE, _LAST_SITE = -1, -2  # numbers of dropout layers; the transformer's start at 0


def kept_tokens(mask: Tensor | None, shape: TFInputShape, n_head: int) -> Tensor | None:
    """The tokens of the input that an attention mask keeps, (N, T) bool.

    None if there is no mask with one value for each token.

    Args:
        mask: The caller's mask.
        shape: Of the input.
        n_head: Of the whole model, pruned heads included.
    """
    if mask is None:
        return None
    kept = mask_rows(mask, shape, n_head)
    return kept if len(kept.shape) == 2 else None


def last_kept(kept: Tensor) -> Tensor:
    """The position of the last kept token, (N,), for kept (N, T); 0 if none is kept."""
    positions = ops.arange(ops.shape(kept)[1], dtype="int32")
    return ops.argmax(positions * ops.cast(kept, "int32"), axis=-1)


def first_kept(kept: Tensor) -> Tensor:
    """The position of the first kept token, (N,), for kept (N, T); 0 if none is kept."""
    return ops.argmax(ops.cast(kept, "int32"), axis=-1)


def states_at(hidden: Tensor, positions: Tensor) -> Tensor:
    """The hidden states (N, C) at one position of each row, for hidden (N, T, C)."""
    return ops.take_along_axis(hidden, ops.cast(positions, "int32")[:, None, None], axis=1)[:, 0]


def check_positions(positions: Tensor, shape: TFInputShape, name: str) -> Tensor:
    """One position for each row as (N,), checked.

    Raises:
        ConfigError: another shape, no integers, or a position outside the input (eager CPU
            tensors).
    """
    found = tuple(positions.shape)
    if not agree(found, shape.leading) and not agree(found, (shape.N,)):
        raise refused("position-shape", name=name, shape=found, allowed=known(shape.leading))
    flat = ops.reshape(integers(positions, name), (shape.N,))
    if readable(flat):
        check_places(flat.numpy(), shape.T, name)
    return flat


def check_places(positions: NDArray[Any], T: int, name: str) -> None:
    """Check that every position is below T.

    Args:
        positions: Integers in any shape.
        T: Number of tokens.
        name: Of the argument, for the error.

    Raises:
        ConfigError: a position outside the input.
    """
    if (value := outside(positions, T)) is not None:
        raise refused("no-position", name=name, value=value, last=T - 1)


@keras.saving.register_keras_serializable("ogpt")
class TFOpenAIGPTSequenceSummary(keras.layers.Layer):
    """Pool, dropout, project, activate, dropout, as set in `config.summary_*`.

    The default is the linear classifier on the hidden state of the last token (paper, section 3.3).
    """

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(**options)
        self.summary_type = config.summary_type
        self.first_dropout = config.summary_first_dropout
        self.last_dropout = config.summary_last_dropout
        self.activation = SUMMARY_FNS.get(config.summary_activation or "")
        self.seed_generator = keras.random.SeedGenerator()
        self.summary = None
        if config.summary_use_proj:
            out = 1 if config.summary_proj_to_labels else config.n_embd
            with keras.name_scope(self.name):
                self.summary = dense(config, out, True, name="summary", dtype=self.dtype_policy)
        width = 1 if config.summary_use_proj and config.summary_proj_to_labels else config.n_embd
        built(self, width)

    def call(
        self,
        hidden: Tensor,
        kept: Tensor | None = None,
        cls_index: Tensor | None = None,
        training: bool = False,
    ) -> Tensor:
        """(N, T, C) -> (N, 1), or (N, C) without a projection to labels.

        Args:
            hidden: (N, T, C).
            kept: (N, T) bool, False for padding; None: there is no padding.
            cls_index: (N,), the position for the type cls_index; None: the last kept one.
            training: Whether to drop elements.
        """
        if kept is None:
            kept = ops.ones(ops.shape(hidden)[:2], dtype="bool")
        if self.summary_type == "mean":
            weights = ops.cast(kept, hidden.dtype)[..., None]
            count = ops.maximum(ops.sum(weights, axis=1), 1)
            pooled = ops.sum(hidden * weights, axis=1) / count
        elif self.summary_type == "first":
            pooled = states_at(hidden, first_kept(kept))
        elif self.summary_type == "last" or cls_index is None:
            pooled = states_at(hidden, last_kept(kept))
        else:
            pooled = states_at(hidden, cls_index)
        seed = draw_seed(self.seed_generator) if training else None
        out = dropout(pooled, self.first_dropout, seed, _FIRST_SITE)
        if self.summary is not None:
            out = self.summary(out)
        if self.activation is not None:
            out = self.activation(out)
        return dropout(out, self.last_dropout, seed, _LAST_SITE)

    def stored_variables(self) -> dict[str, StoredVariable]:
        """The variables by the names of PyTorch's weights."""
        return {} if self.summary is None else stored_dense("summary", self.summary)
