"""A network with a language-model head: what decoders and prompts need of a model."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from ogpt.config.changes import changed
from ogpt.config.model import OpenAIGPTConfig
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

    def untie_weights(self) -> None:
        """Give the head its own weight, at first a copy of the token embedding."""
        self._take_config(changed(self.config, tie_word_embeddings=False))
        self.lm_head.weight = nn.Parameter(self.transformer.tokens_embed.weight.detach().clone())
        self.tie_weights()
