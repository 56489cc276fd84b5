"""A network with a language-model head: what decoders and prompts need of a model."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

from torch import Tensor, nn

from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.cache import KVCache
from ogpt.model.lstm import LSTMModel
from ogpt.model.network import network_of
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel
from ogpt.model.transformer import OpenAIGPTModel


class LanguageModel(OpenAIGPTPreTrainedModel):
    """A transformer and a head that turns hidden states into logits (paper, equation 2).

    The head shares its weight with the token embedding: one matrix maps ids to vectors and vectors
    to logits. That saves 31 of 148 million weights, and files store the matrix once.
    """

    accepts_loss_kwargs: ClassVar[bool] = True
    loss_type: ClassVar[str | None] = "ForCausalLM"
    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "lm_head.weight": "transformer.tokens_embed.weight"
    }

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.transformer: OpenAIGPTModel | LSTMModel = network_of(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def tie_weights(self) -> None:
        """Share the token embedding with the head, unless config.tie_word_embeddings is False."""
        # 2018 code: train.py, model(), matmul(lm_h, we, transpose_b=True). There `we` also held the
        # position embeddings, so the softmax ran over them too; here it runs over tokens only.
        self.all_tied_weights_keys = {}
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.transformer.tokens_embed.weight
            self.all_tied_weights_keys = dict(self._tied_weights_keys)
        self.lm_head.out_features = self.config.vocab_size

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        past_key_values: KVCache | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """The arguments of forward for the next step of a search: the tokens that are new to it.

        PEFT and transformers' searches call it; our own `generate` does not.

        Args:
            input_ids: (B, T), the prompt and the tokens after it.
            past_key_values: The cache of earlier steps; its tokens are left out.
            attention_mask: (B, S), all tokens.
            inputs_embeds: (B, T, C), a prompt as embeddings: used in the first step.
            **options: More arguments of forward; token_type_ids and position_ids of all tokens.
                Names that forward lacks, such as cache_position, are left out.
        """
        held = 0 if past_key_values is None else past_key_values.get_seq_length()
        given: dict[str, Any] = {"past_key_values": past_key_values}
        if inputs_embeds is not None and not held:
            given["inputs_embeds"], T = inputs_embeds, inputs_embeds.shape[1]
        else:
            # the cache also counts a prompt of embeddings, which input_ids lacks
            given["input_ids"] = input_ids[:, min(held, input_ids.shape[1] - 1) :]
            T = given["input_ids"].shape[1]
        for name in ("token_type_ids", "position_ids"):
            if options.get(name) is not None:
                given[name] = options.pop(name)[:, -T:]
        taken = inspect.signature(type(self).forward).parameters
        more = {name: value for name, value in options.items() if name in taken}
        return {**given, "attention_mask": attention_mask, **more}

    def untie_weights(self) -> None:
        """Give the head its own weight, at first a copy of the token embedding."""
        self._change_config(tie_word_embeddings=False)
        self.lm_head.weight = nn.Parameter(self.transformer.tokens_embed.weight.detach().clone())
        self.tie_weights()
