"""The transformer of GPT-1 (paper, section 3.1 and 4.1), in build order.

B batch, T time, C channels (n_embd), S cached and new positions, V vocabulary; inside, N rows of
T tokens, whatever the input's shape before T. Names and layouts of weights are OpenAI's and Hugging
Face's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, ContextTooLong
from ogpt.model.attention import attend, can_flash, flash, probabilities
from ogpt.model.cache import KVCache
from ogpt.model.dropout import draw_seed, dropout
from ogpt.model.inputs import Rows, check_rows, mask_rows, rows_of, tensor, to_rows, whole_numbers
from ogpt.model.masks import AdditiveMask, Visible, follows_mask, of_heads, positions_of, visible
from ogpt.model.outputs import BaseModelOutput
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel

_tanh_gelu = partial(F.gelu, approximate="tanh")  # 2018 code: model_utils gelu

ACT_FNS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": _tanh_gelu,
    "gelu_new": _tanh_gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}

# dropout sites of a block; attention takes one a query block, so it comes last
_RESID_ATTN, _RESID_MLP, _ATTN = 1, 2, 3
_SITES_PER_BLOCK = 2**20


class Pass(NamedTuple):
    """What a block is told about the forward pass that it takes part in."""

    visible: Visible = None
    seed: Tensor | None = None
    """Of dropout; None: no dropout."""
    cache: KVCache | None = None
    layer: int = 0
    head_mask: Tensor | None = None
    """(n_head,) of this layer."""
    attentions: list[Tensor] | None = None
    """Takes the probabilities, where they are asked for."""
    attention: str = "sdpa"


class Conv1D(nn.Module):
    """A linear layer whose weight is stored input x output, as in the 2018 code's conv1d."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(nx, nf))
        self.bias = nn.Parameter(torch.zeros(nf))

    def forward(self, x: Tensor) -> Tensor:
        """(..., nx) -> (..., nf)."""
        flat = torch.addmm(self.bias, x.reshape(-1, x.shape[-1]), self.weight)
        return flat.view(*x.shape[:-1], -1)


class Attention(nn.Module):
    """Masked multi-head self-attention."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.head_dim = config.n_embd // config.n_head
        self.kept_heads = list(range(config.n_head))
        self.attn_pdrop = config.attn_pdrop
        self.resid_pdrop = config.resid_pdrop
        self.c_attn = Conv1D(3 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        """(N, T, C) -> (N, T, C); gives the probabilities away where they are asked for."""
        N, T, _ = x.shape
        parts = self.c_attn(x).view(N, T, 3, self.n_head, self.head_dim)
        # (N, T, 3, n_head, head_dim) -> 3 of (N, n_head, T, head_dim)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = run.visible
        if run.cache is not None:
            key, value = run.cache.update(run.layer, key, value)
            if seen is None and T == 1:  # one token sees all that is held
                seen = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=x.device)
        head_mask = None
        if run.head_mask is not None:
            head_mask = run.head_mask[self.kept_heads][:, None, None]
        seen = of_heads(seen, self.kept_heads)
        eager = run.attention == "eager" or run.attentions is not None
        if eager or isinstance(seen, AdditiveMask):
            probs = probabilities(query, key, seen)
            if run.attentions is not None:
                run.attentions.append(probs if head_mask is None else probs * head_mask)
            mixed = dropout(probs, self.attn_pdrop, run.seed, _ATTN) @ value
        elif can_flash(run.attention, query, seen):
            mixed = flash(query, key, value, 0.0 if run.seed is None else self.attn_pdrop)
        else:
            mixed = attend(query, key, value, seen, self.attn_pdrop, run.seed, _ATTN)
        if head_mask is not None:  # the same as weighing each head's probabilities
            mixed = mixed * head_mask
        # (N, n_head, T, head_dim) -> (N, T, C)
        merged: Tensor = self.c_proj(mixed.transpose(1, 2).flatten(2))
        return dropout(merged, self.resid_pdrop, run.seed, _RESID_ATTN)

    def prune_heads(self, heads: Iterable[int]) -> None:
        """Cut these heads out of the weights; ones that are gone already are passed over."""
        gone = set(heads)
        stay = [place for place, head in enumerate(self.kept_heads) if head not in gone]
        index = torch.tensor(stay, device=self.c_attn.weight.device)
        with torch.no_grad():
            for name in ("weight", "bias"):
                old = getattr(self.c_attn, name)
                split = old.view(*old.shape[:-1], 3, self.n_head, self.head_dim)
                cut = split.index_select(-2, index).reshape(*old.shape[:-1], -1)
                setattr(self.c_attn, name, nn.Parameter(cut, old.requires_grad))
            old = self.c_proj.weight
            split = old.view(self.n_head, self.head_dim, -1)
            cut = split.index_select(0, index).reshape(-1, old.shape[-1])
            self.c_proj.weight = nn.Parameter(cut, old.requires_grad)
        self.kept_heads = [self.kept_heads[place] for place in stay]
        self.n_head = len(stay)


class MLP(nn.Module):
    """The position-wise feed-forward network, four times as wide inside."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.c_fc = Conv1D(4 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, 4 * config.n_embd)
        self.act = F.gelu if config.parity.gelu == "erf" else ACT_FNS[config.afn]
        self.resid_pdrop = config.resid_pdrop

    def forward(self, x: Tensor, seed: Tensor | None) -> Tensor:
        """(N, T, C) -> (N, T, C)."""
        projected: Tensor = self.c_proj(self.act(self.c_fc(x)))
        return dropout(projected, self.resid_pdrop, seed, _RESID_MLP)


class Block(nn.Module):
    """Attention, then MLP; the norm comes after each sum (post-norm)."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)

    def forward(self, x: Tensor, run: Pass) -> Tensor:
        """(N, T, C) -> (N, T, C)."""
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
        super().__init__(config)
        self.tokens_embed = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions_embed = nn.Embedding(config.n_positions, config.n_embd)
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
        """Run the blocks.

        Args:
            input_ids: (B, T), int64, each below vocab_size. This or inputs_embeds. Here and below
                (B, K, T) for K choices, or any other shape before T.
            attention_mask: (B, S) 1 or True for tokens, 0 for padding, S counting cached positions
                too; or (B, T, S) or (B, 1 or n_head, T, S), True where a query may see a key. The
                causal mask is always applied as well. A query that may see nothing sees itself.
            token_type_ids: (B, T) rows of the token embedding to add.
            position_ids: (B, T) or (T,); by default 0, 1, ... over the tokens that a 2-D
                attention_mask keeps, after what the cache holds.
            inputs_embeds: (B, T, C) in place of input_ids.
            head_mask: (n_head,) or (n_layer, n_head): each head's output is multiplied by it.
            past_key_values: A cache to read and to extend.
            use_cache: Make a cache, and return it.
            output_attentions: Also return the probabilities, before dropout, in (T, S) memory.
                Here and below None: as the configuration says.
            output_hidden_states: Also return the embeddings and each block's output.
            return_dict: False for a tuple.
            **unknown: Refused; parity may ask to leave them out.

        Raises:
            ContextTooLong: T and what the cache holds exceed n_positions.
            TokenOutOfRange: an id without a row (CPU tensors, outside compile and export).
            ConfigError: both or neither of input_ids and inputs_embeds, or a shape that does not
                fit.
            UnknownArgument: an argument that no model has.
        """
        self._known(unknown)
        rows = rows_of(input_ids, inputs_embeds, self.config.n_embd)
        cache = self._cache(past_key_values, use_cache, rows)
        if inputs_embeds is None:
            assert input_ids is not None  # one of the two, checked by rows_of
            input_ids = whole_numbers(input_ids, "input_ids")
            check_rows(input_ids, self.tokens_embed, "token id")
            inputs_embeds = self.tokens_embed(input_ids)
        hidden = inputs_embeds.reshape(rows.N, rows.T, -1)
        mask = None
        if attention_mask is not None:
            S = rows.T if cache is None else cache.get_seq_length() + rows.T
            mask = mask_rows(
                tensor(attention_mask, "attention_mask").to(hidden.device),
                rows,
                S,
                self.config.n_head,
            )
        hidden = hidden + self.positions_embed(self._positions(position_ids, mask, rows, cache))
        if token_type_ids is not None:
            token_type_ids = whole_numbers(token_type_ids, "token_type_ids")
            check_rows(token_type_ids, self.tokens_embed, "token type id")
            hidden = hidden + self.tokens_embed(to_rows(token_type_ids, rows, "token_type_ids"))
        seed = draw_seed(hidden.device) if self.training else None
        hidden = dropout(hidden, self.config.embd_pdrop, seed, 0)
        if torch.is_autocast_enabled(hidden.device.type):  # keeps the residual stream narrow
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))

        with_states = self._asked(output_hidden_states, "output_hidden_states")
        with_attentions = self._asked(output_attentions, "output_attentions")
        states = [hidden] if with_states else None
        attentions: list[Tensor] | None = [] if with_attentions else None
        run = Pass(
            visible=visible(mask, rows.T, cache, hidden, self.config.parity.masking),
            cache=cache,
            attentions=attentions,
            attention=self.attn_implementation,
        )
        head_masks = self._head_masks(head_mask)
        recompute = self.gradient_checkpointing and self.training
        for layer, block in enumerate(self.h):
            here = run._replace(
                layer=layer,
                seed=None if seed is None else seed + (layer + 1) * _SITES_PER_BLOCK,
                head_mask=None if head_masks is None else head_masks[layer],
            )
            if recompute:
                hidden = checkpoint(block, hidden, here, **self.checkpoint_options)
            else:
                hidden = block(hidden, here)
            if states is not None:
                states.append(hidden)
        if cache is not None:
            cache.advance(rows.T)
        out = BaseModelOutput(
            last_hidden_state=rows.restore(hidden),
            past_key_values=cache,
            hidden_states=None if states is None else tuple(map(rows.restore, states)),
            attentions=None if attentions is None else tuple(map(rows.restore, attentions)),
        )
        return out if self._asked(return_dict, "use_return_dict") else out.to_tuple()

    def _positions(
        self, given: Tensor | None, mask: Tensor | None, rows: Rows, cache: KVCache | None
    ) -> Tensor:
        """Positions of the new tokens, (N or 1, T)."""
        if given is not None:
            given = whole_numbers(given, "position_ids")
            check_rows(given, self.positions_embed, "position id")
            return to_rows(given, rows, "position_ids")
        if mask is not None and follows_mask(self.config.parity, mask):
            return positions_of(mask, None if cache is None else cache.positions(rows.T))
        if cache is not None:
            return cache.positions(rows.T)
        return torch.arange(rows.T, device=self.device)[None]

    def _cache(self, given: KVCache | None, use_cache: bool | None, rows: Rows) -> KVCache | None:
        """The cache to use, and whether the input fits beside what it holds."""
        cache = given
        if cache is not None and not isinstance(cache, KVCache):
            raise ConfigError(
                f"past_key_values is a {type(cache).__name__}; allowed: an earlier call's cache",
                hint="use_cache=True gives one back as past_key_values",
            )
        if cache is None and use_cache:
            cache = KVCache(self.config, rows.N, self.dtype, self.device)
        if cache is None:
            if self.config.n_positions < rows.T:
                raise ContextTooLong(
                    f"{rows.T} tokens were given; the model has {self.config.n_positions} "
                    "positions",
                    hint="shorten the input, or cut it into windows",
                )
            return None
        if len(cache.active) != rows.N:
            raise ConfigError(
                f"past_key_values hold {len(cache.active)} rows and the input {rows.N}; they must "
                "be as many",
                hint="use a cache for one batch only, from its beginning to its end",
            )
        if self.gradient_checkpointing and self.training:
            raise ConfigError(
                "a cache was asked for while training with gradient checkpointing",
                hint="leave use_cache off, or call eval()",
            )
        cache.check_room(rows.T)
        return cache

    def _head_masks(self, given: Tensor | None) -> Tensor | None:
        """A head mask as (n_layer, n_head)."""
        if given is None:
            return None
        shape = (self.config.n_layer, self.config.n_head)
        if tuple(tensor(given, "head_mask").shape) not in (shape, shape[1:]):
            raise ConfigError(
                f"head_mask has the shape {tuple(given.shape)}; allowed: {shape[1:]} or {shape}",
                hint="give one number for each head, the pruned ones included",
            )
        return given.to(self.device, self.dtype).expand(shape)
