"""Two heads on the transformer: the language model, and a score for each choice."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.model.generate.entry import GenerativeLanguageModel
from ogpt.model.inputs import Rows, rows_of
from ogpt.model.losses import class_loss, next_token_loss
from ogpt.model.outputs import OpenAIGPTDoubleHeadsModelOutput
from ogpt.model.pooling import OpenAIGPTSequenceSummary, check_places, kept_tokens


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
    >>> loss = out.mc_loss + 0.5 * out.loss
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
        num_items_in_batch: Tensor | int | None = None,
        return_dict: bool | None = None,
        **options: Any,
    ) -> OpenAIGPTDoubleHeadsModelOutput | tuple[Any, ...]:
        """Predict each next token, and score each choice.

        Args:
            input_ids: (B, K, T), a sequence for each choice; (B, T) gives one score a row. The four
                after it as in OpenAIGPTModel, in the shape of input_ids.
            attention_mask: (B, K, S), or as in OpenAIGPTModel for the B * K rows.
            token_type_ids: (B, K, T).
            position_ids: (B, K, T) or (T,).
            inputs_embeds: (B, K, T, C).
            mc_token_ids: (B, K) the position whose state is scored; by default the last token that
                attention_mask keeps.
            labels: (B, K, T) token ids; -100 counts nothing.
            mc_labels: (B,) the right choice, 0 to K - 1.
            num_items_in_batch: Divide the summed language-model loss by this.
            return_dict: False for a tuple.
            **options: As in OpenAIGPTModel.

        Raises:
            ConfigError: a shape that does not fit, a position or choice that is not there, or
                mc_labels where the summary does not give one score for each choice.
            TokenOutOfRange: a label outside the vocabulary (CPU tensors, outside compile).
            UnknownArgument: an argument that no model has.
        """
        out = self.transformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            return_dict=True,
            **self._known(options),
        )
        rows = rows_of(input_ids, inputs_embeds, self.config.n_embd)
        hidden = out.last_hidden_state
        logits = self.lm_head(hidden)
        if mc_token_ids is not None:
            mc_token_ids = check_places(mc_token_ids, rows, "mc_token_ids")
        scores = self.multiple_choice_head(
            hidden.reshape(rows.N, rows.T, -1),
            kept_tokens(attention_mask, rows, self.config.n_head, out.past_key_values),
            mc_token_ids,
        )
        if scores.shape[-1] == 1:
            scores = scores[..., 0]
        mc_logits = rows.restore(scores)
        result = OpenAIGPTDoubleHeadsModelOutput(
            loss=next_token_loss(
                logits,
                rows,
                self.transformer.tokens_embed,
                labels,
                num_items_in_batch=num_items_in_batch,
            ),
            mc_loss=None if mc_labels is None else _choice_loss(mc_logits, mc_labels, rows),
            logits=logits,
            mc_logits=mc_logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )
        return result if self._asked(return_dict, "use_return_dict") else result.to_tuple()


def _choice_loss(mc_logits: Tensor, mc_labels: Tensor, rows: Rows) -> Tensor:
    """Mean of -log softmax over the choices, (); mc_logits (..., K)."""
    if not rows.leading:
        raise ConfigError(
            f"mc_labels were given for an input of the shape {(rows.T,)}; allowed: (B, K, T)",
            hint="give a sequence for each choice",
        )
    if tuple(mc_logits.shape) != rows.leading:
        raise ConfigError(
            f"mc_labels were given and mc_logits have the shape {tuple(mc_logits.shape)}; allowed: "
            f"{rows.leading}, one score for each choice",
            hint="set summary_use_proj and summary_proj_to_labels to True",
        )
    return class_loss(
        mc_logits.reshape(-1, mc_logits.shape[-1]), mc_labels, "mc_labels", rows.leading[:-1]
    )
