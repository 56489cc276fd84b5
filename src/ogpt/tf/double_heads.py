"""Two heads on one transformer: the language model, and a score for each choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from ogpt.config.call_errors import refused
from ogpt.config.model import OpenAIGPTConfig
from ogpt.tf.generate.entry import TFGenerativeLanguageModel
from ogpt.tf.inputs import TFInputShape, agree, input_shape, known, known_options
from ogpt.tf.keras_checks import axes_of, whole
from ogpt.tf.losses import check_classes, class_loss, next_token_loss
from ogpt.tf.outputs import TFOpenAIGPTDoubleHeadsModelOutput
from ogpt.tf.pooling import TFOpenAIGPTSequenceSummary, check_places, check_positions, kept_tokens
from ogpt.tf.tensors import StoredVariable, Tensor

LM_COEF = 0.5
"""Weight of the language-model loss in fit() (paper, equation 5)."""


@keras.saving.register_keras_serializable("ogpt")
class TFOpenAIGPTDoubleHeadsModel(TFGenerativeLanguageModel):
    """Language model and multiple choice (paper, section 3.3: one score for each answer).

    The multiple-choice head has one output whatever config.num_labels says: the softmax is over
    the choices.

    >>> import tensorflow as tf
    >>> from ogpt import OpenAIGPTConfig, TFOpenAIGPTDoubleHeadsModel
    >>> config = OpenAIGPTConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2)
    >>> model = TFOpenAIGPTDoubleHeadsModel(config)
    >>> ids = tf.constant([[[4, 8, 15], [4, 16, 23]]])  # one question, two choices
    >>> out = model(ids, labels=ids, mc_labels=tf.constant([1]))
    >>> out.logits.shape, out.mc_logits.shape
    (TensorShape([1, 2, 3, 50]), TensorShape([1, 2]))
    """

    output_class = TFOpenAIGPTDoubleHeadsModelOutput
    label_name = "mc_labels"
    score_name = "mc_logits"

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self.multiple_choice_head = TFOpenAIGPTSequenceSummary(
            config, name="multiple_choice_head", dtype=self.dtype_policy
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
        mc_token_ids: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        training: bool = False,
        **unknown: Any,
    ) -> TFOpenAIGPTDoubleHeadsModelOutput | tuple[Any, ...]:
        """Predict each next token, and score each choice.

        Args:
            input_ids: (B, K, T), a sequence for each choice; (B, T) returns one score for each row.
                The five arguments after it are as in TFOpenAIGPTModel, in the shape of input_ids.
            attention_mask: (B, K, T), or as in TFOpenAIGPTModel for the B * K rows.
            token_type_ids: (B, K, T).
            position_ids: (B, K, T) or (T,).
            head_mask: (n_head,) or (n_layer, n_head).
            inputs_embeds: (B, K, T, C).
            mc_token_ids: (B, K), the position whose hidden state is scored; by default the last
                token that attention_mask keeps.
            output_attentions: Whether to return the probabilities.
            output_hidden_states: Whether to return the hidden states.
            return_dict: False returns a tuple.
            labels: (B, K, T) token ids, such as input_ids; -100 is ignored.
            mc_labels: (B,), the right choice, 0 to K - 1.
            training: Whether to drop elements.
            **unknown: As in TFOpenAIGPTModel.

        Raises:
            ConfigError: a shape that does not fit, a position or choice that does not exist, or
                mc_labels when the summary does not return one score for each choice.
            TokenOutOfRange: a label outside the vocabulary (eager CPU tensors).
            UnknownArgument: an argument that no model has.
        """
        known_options(unknown, type(self).call, self.config.parity.arguments)
        given = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        asked = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
        }
        out = self.transformer(*given, training=training, **asked)
        shape = input_shape(input_ids, inputs_embeds, self.config.n_embd)
        hidden = out.last_hidden_state
        logits = self.logits(hidden)  # (..., T, C) -> (..., T, V)
        if mc_token_ids is not None:
            mc_token_ids = check_positions(mc_token_ids, shape, "mc_token_ids")
        scores = self.multiple_choice_head(
            ops.reshape(hidden, (shape.N, shape.T, self.config.n_embd)),
            kept=kept_tokens(attention_mask, shape, self.config.n_head),
            cls_index=mc_token_ids,
            training=training,
        )
        if scores.shape[-1] == 1:
            scores = scores[..., 0]
        mc_logits = shape.restore(scores)  # (N,) -> (B, K)
        loss = mc_loss = None
        if labels is not None:
            loss = next_token_loss(logits, shape, self.config.vocab_size, labels)
        if mc_labels is not None:
            mc_loss = _choice_loss(mc_logits, mc_labels, shape)
        result = TFOpenAIGPTDoubleHeadsModelOutput(
            loss=loss,
            mc_loss=mc_loss,
            logits=logits,
            mc_logits=mc_logits,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )
        if return_dict is None:
            return_dict = self.config.use_return_dict
        return result if return_dict else result.to_tuple()

    def check_values(self, given: Mapping[str, NDArray[Any]]) -> None:
        """Check ids, labels, positions and choices; see TFTrainableModel.

        Args:
            given: Arguments of `call` by name.

        Raises:
            TokenOutOfRange: an id without an embedding, or a label outside the vocabulary.
            ConfigError: a position or a choice that does not exist.
        """
        super().check_values(given)
        *choices, T = axes_of(given) or (0,)
        places, labels = whole(given, "mc_token_ids"), whole(given, "mc_labels")
        if places is not None and T:
            check_places(places, T, "mc_token_ids")
        if labels is not None and choices:
            check_classes(labels, choices[-1], "mc_labels")

    def combined_loss(self, out: Any) -> Tensor | None:
        """The loss of the choices plus LM_COEF times that of the tokens, or the one there is.

        Args:
            out: Output of the model.
        """
        if out.mc_loss is None or out.loss is None:
            return out.loss if out.mc_loss is None else out.mc_loss
        return out.mc_loss + LM_COEF * out.loss

    def stored_variables(self) -> dict[str, StoredVariable]:
        """The variables that a file stores, by the names of PyTorch's weights; tied ones once."""
        inside = self.multiple_choice_head.stored_variables()
        head = {f"multiple_choice_head.{name}": stored for name, stored in inside.items()}
        return super().stored_variables() | head


def _choice_loss(mc_logits: Tensor, mc_labels: Tensor, shape: TFInputShape) -> Tensor:
    """Mean of -log softmax over the choices, (); mc_logits (..., K)."""
    if not shape.leading:
        raise refused("no-choices", shape=known((shape.T,)))
    if not agree(tuple(mc_logits.shape), shape.leading):
        found = tuple(mc_logits.shape)
        raise refused("no-scores", shape=found, allowed=known(shape.leading))
    flat = ops.reshape(mc_logits, (-1, shape.leading[-1]))
    return class_loss(flat, mc_labels, "mc_labels", shape.leading[:-1])
