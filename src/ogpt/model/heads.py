"""The language model: the transformer, its tied head, and the loss of each next token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.model.cache import KVCache
from ogpt.model.chunked_loss import ChunkLoss, chunk_loss_and_grad, summed_cross_entropy
from ogpt.model.generate.entry import GenerativeLanguageModel
from ogpt.model.inputs import check_tensor, input_shape, known_options
from ogpt.model.losses import IGNORE_INDEX, next_token_loss
from ogpt.model.outputs import CausalLMOutput
from ogpt.model.tensors import is_readable

_UNLISTED = ("shift_labels",)  # arguments that are not in the signature of forward


class OpenAIGPTLMHeadModel(GenerativeLanguageModel):
    """The language model: logits of each next token, a loss with `labels`, text by `generate`.

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
        """Compile one block and the loss of a chunk of logits, for training.

        All blocks share the compiled code: that takes a third of the time that compiling the whole
        model takes, and runs as fast (docs/log.md, "One block is compiled").
        """
        self.transformer.compile_blocks()
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
        head_mask: Tensor | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
        ignore_index: int = IGNORE_INDEX,
        **options: Any,
    ) -> CausalLMOutput | tuple[Any, ...]:
        """Predict each next token.

        Args:
            input_ids: As in OpenAIGPTModel, like the four after it.
            attention_mask: (B, S), (B, T, S) or (B, n_head, T, S).
            token_type_ids: (B, T).
            position_ids: (B, T) or (T,).
            inputs_embeds: (B, T, C).
            labels: (B, T) token ids, such as input_ids: the model shifts them, so that each token
                predicts the next one. -100 is ignored.
            head_mask: As in OpenAIGPTModel, like the five arguments after it.
            past_key_values: A cache of earlier tokens.
            use_cache: Create a cache, and return it.
            output_attentions: Also return the probabilities.
            output_hidden_states: Also return the hidden states.
            return_dict: False returns a tuple.
            logits_to_keep: Number of positions from the end to compute logits for, 0 for all; or
                the positions, (kept,) or (B, kept), or bool (B, T).
            num_items_in_batch: Divide the summed loss by this instead of the number of labels that
                are not ignored.
            ignore_index: The label to ignore.
            **options: shift_labels, (B, T) labels that are already shifted, in place of `labels`.
                Trainer takes every argument with "label" in its name for one that each batch has,
                so the signature does not list it. Other names are as in OpenAIGPTModel.

        Raises:
            ConfigError: labels together with logits_to_keep, or in another shape than the input.
            TokenOutOfRange: a label outside the vocabulary (CPU tensors, outside compile).
            UnknownArgument: an argument that no model has.
        """
        known_options(options, type(self).forward, self.config.parity.arguments, _UNLISTED)
        shift_labels = options.get("shift_labels")
        has_labels = labels is not None or shift_labels is not None
        keeps_all = isinstance(logits_to_keep, int) and logits_to_keep == 0
        if has_labels and not keeps_all:
            raise ConfigError(
                f"labels were passed together with logits_to_keep={logits_to_keep}; allowed: one "
                "of the two",
                hint="leave logits_to_keep at 0: the loss needs every position",
            )
        given = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        asked = {
            "head_mask": head_mask,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
        }
        out = self.transformer(*given, **asked, return_dict=True)
        # (..., T, C) -> (..., T or kept, V): the largest array of a pass. The last position of a
        # prompt is enough to generate, and saves most of this matmul.
        logits = self.lm_head(kept_states(out.last_hidden_state, logits_to_keep))
        loss = None
        if has_labels:
            loss = next_token_loss(
                logits,
                input_shape(input_ids, inputs_embeds, self.config.n_embd),
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
        if return_dict is None:
            return_dict = self.config.use_return_dict
        return result if return_dict else result.to_tuple()

    def token_loss(
        self,
        input_ids: Tensor,
        targets: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """Summed loss for training, (), float32, without storing the (B, T, V) logits.

        Args:
            input_ids: (B, T).
            targets: (B, T), the token after each one (not shifted again); -100 is ignored.
            attention_mask: As in forward.
            position_ids: As in forward.
        """
        out = self.transformer(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            return_dict=True,
        )
        with torch.autocast(targets.device.type, enabled=False):  # the loss casts by itself
            return summed_cross_entropy(
                out.last_hidden_state.flatten(0, 1),  # (B, T, C) -> (B * T, C)
                self.lm_head.weight,
                targets.reshape(-1),
                IGNORE_INDEX,
                self.chunk_loss,
            )


def kept_states(hidden: Tensor, logits_to_keep: int | Tensor) -> Tensor:
    """The hidden states to compute logits for.

    Args:
        hidden: (..., T, C).
        logits_to_keep: Number of positions from the end, 0 for all; positions (kept,), the same in
            every row; positions (..., kept) of each row; or (..., T) bool, which returns (kept, C).

    Raises:
        ConfigError: a negative number, a position outside the input, or a tensor of another shape.
    """
    if isinstance(logits_to_keep, int):
        if logits_to_keep < 0:
            raise ConfigError(
                f"logits_to_keep is {logits_to_keep}; allowed: 0 or more",
                hint="pass 0 to keep the logits of every position",
            )
        return hidden[..., -logits_to_keep:, :] if logits_to_keep else hidden
    if check_tensor(logits_to_keep, "logits_to_keep").ndim == 1:
        _check_kept(logits_to_keep, hidden.shape[-2])
        return hidden[..., logits_to_keep, :]
    is_bool = logits_to_keep.dtype == torch.bool
    if is_bool and logits_to_keep.shape == hidden.shape[:-1]:
        return hidden[logits_to_keep]
    by_row = logits_to_keep.ndim == hidden.ndim - 1
    if by_row and not is_bool and logits_to_keep.shape[:-1] == hidden.shape[:-2]:
        index = logits_to_keep[..., None].expand(*logits_to_keep.shape, hidden.shape[-1])
        return hidden.gather(-2, index)
    raise ConfigError(
        f"logits_to_keep has dtype {logits_to_keep.dtype} and shape {tuple(logits_to_keep.shape)}; "
        f"allowed: positions (kept,) or {(*hidden.shape[:-2], 'kept')}, or bool "
        f"{tuple(hidden.shape[:-1])}",
        hint="pass a number to keep that many positions from the end",
    )


def _check_kept(positions: Tensor, T: int) -> None:
    """Check positions, which may count from the end, where reading them is cheap.

    Raises:
        ConfigError: one lies outside the input (CPU tensors, outside compile and export).
    """
    if not is_readable(positions) or not positions.numel():
        return
    odd = positions[(positions < -T) | (positions >= T)]
    if len(odd):
        raise ConfigError(
            f"logits_to_keep holds {odd[0].item()}; allowed: {-T} to {T - 1}",
            hint="pass a number to keep that many positions from the end",
        )
