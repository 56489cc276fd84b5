"""The transformer of GPT-1 (paper, sections 3.1 and 4.1), in build order.

ids -> token + position embeddings -> n_layer blocks (attention, MLP) -> hidden states

Shapes: B batch, T time (at most n_positions), C channels (n_embd), V vocabulary; inside the model N
rows of T tokens, whatever axes the input has before T. Names of weights in files are OpenAI's and
Hugging Face's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import keras
from keras import ops

from ogpt.config.model import OpenAIGPTConfig
from ogpt.tf.activations import ACT_FNS, erf_gelu
from ogpt.tf.attention import Visible, probabilities, select_heads, visible
from ogpt.tf.base import TFConfigured, built, embedding, initial, norm, own_errors
from ogpt.tf.cache import TFKVCache
from ogpt.tf.dropout import draw_seed, dropout
from ogpt.tf.inputs import (
    TFInputShape,
    check_context,
    check_embedding_ids,
    input_shape,
    integers,
    known_options,
    layer_head_masks,
    mask_rows,
    named_arguments,
    positions_from_mask,
    to_rows,
)
from ogpt.tf.outputs import TFBaseModelOutput
from ogpt.tf.pretrained import TFOpenAIGPTPreTrainedModel
from ogpt.tf.tensors import StoredVariable, Tensor
from ogpt.tf.unmasked import same_text, tell_padding

# Numbers of a block's dropout layers, so that each has its own mask, as in PyTorch.
_RESID_ATTN, _RESID_MLP, _ATTN = 1, 2, 3
_SITES_PER_BLOCK = 2**20


@dataclass(frozen=True)
class TFPass:
    """Inputs of one forward pass that every block receives.

    Not a tuple as in PyTorch: Keras would convert what is inside.
    """

    visible: Visible
    seed: Tensor | None = None
    """Of dropout; None: no dropout."""
    cache: TFKVCache | None = None
    layer: int = 0
    head_mask: Tensor | None = None
    """(n_head,) of this layer."""
    attentions: list[Tensor] | None = None
    """Collects each layer's probabilities; None: they are not returned."""


class TFConv1D(keras.layers.Layer):
    """A linear layer whose weight is input x output, as files store it."""

    def __init__(self, nf: int, nx: int, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(**options)
        self.weight = self.add_weight((nx, nf), initial(config), name="weight")
        self.bias = self.add_weight((nf,), "zeros", name="bias")
        self.built = True

    def call(self, x: Tensor) -> Tensor:
        """(..., nx) -> (..., nf)."""
        return ops.matmul(x, self.weight) + self.bias


class TFAttention(keras.layers.Layer):
    """Masked multi-head self-attention: each token gets a weighted mean of values up to its own."""

    def __init__(self, config: OpenAIGPTConfig, pruned: list[int], **options: Any) -> None:
        super().__init__(**options)
        self.kept_heads = [head for head in range(config.n_head) if head not in pruned]
        self.n_head = len(self.kept_heads)
        self.head_dim = config.n_embd // config.n_head
        self.attn_pdrop = config.attn_pdrop
        self.resid_pdrop = config.resid_pdrop
        kept, policy = self.n_head * self.head_dim, self.dtype_policy
        with keras.name_scope(self.name):
            # queries, keys and values of all heads in one matmul: one read of x, one kernel
            self.c_attn = TFConv1D(3 * kept, config.n_embd, config, name="c_attn", dtype=policy)
            self.c_proj = TFConv1D(config.n_embd, kept, config, name="c_proj", dtype=policy)
        self.built = True

    def call(self, x: Tensor, run: TFPass) -> Tensor:
        """(N, T, C) -> (N, T, C); adds the probabilities to run.attentions if it is a list."""
        N, T, _ = ops.shape(x)
        # heads are slices of the channels: n_head small heads cost as much as one wide head
        parts = ops.reshape(self.c_attn(x), (N, T, 3, self.n_head, self.head_dim))
        # (N, T, 3, n_head, head_dim) -> 3 of (N, n_head, T, head_dim)
        query, key, value = ops.unstack(ops.transpose(parts, (2, 0, 3, 1, 4)), axis=0)
        if run.cache is not None:
            # (N, n_head, T, head_dim) -> (N, n_head, S, head_dim)
            key, value = run.cache.update(run.layer, key, value)
        head_mask = None
        if run.head_mask is not None:
            head_mask = ops.take(run.head_mask, self.kept_heads, axis=0)[:, None, None]
        probs = probabilities(query, key, select_heads(run.visible, self.kept_heads))
        if run.attentions is not None:
            run.attentions.append(probs if head_mask is None else probs * head_mask)
        mixed = ops.matmul(dropout(probs, self.attn_pdrop, run.seed, _ATTN), value)
        if head_mask is not None:  # equal to scaling each head's probabilities
            mixed = mixed * head_mask
        # (N, n_head, T, head_dim) -> (N, T, C)
        flat = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (N, T, self.n_head * self.head_dim))
        return dropout(self.c_proj(flat), self.resid_pdrop, run.seed, _RESID_ATTN)


class TFMLP(keras.layers.Layer):
    """The position-wise feed-forward network, four times as wide inside (paper, section 4.1)."""

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(**options)
        C, policy = config.n_embd, self.dtype_policy
        with keras.name_scope(self.name):
            self.c_fc = TFConv1D(4 * C, C, config, name="c_fc", dtype=policy)
            self.c_proj = TFConv1D(C, 4 * C, config, name="c_proj", dtype=policy)
        # transformers' own TensorFlow code used erf whatever afn said
        self.act = erf_gelu if config.parity.gelu == "erf" else ACT_FNS[config.afn]
        self.resid_pdrop = config.resid_pdrop
        self.built = True

    def call(self, x: Tensor, run: TFPass) -> Tensor:
        """(N, T, C) -> (N, T, C)."""
        # (N, T, C) -> (N, T, 4 * C) -> (N, T, C)
        projected = self.c_proj(self.act(self.c_fc(x)))
        return dropout(projected, self.resid_pdrop, run.seed, _RESID_MLP)


class TFBlock(keras.layers.Layer):
    """Attention and MLP, each added to its input and then normalized (post-norm)."""

    def __init__(self, config: OpenAIGPTConfig, layer: int, **options: Any) -> None:
        super().__init__(**options)
        pruned, policy = config.pruned_heads.get(layer, []), self.dtype_policy
        with keras.name_scope(self.name):
            self.attn = TFAttention(config, pruned, name="attn", dtype=policy)
            self.ln_1 = norm(config, name="ln_1", dtype=policy)
            self.mlp = TFMLP(config, name="mlp", dtype=policy)
            self.ln_2 = norm(config, name="ln_2", dtype=policy)
        self.built = True

    def call(self, x: Tensor, run: TFPass) -> Tensor:
        """(N, T, C) -> (N, T, C)."""
        # Post-norm, as in the 2018 code (train.py, block()); GPT-2 moved the norms before the
        # sub-layers. Weight names do not show the order, so pre-norm would load GPT-1 silently and
        # compute garbage.
        n = self.ln_1(x + self.attn(x, run=run))
        return self.ln_2(n + self.mlp(n, run=run))


@keras.saving.register_keras_serializable("ogpt")
class TFOpenAIGPTMainLayer(TFConfigured, keras.layers.Layer):
    """Token ids to hidden states, as a Keras layer: what every model has inside.

    >>> import tensorflow as tf
    >>> from ogpt import OpenAIGPTConfig, TFOpenAIGPTMainLayer
    >>> config = OpenAIGPTConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2)
    >>> TFOpenAIGPTMainLayer(config)(tf.constant([[4, 8, 15]])).last_hidden_state.shape
    TensorShape([1, 3, 16])
    """

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(**options)
        self.config = config
        self.seed_generator = keras.random.SeedGenerator()
        V, P, policy = config.vocab_size, config.n_positions, self.dtype_policy
        with keras.name_scope(self.name):
            self.tokens_embed = embedding(config, V, name="tokens_embed", dtype=policy)
            # learned positions instead of sinusoids (paper, section 4.1): a hard limit
            self.positions_embed = embedding(config, P, name="positions_embed", dtype=policy)
            # the last block ends with a norm, so there is no final one as in GPT-2 (ln_f)
            self.h = [
                TFBlock(config, layer, name=f"h_._{layer}", dtype=policy)
                for layer in range(config.n_layer)
            ]
        built(self, None, config.n_embd)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Run the layer; the arguments are those of `call`."""
        with own_errors():
            return super().__call__(**named_arguments(self.call, inputs, named))

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
        training: bool = False,
        seed: Tensor | None = None,
    ) -> TFBaseModelOutput:
        """Compute the hidden states of each token; the arguments are those of TFOpenAIGPTModel.

        Beside them `seed`, of the dropout in training; None: drawn from the layer's generator.
        """
        config = self.config
        shape = input_shape(input_ids, inputs_embeds, config.n_embd)
        check_context(shape, config.n_positions)

        if inputs_embeds is None:
            inputs_embeds = self._embedded(input_ids, "input_ids", "token id")
        # (..., T, C) -> (N, T, C)
        hidden = ops.reshape(inputs_embeds, (shape.N, shape.T, config.n_embd))
        mask = head_masks = None
        if attention_mask is not None:
            mask = mask_rows(attention_mask, shape, config.n_head)
        positions = self._positions(position_ids, mask, shape)
        hidden = hidden + self.positions_embed(positions)
        if mask is None:
            tell_padding(input_ids, config)
        if mask is None and position_ids is not None and config.parity.positions == "mask":
            mask = same_text(positions)
        if token_type_ids is not None:
            token_type_ids = to_rows(token_type_ids, shape, "token_type_ids")
            hidden = hidden + self._embedded(token_type_ids, "token_type_ids", "token type id")
        if not training:
            seed = None
        elif seed is None:
            seed = draw_seed(self.seed_generator)
        hidden = dropout(hidden, config.embd_pdrop, seed, 0)

        if output_attentions is None:
            output_attentions = config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        states = [hidden] if output_hidden_states else None
        attentions: list[Tensor] | None = [] if output_attentions else None
        run = TFPass(
            visible=visible(mask, shape.T, self.compute_dtype, config.parity.masking),
            seed=seed,
            attentions=attentions,
        )
        if head_mask is not None:
            dtype = self.compute_dtype
            head_masks = layer_head_masks(head_mask, config.n_layer, config.n_head, dtype)
        hidden = self.run_blocks(hidden, run, head_masks, states)
        return TFBaseModelOutput(
            last_hidden_state=shape.restore(hidden),
            hidden_states=None if states is None else tuple(map(shape.restore, states)),
            attentions=None if attentions is None else tuple(map(shape.restore, attentions)),
        )

    def run_blocks(
        self,
        hidden: Tensor,
        run: TFPass,
        head_masks: Tensor | None = None,
        states: list[Tensor] | None = None,
    ) -> Tensor:
        """Run all blocks: (N, T, C) -> (N, T, C).

        Args:
            hidden: The sum of the embeddings, after dropout.
            run: Inputs of the pass; its seed is that of the whole pass.
            head_masks: (n_layer, n_head).
            states: Collects the output of each block.
        """
        for layer, block in enumerate(self.h):
            here = replace(
                run,
                seed=None if run.seed is None else run.seed + (layer + 1) * _SITES_PER_BLOCK,
                layer=layer,
                head_mask=None if head_masks is None else head_masks[layer],
            )
            hidden = block(hidden, run=here)
            if states is not None:
                states.append(hidden)
        return hidden

    def stored_variables(self) -> dict[str, StoredVariable]:
        """The variables by the names of PyTorch's weights, without prefix."""
        stored = {
            "tokens_embed.weight": StoredVariable(self.tokens_embed.embeddings),
            "positions_embed.weight": StoredVariable(self.positions_embed.embeddings),
        }
        for layer, block in enumerate(self.h):
            attn, mlp = block.attn, block.mlp
            parts = {
                "attn.c_attn": (attn.c_attn.weight, attn.c_attn.bias),
                "attn.c_proj": (attn.c_proj.weight, attn.c_proj.bias),
                "ln_1": (block.ln_1.gamma, block.ln_1.beta),
                "mlp.c_fc": (mlp.c_fc.weight, mlp.c_fc.bias),
                "mlp.c_proj": (mlp.c_proj.weight, mlp.c_proj.bias),
                "ln_2": (block.ln_2.gamma, block.ln_2.beta),
            }
            for part, (weight, bias) in parts.items():
                stored[f"h.{layer}.{part}.weight"] = StoredVariable(weight)
                stored[f"h.{layer}.{part}.bias"] = StoredVariable(bias)
        return stored

    def _embedded(self, ids: Tensor, name: str, what: str) -> Tensor:
        ids = integers(ids, name)
        check_embedding_ids(ids, self.config.vocab_size, what)
        return self.tokens_embed(ids)

    def _positions(self, given: Tensor | None, mask: Tensor | None, shape: TFInputShape) -> Tensor:
        """Positions of the tokens, (N or 1, T)."""
        if given is not None:
            given = integers(given, "position_ids")
            check_embedding_ids(given, self.config.n_positions, "position id")
            return to_rows(given, shape, "position_ids")
        # only a 2-D mask says which tokens are padding; others may hide a token from some queries
        if mask is not None and len(mask.shape) == 2 and self.config.parity.positions == "mask":
            return positions_from_mask(mask)
        return ops.arange(shape.T, dtype="int32")[None]


@keras.saving.register_keras_serializable("ogpt")
class TFOpenAIGPTModel(TFOpenAIGPTPreTrainedModel):
    """Token ids to hidden states.

    >>> import tensorflow as tf
    >>> from ogpt import OpenAIGPTConfig, TFOpenAIGPTModel
    >>> config = OpenAIGPTConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2)
    >>> model = TFOpenAIGPTModel(config)
    >>> out = model(tf.constant([[4, 8, 15]]), output_hidden_states=True)
    >>> out.last_hidden_state.shape, len(out.hidden_states)
    (TensorShape([1, 3, 16]), 3)
    """

    output_class = TFBaseModelOutput

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self.transformer = TFOpenAIGPTMainLayer(config, name="transformer", dtype=self.dtype_policy)
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
        training: bool = False,
        **unknown: Any,
    ) -> TFBaseModelOutput | tuple[Any, ...]:
        """Compute the hidden states of each token.

        Args:
            input_ids: (B, T), integers, each below vocab_size. This or inputs_embeds. Here and
                below (B, K, T) for K choices, or any other axes before T.
            attention_mask: (B, T) 1 or True for tokens, 0 for padding; or (B, T, T) or
                (B, 1 or n_head, T, T), True where a query may see a key. The causal mask always
                applies as well. A query that may see nothing sees itself.
            token_type_ids: (B, T) ids whose token embeddings are added.
            position_ids: (B, T) or (T,); by default 0, 1, ... over the tokens that a 2-D
                attention_mask keeps. Without a mask, each 0 in a packed row starts a text that sees
                none of the texts before it.
            head_mask: (n_head,) or (n_layer, n_head): each head's output is multiplied by it.
            inputs_embeds: (B, T, C) in place of input_ids.
            output_attentions: Also return the probabilities, before dropout. Here and below None
                means: as set in the configuration.
            output_hidden_states: Also return the embeddings and each block's output.
            return_dict: False returns a tuple.
            training: Whether to drop elements.
            **unknown: Refused, or ignored with a notice if the configuration's parity says so.

        Raises:
            ContextTooLong: T exceeds n_positions.
            TokenOutOfRange: an id without an embedding (eager CPU tensors).
            ConfigError: both or neither of input_ids and inputs_embeds, or a shape that does not
                fit.
            UnknownArgument: an argument that no model has.
        """
        known_options(unknown, type(self).call, self.config.parity.arguments)
        given = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        asked = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
        }
        out = self.transformer(*given, training=training, **asked)
        if return_dict is None:
            return_dict = self.config.use_return_dict
        return out if return_dict else out.to_tuple()

    def stored_variables(self) -> dict[str, StoredVariable]:
        """The variables that a file stores; without heads their names have no prefix."""
        stored: dict[str, StoredVariable] = self.transformer.stored_variables()
        return stored
