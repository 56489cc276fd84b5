"""The heads on the transformer: the language-model head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.model.cache import KVCache
from ogpt.model.loss import ChunkLoss, chunk_loss_and_grad, summed_cross_entropy
from ogpt.model.outputs import CausalLMOutput
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel, resized
from ogpt.model.transformer import OpenAIGPTModel, check_rows

IGNORE_INDEX = -100


class OpenAIGPTLMHeadModel(OpenAIGPTPreTrainedModel):
    """The transformer with a language-model head tied to the token embedding (paper, eq. 2)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.transformer = OpenAIGPTModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.chunk_loss: ChunkLoss = chunk_loss_and_grad
        self.post_init()
        self.tie_weights()

    def compile_training(self) -> None:
        """Compile one block, whose code all blocks share, and the loss of a chunk of logits."""
        for block in self.transformer.h:
            block.compile()
        self.chunk_loss = torch.compile(chunk_loss_and_grad)

    def tie_weights(self) -> None:
        """The head is the token embedding, unless config.tie_word_embeddings is off."""
        rows = self.config.vocab_size
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.tokens_embed.weight
        elif len(self.lm_head.weight) != rows:
            self.lm_head.weight = resized(self.lm_head.weight, rows)
        self.lm_head.out_features = rows

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: KVCache | None = None,
        logits_to_keep: int | Tensor = 0,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> CausalLMOutput:
        """Predict each next token.

        Args:
            input_ids: As in OpenAIGPTModel.
            attention_mask: As in OpenAIGPTModel.
            token_type_ids: As in OpenAIGPTModel.
            position_ids: As in OpenAIGPTModel.
            inputs_embeds: As in OpenAIGPTModel.
            labels: (B, T) token ids; the label of a position is predicted by the one before it.
                -100 counts nothing.
            past_key_values: As in OpenAIGPTModel.
            logits_to_keep: Positions from the end to compute logits for, 0: all; or a 1-D index.
            output_attentions: As in OpenAIGPTModel.
            output_hidden_states: As in OpenAIGPTModel.

        Raises:
            ConfigError: labels together with logits_to_keep, or of another shape than the input.
            TokenOutOfRange: a label outside the vocabulary (CPU tensors, outside compile).
        """
        if labels is not None and not (isinstance(logits_to_keep, int) and logits_to_keep == 0):
            raise ConfigError(
                f"labels were given together with logits_to_keep={logits_to_keep}",
                hint="the loss needs every position: leave logits_to_keep at 0",
            )
        out = self.transformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
        )
        hidden = out.last_hidden_state
        loss = None
        if labels is not None:
            targets = self._targets(labels, hidden)
            total = summed_cross_entropy(
                hidden[:, :-1].flatten(0, 1), self.lm_head.weight, targets, IGNORE_INDEX
            )
            loss = total / (targets != IGNORE_INDEX).sum().clamp(min=1)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        if isinstance(kept, slice) and logits_to_keep == 0:
            kept = slice(None)
        return CausalLMOutput(
            loss=loss,
            logits=self.lm_head(hidden[:, kept]),
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )

    def _targets(self, labels: Tensor, hidden: Tensor) -> Tensor:
        """Labels as what each position but the last predicts, (B * (T - 1),), checked."""
        if labels.shape != hidden.shape[:-1]:
            raise ConfigError(
                f"labels have the shape {tuple(labels.shape)}; allowed: that of the input, "
                f"{tuple(hidden.shape[:-1])}",
                hint="give a label for each token, -100 for those that count nothing",
            )
        targets = labels[:, 1:].reshape(-1)
        counted = targets != IGNORE_INDEX
        check_rows(targets.where(counted, 0), self.transformer.tokens_embed, "label")
        return targets

    def token_loss(
        self,
        input_ids: Tensor,
        targets: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Summed loss of unshifted targets (B, T), (), float32, without (B, T, V) logits."""
        out = self.transformer(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids
        )
        with torch.autocast(targets.device.type, enabled=False):  # the loss casts by itself
            return summed_cross_entropy(
                out.last_hidden_state.flatten(0, 1),
                self.lm_head.weight,
                targets.reshape(-1),
                IGNORE_INDEX,
                self.chunk_loss,
            )
