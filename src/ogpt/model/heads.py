"""The language-model head on the transformer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.model.chunked_loss import ChunkLoss, chunk_loss_and_grad, summed_cross_entropy
from ogpt.model.generate.entry import GenerativeLanguageModel
from ogpt.model.inputs import rows_of, tensor
from ogpt.model.losses import IGNORE_INDEX, next_token_loss
from ogpt.model.outputs import CausalLMOutput


class OpenAIGPTLMHeadModel(GenerativeLanguageModel):
    """The language model: logits of each next token, and text by `generate`.

    >>> import torch
    >>> from ogpt import OpenAIGPTConfig, OpenAIGPTLMHeadModel
    >>> config = OpenAIGPTConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2)
    >>> model = OpenAIGPTLMHeadModel(config)
    >>> ids = torch.tensor([[4, 8, 15, 16]])
    >>> out = model(ids, labels=ids)
    >>> out.logits.shape, out.loss.shape
    (torch.Size([1, 4, 50]), torch.Size([]))
    >>> model.eval().generate(ids, max_new_tokens=3).shape
    torch.Size([1, 7])
    """

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.chunk_loss: ChunkLoss = chunk_loss_and_grad
        self.post_init()
        self.tie_weights()

    def compile_training(self) -> None:
        """Compile one block, whose code all blocks share, and the loss of a chunk of logits."""
        for block in self.transformer.h:
            block.compile()
        self.chunk_loss = torch.compile(chunk_loss_and_grad)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        logits_to_keep: int | Tensor = 0,
        shift_labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        ignore_index: int = IGNORE_INDEX,
        return_dict: bool | None = None,
        **options: Any,
    ) -> CausalLMOutput | tuple[Any, ...]:
        """Predict each next token.

        Args:
            input_ids: As in OpenAIGPTModel, like the four after it.
            attention_mask: (B, S), (B, T, S) or (B, n_head, T, S).
            token_type_ids: (B, T).
            position_ids: (B, T) or (T,).
            inputs_embeds: (B, T, C).
            labels: (B, T) token ids; the label of a position is predicted by the one before it.
                -100 counts nothing.
            logits_to_keep: Positions from the end to compute logits for, 0: all; or an index (1-D,
                or one for each row) or bool (B, T).
            shift_labels: (B, T) labels that are shifted already.
            num_items_in_batch: Divide the summed loss by this, not by the labels that count.
            ignore_index: The label that counts nothing.
            return_dict: False for a tuple.
            **options: head_mask, past_key_values, use_cache, output_attentions and
                output_hidden_states as in OpenAIGPTModel.

        Raises:
            ConfigError: labels together with logits_to_keep, or of another shape than the input.
            TokenOutOfRange: a label outside the vocabulary (CPU tensors, outside compile).
            UnknownArgument: an argument that no model has.
        """
        every = isinstance(logits_to_keep, int) and logits_to_keep == 0
        if not every and (labels is not None or shift_labels is not None):
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
            return_dict=True,
            **self._known(options),
        )
        logits = self.lm_head(keep(out.last_hidden_state, logits_to_keep))
        loss = next_token_loss(
            logits,
            rows_of(input_ids, inputs_embeds, self.config.n_embd),
            self.transformer.tokens_embed,
            labels,
            shift_labels,
            num_items_in_batch,
            ignore_index,
        )
        result = CausalLMOutput(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )
        return result if self._asked(return_dict, "use_return_dict") else result.to_tuple()

    def token_loss(
        self,
        input_ids: Tensor,
        targets: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Summed loss of unshifted targets (B, T), (), float32, without (B, T, V) logits."""
        out = self.transformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            return_dict=True,
        )
        with torch.autocast(targets.device.type, enabled=False):  # the loss casts by itself
            return summed_cross_entropy(
                out.last_hidden_state.flatten(0, 1),
                self.lm_head.weight,
                targets.reshape(-1),
                IGNORE_INDEX,
                self.chunk_loss,
            )


def check_index(places: Tensor, T: int) -> None:
    """Check positions, which may count from the end, on the host.

    Raises:
        ConfigError: one lies outside the input (CPU tensors, outside compile and export).
    """
    if places.device.type != "cpu" or torch.compiler.is_compiling() or not places.numel():
        return
    odd = places[(places < -T) | (places >= T)]
    if len(odd):
        raise ConfigError(
            f"logits_to_keep holds {odd[0].item()}; allowed: {-T} to {T - 1}",
            hint="a number keeps so many positions from the end",
        )


def keep(hidden: Tensor, logits_to_keep: int | Tensor) -> Tensor:
    """The hidden states that logits are wanted for.

    Args:
        hidden: (..., T, C).
        logits_to_keep: Positions from the end, 0 for all; a 1-D index of positions; or, for every
            row by itself, (..., kept) indices or (..., T) bool, the latter giving (kept, C).

    Raises:
        ConfigError: a negative count, or a tensor of another shape.
    """
    if isinstance(logits_to_keep, int):
        if logits_to_keep < 0:
            raise ConfigError(
                f"logits_to_keep is {logits_to_keep}; allowed: 0 or more",
                hint="0 keeps the logits of every position",
            )
        return hidden[..., -logits_to_keep:, :] if logits_to_keep else hidden
    if tensor(logits_to_keep, "logits_to_keep").ndim == 1:
        check_index(logits_to_keep, hidden.shape[-2])
        return hidden[..., logits_to_keep, :]
    is_bool = logits_to_keep.dtype == torch.bool
    if is_bool and logits_to_keep.shape == hidden.shape[:-1]:
        return hidden[logits_to_keep]
    by_row = logits_to_keep.ndim == hidden.ndim - 1
    if by_row and not is_bool and logits_to_keep.shape[:-1] == hidden.shape[:-2]:
        index = logits_to_keep[..., None].expand(*logits_to_keep.shape, hidden.shape[-1])
        return hidden.gather(-2, index)
    raise ConfigError(
        f"logits_to_keep is of {logits_to_keep.dtype} and shape {tuple(logits_to_keep.shape)}; "
        f"allowed: indices (kept,) or {(*hidden.shape[:-2], 'kept')}, or bool "
        f"{tuple(hidden.shape[:-1])}",
        hint="a number keeps so many positions from the end",
    )
