"""The transformer of GPT-1 (paper, sections 3.1 and 4.1), in build order.

ids -> token + position embeddings -> n_layer blocks (attention, MLP) -> hidden states

Shapes: B batch, T time (at most n_positions), C channels (n_embd), S cached and new tokens, V
vocabulary; inside the model N rows of T tokens, whatever axes the input has before T. Names and
layouts of weights are OpenAI's and Hugging Face's, so that their files load as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.model.attention import (
    AdditiveMask,
    Visible,
    attend,
    can_flash,
    flash,
    probabilities,
    select_heads,
    visible,
)
from ogpt.model.cache import KVCache
from ogpt.model.dropout import draw_seed, dropout
from ogpt.model.inputs import (
    InputShape,
    check_context,
    check_embedding_ids,
    check_tensor,
    input_shape,
    integers,
    known_options,
    layer_head_masks,
    mask_rows,
    positions_from_mask,
    to_rows,
    token_embeddings,
    type_embeddings,
)
from ogpt.model.outputs import BaseModelOutput
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel
from ogpt.model.unmasked import same_text, tell_padding

# GPT-1 was trained with the tanh approximation (2018 code: train.py, gelu()), not with erf.
# The difference is small per layer, but it shows up in logit comparisons.
_tanh_gelu = partial(F.gelu, approximate="tanh")

ACT_FNS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": _tanh_gelu,
    "gelu_new": _tanh_gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}

# Numbers of a block's dropout layers, each with its own mask. Attention, last, uses one for each
# block of queries.
_RESID_ATTN, _RESID_MLP, _ATTN = 1, 2, 3
_SITES_PER_BLOCK = 2**20


class Pass(NamedTuple):
    """Inputs of one forward pass that every block receives."""

    visible: Visible = None
    seed: Tensor | None = None
    """Of dropout; None: no dropout."""
    cache: KVCache | None = None
    layer: int = 0
    head_mask: Tensor | None = None
    """(n_head,) of this layer."""
    attentions: list[Tensor] | None = None
    """Collects each layer's probabilities; None: they are not returned."""
    attention: str = "sdpa"
    """The implementation, one of attention.ATTENTIONS."""


class Conv1D(nn.Module):
    """A linear layer whose weight is input x output, the transpose of nn.Linear's."""

    # The 2018 code wrote linear layers as convolutions of width 1 (train.py, conv1d()), and all
    # GPT-1 files keep that layout. With nn.Linear every file would need a transpose, and nothing
    # would show a forgotten one in c_proj of attention: it is square, loads, and computes garbage.

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        """(..., nx) -> (..., nf)."""
        flat = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return flat.view(*x.shape[:-1], -1)


class Attention(nn.Module):
    """Masked multi-head self-attention: each token gets a weighted mean of values up to its own."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.head_dim = config.n_embd // config.n_head
        self.kept_heads = list(range(config.n_head))
        self.attn_pdrop = config.attn_pdrop
        self.resid_pdrop = config.resid_pdrop
        # queries, keys and values of all heads in one matmul: one read of x, one kernel
        self.c_attn = Conv1D(3 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        """(N, T, C) -> (N, T, C); adds the probabilities to run.attentions if it is a list."""
        N, T, _ = x.shape
        # heads are slices of the channels: n_head small heads cost as much as one wide head
        parts = self.c_attn(x).view(N, T, 3, self.n_head, self.head_dim)
        # (N, T, 3, n_head, head_dim) -> 3 of (N, n_head, T, head_dim)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = run.visible
        if run.cache is not None:
            # (N, n_head, T, head_dim) -> (N, n_head, S, head_dim)
            key, value = run.cache.update(run.layer, key, value)
            if seen is None and T == 1:  # one token sees all; None would mean causal from column 0
                seen = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=x.device)
        head_mask = None
        if run.head_mask is not None:
            head_mask = run.head_mask[self.kept_heads][:, None, None]
        seen = select_heads(seen, self.kept_heads)
        # Fused kernels never build the (T, S) probabilities. To return them, or to change scores as
        # other implementations do, they are computed eagerly.
        eager = run.attention == "eager" or run.attentions is not None
        if eager or isinstance(seen, AdditiveMask):
            probs = probabilities(query, key, seen)
            if head_mask is not None:
                probs = probs * head_mask
            if run.attentions is not None:
                run.attentions.append(probs)
            mixed = dropout(probs, self.attn_pdrop, run.seed, _ATTN) @ value
            head_mask = None
        elif can_flash(run.attention, query, seen):
            mixed = flash(query, key, value, 0.0 if run.seed is None else self.attn_pdrop)
        else:
            mixed = attend(query, key, value, seen, self.attn_pdrop, run.seed, _ATTN)
        if head_mask is not None:  # equal to scaling each head's probabilities
            mixed = mixed * head_mask
        # (N, n_head, T, head_dim) -> (N, T, C)
        merged: Tensor = self.c_proj(mixed.transpose(1, 2).flatten(2))
        return dropout(merged, self.resid_pdrop, run.seed, _RESID_ATTN)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Remove these heads from the weights; heads that are already removed are skipped."""
        gone = set(heads)
        stay = [place for place, head in enumerate(self.kept_heads) if head not in gone]
        parts = ((self.c_attn, "weight", -1), (self.c_attn, "bias", -1), (self.c_proj, "weight", 0))
        for layer, name, axis in parts:
            old = getattr(layer, name)
            places = torch.arange(old.shape[axis], device=old.device)
            # the axis is (3 for query, key and value, or 1; n_head; head_dim)
            by_head = places.view(-1, self.n_head, self.head_dim)
            kept = old.detach().index_select(axis, by_head[:, stay].flatten())
            setattr(layer, name, nn.Parameter(kept, old.requires_grad))
        self.kept_heads = [self.kept_heads[place] for place in stay]
        self.n_head = len(stay)


class MLP(nn.Module):
    """The position-wise feed-forward network, four times as wide inside (paper, section 4.1)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.c_fc = Conv1D(4 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, 4 * config.n_embd)
        # the TensorFlow port of transformers used erf whatever afn said
        self.act = F.gelu if config.parity.gelu == "erf" else ACT_FNS[config.afn]
        self.resid_pdrop = config.resid_pdrop

    def forward(self, x: Tensor, seed: Tensor | None) -> Tensor:
        """(N, T, C) -> (N, T, C)."""
        # (N, T, C) -> (N, T, 4 * C) -> (N, T, C)
        projected: Tensor = self.c_proj(self.act(self.c_fc(x)))
        return dropout(projected, self.resid_pdrop, seed, _RESID_MLP)


class Block(nn.Module):
    """Attention and MLP, each added to its input and then normalized (post-norm)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        """(N, T, C) -> (N, T, C)."""
        # Post-norm, as in the 2018 code (train.py, block()). Weight names do not show the order:
        # GPT-2's norms before the sub-layers would load silently and compute garbage.
        n = self.ln_1(x + self.attn(x, run))
        out: Tensor = self.ln_2(n + self.mlp(n, run.seed))
        return out


class OpenAIGPTModel(OpenAIGPTPreTrainedModel):
    """Token ids to hidden states.

    >>> import torch
    >>> from ogpt import OpenAIGPTConfig, OpenAIGPTModel
    >>> config = OpenAIGPTConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2)
    >>> model = OpenAIGPTModel(config).eval()
    >>> out = model(torch.tensor([[4, 8, 15]]), output_hidden_states=True)
    >>> out.last_hidden_state.shape, len(out.hidden_states)
    (torch.Size([1, 3, 16]), 3)
    """

    def __init__(self, config: OpenAIGPTConfig) -> None:
        if isinstance(config, LSTMConfig):
            what = "the configuration is of an LSTM; allowed here: that of a transformer"
            raise ConfigError(what, hint="use ogpt.LSTMModel or a model with a head: it runs both")
        super().__init__(config)
        self.tokens_embed = nn.Embedding(config.vocab_size, config.n_embd)
        # learned positions instead of sinusoids (paper, section 4.1): n_positions is a hard limit
        self.positions_embed = nn.Embedding(config.n_positions, config.n_embd)
        # the last block ends with a norm, so there is no final one as in GPT-2 (ln_f)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        for layer, heads in config.pruned_heads.items():
            self.h[layer].get_submodule("attn").prune_heads(heads)  # type: ignore[operator]  # an Attention
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        head_mask: Tensor | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **unknown: Any,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Compute the hidden states of each token.

        Args:
            input_ids: (B, T), int64, each below vocab_size. This or inputs_embeds. Here and below
                (B, K, T) for K choices, or any other axes before T.
            attention_mask: (B, S) 1 or True for tokens, 0 for padding, S counting cached tokens
                too; or (B, T, S) or (B, 1 or n_head, T or 1, S), True where a query may see a key.
                With 4 axes and floats it may be additive: 0 and very low numbers. The causal mask
                always applies as well. A query that may see nothing sees itself.
            token_type_ids: (B, T) ids whose token embeddings are added.
            position_ids: (B, T) or (T,); by default 0, 1, ... over the tokens that a 2-D
                attention_mask keeps, after those in the cache. Without a mask, each 0 in a packed
                row starts a text that sees none of the texts before it.
            inputs_embeds: (B, T, C) in place of input_ids.
            head_mask: (n_head,) or (n_layer, n_head): each head's output is multiplied by it.
            past_key_values: A cache of earlier tokens, to use and to extend.
            use_cache: Create a cache, and return it.
            output_attentions: Also return the probabilities, before dropout, in (T, S) memory.
                None, here and below: as set in the configuration.
            output_hidden_states: Also return the embeddings and each block's output.
            return_dict: False returns a tuple.
            **unknown: Refused, or ignored with a notice if the configuration's parity says so.

        Raises:
            ContextTooLong: T and the cached tokens exceed n_positions.
            TokenOutOfRange: an id without an embedding (CPU tensors, outside compile and export).
            ConfigError: both or neither of input_ids and inputs_embeds, or a shape that does not
                fit.
            UnknownArgument: an argument that no model has.
        """
        config, cache = self.config, past_key_values
        known_options(unknown, type(self).forward, config.parity.arguments)
        shape = input_shape(input_ids, inputs_embeds, config.n_embd)
        if cache is None and use_cache:
            cache = self.new_cache(shape.N)
        recompute = self.gradient_checkpointing and self.training
        check_context(cache, shape, config.n_positions, recompute)

        hidden = token_embeddings(self.tokens_embed, input_ids, inputs_embeds, shape)
        mask = head_masks = None
        if attention_mask is not None:
            S = shape.T if cache is None else cache.get_seq_length() + shape.T
            given = check_tensor(attention_mask, "attention_mask").to(hidden.device)
            mask = mask_rows(given, shape, S, config.n_head)
        positions = self._positions(position_ids, mask, shape, cache)
        hidden = hidden + self.positions_embed(positions)
        if mask is None and (cache is None or not cache.get_seq_length()):
            if config.pad_token_id is not None:
                tell_padding(input_ids, config)
            if position_ids is not None and config.parity.positions == "mask":
                mask = same_text(positions)
        if token_type_ids is not None:
            hidden = hidden + type_embeddings(self.tokens_embed, token_type_ids, shape)
        # one seed for the whole pass, so that gradient checkpointing recomputes the same masks
        seed = draw_seed(hidden.device) if self.training else None
        hidden = dropout(hidden, config.embd_pdrop, seed, 0)
        # Autocast leaves embeddings in float32. Cast once, so that the sums of the residual stream
        # read and write half the memory.
        kind = hidden.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            hidden = hidden.to(torch.get_autocast_dtype(kind))

        if output_attentions is None:
            output_attentions = config.output_attentions
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        states = [hidden] if output_hidden_states else None
        attentions: list[Tensor] | None = [] if output_attentions else None
        run = Pass(
            visible=visible(mask, shape.T, cache, hidden, config.parity.masking),
            seed=seed,
            cache=cache,
            attentions=attentions,
            attention=self.attn_implementation,
        )
        if head_mask is not None:
            head_masks = layer_head_masks(
                head_mask, config.n_layer, config.n_head, self.device, self.dtype
            )
        hidden = self.run_blocks(hidden, run, head_masks, states)
        if cache is not None:
            cache.advance(shape.T)

        out = BaseModelOutput(
            last_hidden_state=shape.restore(hidden),
            past_key_values=cache,
            hidden_states=None if states is None else tuple(map(shape.restore, states)),
            attentions=None if attentions is None else tuple(map(shape.restore, attentions)),
        )
        if return_dict is None:
            return_dict = config.use_return_dict
        return out if return_dict else out.to_tuple()

    def new_cache(self, rows: int) -> KVCache:
        """An empty cache for `rows` sequences."""
        return KVCache(self.config, rows, self.dtype, self.device)

    def compile_blocks(self, dynamic: bool | None = None) -> None:
        """Compile one block; the others have the same code and share it.

        Args:
            dynamic: True compiles it for any shape at once; None as soon as a second shape is seen.
        """
        for block in self.h:
            block.compile(dynamic=dynamic)

    def run_blocks(
        self,
        hidden: Tensor,
        run: Pass,
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
        recompute = self.gradient_checkpointing and self.training
        for layer, block in enumerate(self.h):
            here = run._replace(
                layer=layer,
                seed=None if run.seed is None else run.seed + (layer + 1) * _SITES_PER_BLOCK,
                head_mask=None if head_masks is None else head_masks[layer],
            )
            hidden = (partial(self.run_block, block, layer) if recompute else block)(hidden, here)
            if states is not None:
                states.append(hidden)
        return hidden

    def _positions(
        self, given: Tensor | None, mask: Tensor | None, shape: InputShape, cache: KVCache | None
    ) -> Tensor:
        """Positions of the new tokens, (N or 1, T)."""
        if given is not None:
            given = integers(given, "position_ids")
            check_embedding_ids(given, self.positions_embed, "position id")
            return to_rows(given, shape, "position_ids")
        # only a 2-D mask says which tokens are padding; others may hide a token from some queries
        if mask is not None and mask.ndim == 2 and self.config.parity.positions == "mask":
            return positions_from_mask(mask, None if cache is None else cache.positions(shape.T))
        if cache is not None:
            return cache.positions(shape.T)
        return torch.arange(shape.T, device=self.positions_embed.weight.device)[None]
