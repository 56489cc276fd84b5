"""A classifier on the transformer: one label, several labels, or a number for a sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from ogpt.config.call_errors import refused
from ogpt.config.model import OpenAIGPTConfig
from ogpt.tf.base import dense, stored_dense
from ogpt.tf.inputs import agree, input_shape, known, known_options
from ogpt.tf.keras_checks import whole
from ogpt.tf.losses import at_least_float32, check_classes, class_loss
from ogpt.tf.outputs import TFSequenceClassifierOutput
from ogpt.tf.pooling import kept_tokens, last_kept, states_at
from ogpt.tf.pretrained import TFOpenAIGPTPreTrainedModel
from ogpt.tf.tensors import Size, StoredVariable, Tensor
from ogpt.tf.transformer import TFOpenAIGPTMainLayer


@keras.saving.register_keras_serializable("ogpt")
class TFOpenAIGPTForSequenceClassification(TFOpenAIGPTPreTrainedModel):
    """The transformer with a linear layer on the hidden state of the last token.

    >>> import tensorflow as tf
    >>> from ogpt import OpenAIGPTConfig, TFOpenAIGPTForSequenceClassification
    >>> config = OpenAIGPTConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2, num_labels=3)
    >>> model = TFOpenAIGPTForSequenceClassification(config)
    >>> ids, mask = tf.constant([[4, 8, 15], [16, 23, 0]]), tf.constant([[1, 1, 1], [1, 1, 0]])
    >>> model(ids, attention_mask=mask, labels=tf.constant([2, 0])).logits.shape
    TensorShape([2, 3])
    """

    output_class = TFSequenceClassifierOutput

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(config, **options)
        policy = self.dtype_policy
        self.num_labels = config.num_labels
        self.transformer = TFOpenAIGPTMainLayer(config, name="transformer", dtype=policy)
        self.score = dense(
            config, config.num_labels, config.classifier_bias, name="score", dtype=policy
        )
        self.built = True

    def call(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Tensor | None = None,
        training: bool = False,
        **unknown: Any,
    ) -> TFSequenceClassifierOutput | tuple[Any, ...]:
        """Score each label.

        The causal mask lets only the last token see the whole sequence, so its hidden state is
        classified: the last token that attention_mask keeps; without such a mask, the last one that
        is not config.pad_token_id; without either, the last one.

        Args:
            input_ids: As in TFOpenAIGPTModel, like all others up to return_dict.
            attention_mask: (B, T), (B, T, T) or (B, n_head, T, T).
            token_type_ids: (B, T).
            position_ids: (B, T) or (T,).
            head_mask: (n_head,) or (n_layer, n_head).
            inputs_embeds: (B, T, C).
            output_attentions: Whether to return the probabilities.
            output_hidden_states: Whether to return the hidden states.
            return_dict: False returns a tuple.
            labels: (B,) classes; (B,) or (B, num_labels) numbers for regression; or
                (B, num_labels) of 0 and 1 for several labels at once. config.problem_type says
                which. If it is None, num_labels=1 means regression, integers mean classes, and
                other dtypes mean several labels.
            training: Whether to drop elements.
            **unknown: As in TFOpenAIGPTModel.

        Raises:
            ConfigError: labels of another shape, or a class that does not exist.
            UnknownArgument: an argument that no model has.
        """
        known_options(unknown, type(self).call, self.config.parity.arguments)
        shape = input_shape(input_ids, inputs_embeds, self.config.n_embd)
        given = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        asked = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
        }
        out = self.transformer(*given, training=training, **asked)
        hidden = ops.reshape(out.last_hidden_state, (shape.N, shape.T, self.config.n_embd))
        kept = kept_tokens(attention_mask, shape, self.config.n_head)
        pad = self.config.pad_token_id
        if kept is None and input_ids is not None and pad is not None:
            kept = ops.reshape(ops.not_equal(input_ids, pad), (shape.N, shape.T))
        # (N, T, C) -> (N, C) -> (N, num_labels)
        pooled = hidden[:, -1] if kept is None else states_at(hidden, last_kept(kept))
        logits = self.score(pooled)
        result = TFSequenceClassifierOutput(
            loss=None if labels is None else self._loss(logits, labels, shape.leading),
            logits=shape.restore(logits),
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )
        if return_dict is None:
            return_dict = self.config.use_return_dict
        return result if return_dict else result.to_tuple()

    def check_values(self, given: Mapping[str, NDArray[Any]]) -> None:
        """Check ids and classes; see TFTrainableModel.

        Args:
            given: Arguments of `call` by name.

        Raises:
            TokenOutOfRange: an id without an embedding.
            ConfigError: a class that does not exist.
        """
        super().check_values(given)
        labels = whole(given, "labels")
        if labels is None:
            return
        if (self.config.problem_type or self._problem(labels)) == "single_label_classification":
            check_classes(labels, self.config.num_labels, "labels")

    def stored_variables(self) -> dict[str, StoredVariable]:
        """The variables that a file stores, by the names of PyTorch's weights."""
        return super().stored_variables() | stored_dense("score", self.score)

    def _loss(self, logits: Tensor, labels: Tensor, leading: tuple[Size, ...]) -> Tensor:
        """The mean loss for config.problem_type, (); logits (N, num_labels)."""
        problem = self.config.problem_type or self._problem(labels)
        if problem == "single_label_classification":
            return class_loss(logits, labels, "labels", leading)
        found, (rows, count) = tuple(labels.shape), logits.shape
        shapes: list[tuple[Size, ...]] = [(rows, count), (*leading, count)]
        if count == 1:
            shapes += [leading, (rows,)]
        if not any(agree(found, allowed) for allowed in shapes):
            allowed = known((*leading, count))
            raise refused("label-shape", shape=found, allowed=allowed, problem=problem)
        scores = at_least_float32(logits)
        wanted = ops.cast(ops.reshape(labels, ops.shape(scores)), scores.dtype)
        if problem == "regression":
            return ops.mean(ops.square(scores - wanted))
        # -log p of each label, from logits so that no probability rounds to 0
        each = ops.relu(scores) - scores * wanted + ops.log1p(ops.exp(-ops.abs(scores)))
        return ops.mean(each)

    def _problem(self, labels: Tensor) -> str:
        """The problem_type that the labels imply; it is never written to the configuration."""
        if self.config.num_labels == 1:
            return "regression"
        whole = "int" in str(keras.backend.standardize_dtype(labels.dtype))
        return "single_label_classification" if whole else "multi_label_classification"
