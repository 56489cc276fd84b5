"""The transformer of GPT-1 (paper, section 3.1 and 4.1), in build order.

B batch, T time, C channels (n_embd), S cached and new positions, V vocabulary. Names and layouts
of weights are OpenAI's and Hugging Face's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, ContextTooLong, TokenOutOfRange
from ogpt.model.attention import attend, causal, probabilities
from ogpt.model.cache import KVCache
from ogpt.model.dropout import draw_seed, dropout
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
        self.attn_pdrop = config.attn_pdrop
        self.resid_pdrop = config.resid_pdrop
        self.c_attn = Conv1D(3 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def forward(
        self,
        x: Tensor,
        allowed: Tensor | None,
        seed: Tensor | None,
        cache: KVCache | None,
        layer: int,
        attentions: list[Tensor] | None,
    ) -> Tensor:
        """(B, T, C) -> (B, T, C); appends the probabilities to `attentions` where given."""
        B, T, C = x.shape
        parts = self.c_attn(x).view(B, T, 3, self.n_head, C // self.n_head)
        # (B, T, 3, n_head, head_dim) -> 3 of (B, n_head, T, head_dim)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        if cache is not None:
            key, value = cache.update(layer, key, value)
            if allowed is None and T == 1:  # one token sees all that is held
                allowed = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=x.device)
        if attentions is None:
            mixed = attend(query, key, value, allowed, self.attn_pdrop, seed, _ATTN)
        else:
            probs = probabilities(query, key, causal(query, key) if allowed is None else allowed)
            attentions.append(probs)
            mixed = dropout(probs, self.attn_pdrop, seed, _ATTN) @ value
        # (B, n_head, T, head_dim) -> (B, T, C)
        merged: Tensor = self.c_proj(mixed.transpose(1, 2).flatten(2))
        return dropout(merged, self.resid_pdrop, seed, _RESID_ATTN)


class MLP(nn.Module):
    """The position-wise feed-forward network, four times as wide inside."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.c_fc = Conv1D(4 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, 4 * config.n_embd)
        self.act = ACT_FNS[config.afn]
        self.resid_pdrop = config.resid_pdrop

    def forward(self, x: Tensor, seed: Tensor | None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
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

    def forward(
        self,
        x: Tensor,
        allowed: Tensor | None = None,
        seed: Tensor | None = None,
        cache: KVCache | None = None,
        layer: int = 0,
        attentions: list[Tensor] | None = None,
    ) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        n = self.ln_1(x + self.attn(x, allowed, seed, cache, layer, attentions))
        out: Tensor = self.ln_2(n + self.mlp(n, seed))
        return out


class OpenAIGPTModel(OpenAIGPTPreTrainedModel):
    """Token ids to hidden states."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.tokens_embed = nn.Embedding(config.vocab_size, config.n_embd)
        self.positions_embed = nn.Embedding(config.n_positions, config.n_embd)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KVCache | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> BaseModelOutput:
        """Run the blocks.

        Args:
            input_ids: (B, T), int64, each below vocab_size. This or inputs_embeds.
            attention_mask: (B, S) 1 or True for tokens, 0 for padding, S counting cached positions
                too; or (B, T, S) or (B, 1 or n_head, T, S), True where a query may see a key. The
                causal mask is always applied as well.
            token_type_ids: (B, T) rows of the token embedding to add.
            position_ids: (B, T) or (T,); by default 0, 1, ... after what the cache holds.
            inputs_embeds: (B, T, C) in place of input_ids.
            past_key_values: A cache to read and to extend.
            output_attentions: Also return the probabilities, before dropout, in (T, S) memory.
            output_hidden_states: Also return the embeddings and each block's output.

        Raises:
            ContextTooLong: T and what the cache holds exceed n_positions.
            TokenOutOfRange: an id without a row (CPU tensors, outside compile and export).
            ConfigError: both or neither of input_ids and inputs_embeds, or a mask of another shape.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ConfigError(
                "give one of input_ids and inputs_embeds; "
                f"{'neither' if input_ids is None else 'both'} given",
                hint="pass token ids as input_ids, or their embeddings as inputs_embeds",
            )
        given = input_ids if input_ids is not None else inputs_embeds
        assert given is not None  # one of the two, checked above
        T = given.shape[1]
        self._check_length(T, past_key_values)
        if position_ids is None and past_key_values is not None:
            position_ids = past_key_values.positions(T)
        elif position_ids is None:
            position_ids = torch.arange(T, device=given.device)[None]
        else:
            check_rows(position_ids, self.positions_embed, "position id")
        if input_ids is not None:
            check_rows(input_ids, self.tokens_embed, "token id")
            inputs_embeds = self.tokens_embed(input_ids)
        assert inputs_embeds is not None
        hidden = inputs_embeds + self.positions_embed(position_ids)
        if token_type_ids is not None:
            check_rows(token_type_ids, self.tokens_embed, "token type id")
            hidden = hidden + self.tokens_embed(token_type_ids)
        seed = draw_seed(hidden.device) if self.training else None
        hidden = dropout(hidden, self.config.embd_pdrop, seed, 0)
        if torch.is_autocast_enabled(hidden.device.type):  # keeps the residual stream narrow
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        allowed = _combine(attention_mask, T, past_key_values, hidden.device)

        states = [hidden]
        attentions: list[Tensor] | None = [] if output_attentions else None
        for layer, block in enumerate(self.h):
            site_seed = None if seed is None else seed + (layer + 1) * _SITES_PER_BLOCK
            hidden = block(hidden, allowed, site_seed, past_key_values, layer, attentions)
            states.append(hidden)
        if past_key_values is not None:
            past_key_values.advance(T)
        return BaseModelOutput(
            last_hidden_state=hidden,
            past_key_values=past_key_values,
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=None if attentions is None else tuple(attentions),
        )

    def _check_length(self, length: int, cache: KVCache | None) -> None:
        if cache is not None:
            cache.check_room(length)
        elif length > self.config.n_positions:
            raise ContextTooLong(
                f"{length} tokens were given; the model has {self.config.n_positions} positions",
                hint="shorten the input, or cut it into windows",
            )


def check_rows(ids: Tensor, table: nn.Embedding, what: str) -> None:
    """Check on the host, outside compile and export, that every id has a row in `table`.

    Raises:
        TokenOutOfRange: one has not.
    """
    if ids.device.type != "cpu" or torch.compiler.is_compiling() or ids.numel() == 0:
        return
    low, high = (int(value) for value in torch.aminmax(ids))
    rows = table.num_embeddings
    if low < 0 or high >= rows:
        raise TokenOutOfRange(
            f"{what} {low if low < 0 else high} was given; the model has 0 to {rows - 1}",
            hint="check that tokenizer and model belong together, and the length of the input",
        )


def _combine(
    mask: Tensor | None, T: int, cache: KVCache | None, device: torch.device
) -> Tensor | None:
    """The caller's mask and the causal one as one bool mask; None where causal is all there is."""
    allowed = None if cache is None else cache.allowed(T)
    if mask is None:
        return allowed
    S = T if cache is None else max(cache.starts()) + T
    if mask.ndim not in (2, 3, 4) or mask.shape[-1] != S or (mask.ndim > 2 and mask.shape[-2] != T):
        raise ConfigError(
            f"attention_mask has the shape {tuple(mask.shape)}; allowed: (B, {S}), (B, {T}, {S}) "
            f"or (B, heads, {T}, {S})",
            hint="give one value for each token, those in the cache included",
        )
    seen = mask.to(device=device, dtype=torch.bool)
    if seen.ndim == 2:  # (B, S) -> (B, 1, 1, S)
        seen = seen[:, None, None, :]
    elif seen.ndim == 3:  # (B, T, S) -> (B, 1, T, S)
        seen = seen[:, None]
    if allowed is None:
        allowed = torch.ones(T, S, dtype=torch.bool, device=device).tril(S - T)
    return seen & allowed
