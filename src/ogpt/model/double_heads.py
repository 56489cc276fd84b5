"""Two heads on one transformer: the language model, and a score for each choice."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ogpt.config.call_errors import refused
from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.cache import KVCache
from ogpt.model.generate.entry import GenerativeLanguageModel
from ogpt.model.inputs import InputShape, input_shape, known_options
from ogpt.model.losses import class_loss, next_token_loss
from ogpt.model.outputs import OpenAIGPTDoubleHeadsModelOutput
from ogpt.model.pooling import OpenAIGPTSequenceSummary, check_positions, kept_tokens


class OpenAIGPTDoubleHeadsModel(GenerativeLanguageModel):
    """Language model and multiple choice (paper, section 3.3: one score for each answer).

    The multiple-choice head has one output whatever config.num_labels says: the softmax is over
    the choices.

    >>> import torch
    >>> from ogpt import OpenAIGPTConfig, OpenAIGPTDoubleHeadsModel
    >>> config = OpenAIGPTConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2)
    >>> model = OpenAIGPTDoubleHeadsModel(config).eval()
    >>> ids = torch.tensor([[[4, 8, 15], [4, 16, 23]]])  # one question, two choices
    >>> out = model(ids, labels=ids, mc_labels=torch.tensor([1]))
    >>> out.logits.shape, out.mc_logits.shape
    (torch.Size([1, 2, 3, 50]), torch.Size([1, 2]))
    >>> loss = out.mc_loss + 0.5 * out.loss  # paper, equation 5
    """

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.multiple_choice_head = OpenAIGPTSequenceSummary(config)
        self.post_init()
        self.tie_weights()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        mc_token_ids: Tensor | None = None,
        labels: Tensor | None = None,
        mc_labels: Tensor | None = None,
        *,
        head_mask: Tensor | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **unknown: Any,
    ) -> OpenAIGPTDoubleHeadsModelOutput | tuple[Any, ...]:
        """Predict each next token, and score each choice.

        Args:
            input_ids: (B, K, T), a sequence for each choice; (B, T) returns one score for each row.
                The four arguments after it are as in OpenAIGPTModel, in the shape of input_ids.
            attention_mask: (B, K, S), or as in OpenAIGPTModel for the B * K rows.
            token_type_ids: (B, K, T).
            position_ids: (B, K, T) or (T,).
            inputs_embeds: (B, K, T, C).
            mc_token_ids: (B, K), the position whose hidden state is scored; by default the last
                token that attention_mask keeps.
            labels: (B, K, T) token ids, such as input_ids; -100 is ignored.
            mc_labels: (B,), the right choice, 0 to K - 1.
            head_mask: As in OpenAIGPTModel, like the five arguments after it.
            past_key_values: A cache of earlier tokens.
            use_cache: Create a cache, and return it.
            output_attentions: Also return the probabilities.
            output_hidden_states: Also return the hidden states.
            return_dict: False returns a tuple.
            num_items_in_batch: Divide the summed language-model loss by this instead of the number
                of labels that are not ignored. The loss of the choices stays the mean of the batch.
            **unknown: As in OpenAIGPTModel.

        Raises:
            ConfigError: a shape that does not fit, a position or choice that does not exist, or
                mc_labels when the summary does not return one score for each choice.
            TokenOutOfRange: a label outside the vocabulary (CPU tensors, outside compile).
            UnknownArgument: an argument that no model has.
        """
        known_options(unknown, type(self).forward, self.config.parity.arguments)
        given = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        asked = {
            "head_mask": head_mask,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
        }
        out = self.transformer(*given, **asked, return_dict=True)
        shape = input_shape(input_ids, inputs_embeds, self.config.n_embd)
        hidden = out.last_hidden_state
        logits = self.lm_head(hidden)  # (..., T, C) -> (..., T, V)
        if mc_token_ids is not None:
            mc_token_ids = check_positions(mc_token_ids, shape, "mc_token_ids")
        scores = self.multiple_choice_head(
            hidden.reshape(shape.N, shape.T, -1),
            kept_tokens(attention_mask, shape, self.config.n_head, out.past_key_values),
            mc_token_ids,
        )
        if scores.shape[-1] == 1:
            scores = scores[..., 0]
        mc_logits = shape.restore(scores)  # (N,) -> (B, K)
        loss = mc_loss = None
        if labels is not None:
            table = self.transformer.tokens_embed
            loss = next_token_loss(
                logits, shape, table, labels, num_items_in_batch=num_items_in_batch
            )
        if mc_labels is not None:
            mc_loss = _choice_loss(mc_logits, mc_labels, shape)
        result = OpenAIGPTDoubleHeadsModelOutput(
            loss=loss,
            mc_loss=mc_loss,
            logits=logits,
            mc_logits=mc_logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )
        if return_dict is None:
            return_dict = self.config.use_return_dict
        return result if return_dict else result.to_tuple()


def _choice_loss(mc_logits: Tensor, mc_labels: Tensor, shape: InputShape) -> Tensor:
    """Mean of -log softmax over the choices, (); mc_logits (..., K)."""
    if not shape.leading:
        raise refused("no-choices", shape=(shape.T,))
    if tuple(mc_logits.shape) != shape.leading:
        raise refused("no-scores", shape=tuple(mc_logits.shape), allowed=shape.leading)
    return class_loss(
        mc_logits.reshape(-1, mc_logits.shape[-1]), mc_labels, "mc_labels", shape.leading[:-1]
    )
