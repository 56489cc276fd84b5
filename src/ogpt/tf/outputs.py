"""Outputs of the models and of generate(): fields by attribute, key or index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import optree

from ogpt.config.model_output import ModelOutput
from ogpt.tf.tensors import Tensor

Output = TypeVar("Output", bound=type[ModelOutput])


def keras_output(kind: Output) -> Output:
    """Class decorator: Keras sees the fields of such an output, as in a functional model."""

    def fields(out: ModelOutput) -> tuple[Any, tuple[str, ...], Any]:
        return out.to_tuple(), tuple(out), tuple(out)

    def made(names: tuple[str, ...], values: Any) -> ModelOutput:
        return kind(**dict(zip(names, values, strict=True)))

    optree.register_pytree_node(kind, fields, made, namespace="keras")
    return kind


@keras_output
@dataclass
class TFBaseModelOutput(ModelOutput):
    """Output of TFOpenAIGPTModel. `...` are the axes of input_ids before T: B, or B, K for choices.

    >>> import tensorflow as tf
    >>> from ogpt import TFBaseModelOutput
    >>> out = TFBaseModelOutput(tf.zeros((1, 3, 8)))
    >>> out[0].shape, out.keys()
    (TensorShape([1, 3, 8]), dict_keys(['last_hidden_state']))
    """

    last_hidden_state: Tensor | None = None  # tf.function builds outputs without arguments
    """(..., T, C)."""
    hidden_states: tuple[Tensor, ...] | None = None
    """n_layer + 1 of (..., T, C): the embeddings, then each block."""
    attentions: tuple[Tensor, ...] | None = None
    """n_layer of (..., n_head, T, T)."""


@keras_output
@dataclass
class TFCausalLMOutput(ModelOutput):
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


@keras_output
@dataclass
class TFOpenAIGPTDoubleHeadsModelOutput(ModelOutput):
    """Output of TFOpenAIGPTDoubleHeadsModel.

    >>> import tensorflow as tf
    >>> from ogpt import TFOpenAIGPTDoubleHeadsModelOutput
    >>> out = TFOpenAIGPTDoubleHeadsModelOutput(mc_loss=tf.zeros(()), mc_logits=tf.zeros((1, 2)))
    >>> list(out), "loss" in out  # fields that are None do not count
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


@keras_output
@dataclass
class TFSequenceClassifierOutput(ModelOutput):
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


@dataclass
class TFGenerateDecoderOnlyOutput(ModelOutput):
    """Output of `generate(return_dict_in_generate=True)`: greedy, sampling and contrastive search.

    >>> import tensorflow as tf
    >>> from ogpt import TFGenerateDecoderOnlyOutput
    >>> TFGenerateDecoderOnlyOutput(tf.constant([[3, 1, 4]])).keys()
    dict_keys(['sequences'])
    """

    sequences: Tensor | None = None
    """(rows, longest): prompt and continuation, padded with pad_token_id."""
    scores: tuple[Tensor, ...] | None = None
    """For each new token (rows, V) after processors and warpers; -inf for excluded tokens."""
    logits: tuple[Tensor, ...] | None = None
    """For each new token (rows, V), as the model computed them."""


@dataclass
class TFGenerateBeamDecoderOnlyOutput(ModelOutput):
    """Output of `generate(return_dict_in_generate=True)` with beams.

    >>> import tensorflow as tf
    >>> from ogpt import TFGenerateBeamDecoderOnlyOutput
    >>> out = TFGenerateBeamDecoderOnlyOutput(tf.constant([[3, 1]]), tf.constant([-0.5]))
    >>> out.keys()
    dict_keys(['sequences', 'sequences_scores'])
    """

    sequences: Tensor | None = None
    """(rows, longest): prompt and continuation, padded with pad_token_id."""
    sequences_scores: Tensor | None = None
    """(rows,): sum of log-probabilities divided by length ** length_penalty."""
    scores: tuple[Tensor, ...] | None = None
    """For each new token (B * num_beams, V): log-probabilities after processors and warpers."""
    logits: tuple[Tensor, ...] | None = None
    """For each new token (B * num_beams, V), as the model computed them."""
    beam_indices: Tensor | None = None
    """(rows, longest continuation): the beam that each token extended; -1 after the end."""
