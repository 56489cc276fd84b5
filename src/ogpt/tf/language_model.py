"""A transformer and a language-model head: what decoders and prompts need of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops
from numpy.typing import NDArray

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.tf.attention import cached
from ogpt.tf.base import dense, stored_dense
from ogpt.tf.cache import TFKVCache
from ogpt.tf.keras_checks import whole
from ogpt.tf.losses import check_tokens
from ogpt.tf.pretrained import TFOpenAIGPTPreTrainedModel
from ogpt.tf.resizing import replace_layer
from ogpt.tf.tensors import StoredVariable, Tensor
from ogpt.tf.transformer import TFOpenAIGPTMainLayer, TFPass


class TFLanguageModel(TFOpenAIGPTPreTrainedModel):
    """A transformer and a head that turns hidden states into logits (paper, equation 2).

    The head is the token embedding again, unless config.tie_word_embeddings is False: one matrix
    maps ids to vectors and vectors to logits.
    """

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(config, **options)
        policy = self.dtype_policy
        self.transformer = TFOpenAIGPTMainLayer(config, name="transformer", dtype=policy)
        self.lm_head = None
        if not config.tie_word_embeddings:
            self.lm_head = dense(config, config.vocab_size, False, name="lm_head", dtype=policy)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., T, C) -> (..., T, V): the largest array of a pass."""
        if self.lm_head is not None:
            return self.lm_head(hidden)
        # 2018 code: train.py, model(), matmul(lm_h, we, transpose_b=True). There `we` also held the
        # position embeddings, so the softmax ran over them too; here it runs over tokens only.
        table = ops.cast(self.transformer.tokens_embed.embeddings, self.compute_dtype)
        return ops.matmul(hidden, ops.transpose(table))

    def continued(
        self, input_ids: Tensor, position_ids: Tensor, seen: Tensor, cache: TFKVCache
    ) -> Tensor:
        """Hidden states of tokens that follow those of a cache, (N, T, C).

        Args:
            input_ids: (N, T), each below vocab_size.
            position_ids: (N, T), each below n_positions.
            seen: Which keys of the cache and of the new tokens each token may see,
                (N, 1, T, S), bool; one at least.
            cache: Receives the keys and values of the new tokens.
        """
        inside = self.transformer
        hidden = inside.tokens_embed(input_ids) + inside.positions_embed(position_ids)
        visible = cached(seen, self.compute_dtype, self.config.parity.masking)
        return inside.run_blocks(hidden, TFPass(visible, cache=cache))

    def check_values(self, given: Mapping[str, NDArray[Any]]) -> None:
        """Check ids and labels; see TFTrainableModel.

        Args:
            given: Arguments of `call` by name.

        Raises:
            TokenOutOfRange: an id without an embedding, or a label outside the vocabulary.
        """
        super().check_values(given)
        if (labels := whole(given, "labels")) is not None:
            check_tokens(labels, self.config.vocab_size)

    def get_output_embeddings(self) -> keras.layers.Layer:
        """The language-model head; the token embedding if they are tied."""
        return self.get_input_embeddings() if self.lm_head is None else self.lm_head

    def set_output_embeddings(self, new_embeddings: keras.layers.Dense) -> None:
        """Replace the language-model head, which is no longer tied to the token embedding.

        The model gets a copy of its configuration. Call compile() again afterwards.

        Args:
            new_embeddings: A built layer without a bias, with a kernel (n_embd, vocab_size).

        Raises:
            ConfigError: another shape, or a bias.
        """
        wanted = (self.config.n_embd, self.config.vocab_size)
        kernel = getattr(new_embeddings, "kernel", None)
        found = None if kernel is None else tuple(kernel.shape)
        if found != wanted or new_embeddings.use_bias:
            bias = " and a bias" * bool(getattr(new_embeddings, "use_bias", False))
            raise ConfigError(
                f"the head has a kernel of the shape {found}{bias}; allowed: {wanted}, no bias",
                hint="build a keras.layers.Dense(vocab_size, use_bias=False) for n_embd inputs",
            )
        self._change_config(tie_word_embeddings=False)
        replace_layer(self, "lm_head", new_embeddings)

    def stored_variables(self) -> dict[str, StoredVariable]:
        """The variables that a file stores, by the names of PyTorch's weights; tied ones once."""
        stored: dict[str, StoredVariable] = super().stored_variables()
        return stored if self.lm_head is None else stored | stored_dense("lm_head", self.lm_head)
