"""Outputs of the models: fields by attribute, key or index."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Self

from ogpt.config.model_output import ModelOutput
from ogpt.tf.tensors import Tensor


class TFModelOutput(ModelOutput):
    """Base of the outputs. A tf.function returns them as they are."""

    def __tf_flatten__(self) -> tuple[tuple[()], tuple[Any, ...]]:
        """Metadata and components, by which TensorFlow takes the output apart."""
        return (), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]  # each subclass is a dataclass

    @classmethod
    def __tf_unflatten__(cls, metadata: tuple[()], components: tuple[Any, ...]) -> Self:
        """The output of these components."""
        return cls(*components)


@dataclass
class TFBaseModelOutput(TFModelOutput):
    """Output of TFOpenAIGPTModel. `...` are the axes of input_ids before T: B, or B, K for choices.

    >>> import tensorflow as tf
    >>> from ogpt import TFBaseModelOutput
    >>> out = TFBaseModelOutput(tf.zeros((1, 3, 8)))
    >>> out[0].shape, out.keys()
    (TensorShape([1, 3, 8]), ['last_hidden_state'])
    """

    last_hidden_state: Tensor
    """(..., T, C)."""
    hidden_states: tuple[Tensor, ...] | None = None
    """n_layer + 1 of (..., T, C): the embeddings, then each block."""
    attentions: tuple[Tensor, ...] | None = None
    """n_layer of (..., n_head, T, T)."""


@dataclass
class TFCausalLMOutput(TFModelOutput):
    """Output of TFOpenAIGPTLMHeadModel.

    >>> import tensorflow as tf
    >>> from ogpt import TFCausalLMOutput
    >>> out = TFCausalLMOutput(logits=tf.zeros((1, 3, 50)))
    >>> "loss" in out, out["logits"].shape  # no labels were passed
    (False, TensorShape([1, 3, 50]))
    """

    loss: Tensor | None = None
    """(), float32 or wider: mean over the labels that are not ignored."""
    logits: Tensor | None = None
    """(..., T, V)."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class TFOpenAIGPTDoubleHeadsModelOutput(TFModelOutput):
    """Output of TFOpenAIGPTDoubleHeadsModel.

    >>> import tensorflow as tf
    >>> from ogpt import TFOpenAIGPTDoubleHeadsModelOutput
    >>> out = TFOpenAIGPTDoubleHeadsModelOutput(mc_loss=tf.zeros(()), mc_logits=tf.zeros((1, 2)))
    >>> out.keys(), "loss" in out  # fields that are None do not count
    (['mc_loss', 'mc_logits'], False)
    """

    loss: Tensor | None = None
    """() of the language model: mean over the labels of all choices that are not ignored."""
    mc_loss: Tensor | None = None
    """() of the choices: mean over the batch."""
    logits: Tensor | None = None
    """(B, K, T, V)."""
    mc_logits: Tensor | None = None
    """(B, K): one score for each choice."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class TFSequenceClassifierOutput(TFModelOutput):
    """Output of TFOpenAIGPTForSequenceClassification.

    >>> import tensorflow as tf
    >>> from ogpt import TFSequenceClassifierOutput
    >>> out = TFSequenceClassifierOutput(loss=tf.zeros(()), logits=tf.zeros((1, 2)))
    >>> loss, logits = out.to_tuple()
    >>> logits.shape
    TensorShape([1, 2])
    """

    loss: Tensor | None = None
    """(): mean over the batch."""
    logits: Tensor | None = None
    """(..., num_labels)."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
