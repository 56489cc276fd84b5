"""The language model: the transformer, its tied head, and the loss of each next token."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from ogpt.config.model import OpenAIGPTConfig
from ogpt.tf.chunked_loss import summed_cross_entropy
from ogpt.tf.generate.entry import TFGenerativeLanguageModel
from ogpt.tf.inputs import input_shape, known_options
from ogpt.tf.losses import next_token_loss
from ogpt.tf.outputs import TFCausalLMOutput
from ogpt.tf.tensors import Tensor


@keras.saving.register_keras_serializable("ogpt")
class TFOpenAIGPTLMHeadModel(TFGenerativeLanguageModel):
    """The language model: logits of each next token, and a loss with `labels`.

    >>> import tensorflow as tf
    >>> from ogpt import OpenAIGPTConfig, TFOpenAIGPTLMHeadModel
    >>> config = OpenAIGPTConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2)
    >>> model = TFOpenAIGPTLMHeadModel(config)
    >>> ids = tf.constant([[4, 8, 15, 16]])
    >>> out = model(ids, labels=ids)
    >>> out.logits.shape, out.loss.shape
    (TensorShape([1, 4, 50]), TensorShape([]))
    """

    output_class = TFCausalLMOutput
    next_labels = True

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(config, **options)
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
    ) -> TFCausalLMOutput | tuple[Any, ...]:
        """Predict each next token.

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
            labels: (B, T) token ids, such as input_ids: the model shifts them, so that each token
                predicts the next one. -100 is ignored.
            training: Whether to drop elements.
            **unknown: As in TFOpenAIGPTModel.

        Raises:
            ConfigError: labels in another shape than the input.
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
        logits = self.logits(out.last_hidden_state)
        loss = None
        if labels is not None:
            shape = input_shape(input_ids, inputs_embeds, self.config.n_embd)
            loss = next_token_loss(logits, shape, self.config.vocab_size, labels)
        result = TFCausalLMOutput(
            loss=loss,
            logits=logits,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )
        if return_dict is None:
            return_dict = self.config.use_return_dict
        return result if return_dict else result.to_tuple()

    def token_loss(
        self,
        input_ids: Tensor,
        targets: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        seed: Tensor | None = None,
    ) -> Tensor:
        """Summed loss for training, (), float32, without storing the (B, T, V) logits.

        Args:
            input_ids: (B, T).
            targets: (B, T), the token after each one (not shifted again); -100 is ignored.
            attention_mask: As in call.
            position_ids: As in call.
            seed: Of dropout, (), int64; None evaluates, without dropout and gradients.
        """
        out = self.transformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            training=seed is not None,
            seed=seed,
        )
        table = self.transformer.tokens_embed.embeddings
        if self.lm_head is not None:
            table = ops.transpose(self.lm_head.kernel)
        return summed_cross_entropy(
            ops.reshape(out.last_hidden_state, (-1, self.config.n_embd)),  # (B, T, C) -> (B * T, C)
            ops.convert_to_tensor(table),
            ops.reshape(targets, (-1,)),
            needs_grad=seed is not None,
        )
