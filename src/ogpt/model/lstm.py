"""The paper's baseline: one layer of LSTM in place of the transformer (section 5, table 5).

ids -> token embeddings -> LSTM -> projection -> hidden states

The paper states 2048 units and no other detail. Tokens, heads, losses and decoders are the
transformer's. The state carries the order of the tokens, so there are no position embeddings, and
a token cannot choose what it sees: only padding can be masked.

Shapes as in transformer.py; U units of the LSTM.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.model.cache import KVCache
from ogpt.model.dropout import draw_seed, dropout
from ogpt.model.inputs import (
    InputShape,
    at_columns,
    check_context,
    check_tensor,
    input_shape,
    known_options,
    mask_rows,
    token_embeddings,
    type_embeddings,
)
from ogpt.model.lstm_cache import LSTMCache
from ogpt.model.outputs import BaseModelOutput
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel

_EMBD, _RESID = 0, 1  # numbers of the dropout layers


class LSTMBlock(nn.Module):
    """The recurrent layer, and the projection of its state to the width of the embedding."""

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.lstm = nn.LSTM(config.n_embd, config.lstm_units, batch_first=True)
        # so that the head can be tied to the embedding, as the transformer's is
        self.projection = nn.Linear(config.lstm_units, config.n_embd)

    def forward(self, x: Tensor, kept: Tensor | None, cache: LSTMCache | None) -> Tensor:
        """(N, T, C) -> (N, T, C); appends the states to the cache.

        Args:
            x: Token embeddings.
            kept: (N, T) bool, False for padding, which leaves the state unchanged.
            cache: States after the earlier tokens.
        """
        before = None if cache is None else cache.last()
        if kept is not None:  # the LSTM reads the kept tokens first, and the padding after them
            order = (~kept).long().argsort(dim=-1, stable=True)
            x = x.gather(1, order[..., None].expand_as(x))
        hidden, (_, cell) = self.lstm(x, before)  # (N, T, C) -> (N, T, U)
        if cache is None or before is None:
            hidden = hidden if kept is None else _in_place(hidden, kept)
        else:
            cells = cell.transpose(0, 1)  # (1, N, U) -> (N, 1, U)
            if x.shape[1] > 1:
                cells = self._cells(x, hidden, before)
            if kept is not None:
                hidden, cells = (
                    _in_place(hidden, kept, before[0]),
                    _in_place(cells, kept, before[1]),
                )
            cache.update(0, hidden[:, None], cells[:, None])
        out: Tensor = self.projection(hidden)  # (N, T, U) -> (N, T, C)
        return out

    def _cells(self, x: Tensor, hidden: Tensor, before: tuple[Tensor, Tensor]) -> Tensor:
        """The cell state after each token, (N, T, U).

        torch returns the last one only. All gates follow from the hidden states, in one matmul for
        all tokens; what is left of the recurrence is elementwise.
        """
        of_input, of_state, bias, more_bias = self.lstm.all_weights[0]
        earlier = torch.cat([before[0].transpose(0, 1), hidden[:, :-1]], 1)
        gates = F.linear(x, of_input, bias) + F.linear(earlier, of_state, more_bias)
        into, forget, new, _ = gates.chunk(4, -1)  # the last is the output gate
        added, kept = into.sigmoid() * new.tanh(), forget.sigmoid()
        cell, cells = before[1][0], []
        for t in range(x.shape[1]):
            cell = kept[:, t] * cell + added[:, t]
            cells.append(cell)
        return torch.stack(cells, 1)


def _in_place(states: Tensor, kept: Tensor, before: Tensor | None = None) -> Tensor:
    """Return states of kept tokens to their columns; padding gets the state of the token before.

    Args:
        states: (N, T, U), those of the kept tokens of a row first.
        kept: (N, T) bool.
        before: (1, N, U), the state before all of them; None: zeros.
    """
    N, _, U = states.shape
    first = states.new_zeros(N, 1, U) if before is None else before.transpose(0, 1)
    count = kept.cumsum(-1)[..., None].expand(-1, -1, U)
    return torch.cat([first, states], 1).gather(1, count)


class LSTMModel(OpenAIGPTPreTrainedModel):
    """Token ids to hidden states, with an LSTM in place of the transformer.

    >>> import torch
    >>> from ogpt import LSTMConfig, LSTMModel
    >>> model = LSTMModel(LSTMConfig(vocab_size=50, n_embd=16, lstm_units=24)).eval()
    >>> model(torch.tensor([[4, 8, 15]])).last_hidden_state.shape
    torch.Size([1, 3, 16])
    """

    config_class: ClassVar[type[LSTMConfig]] = LSTMConfig

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        assert isinstance(config, LSTMConfig)  # checked by Model
        self.units = config.lstm_units
        self.tokens_embed = nn.Embedding(config.vocab_size, config.n_embd)
        # named as the transformer's blocks: one layer to transfer, to freeze, to load
        self.h = nn.ModuleList([LSTMBlock(config)])
        self.post_init()

    def initialize(self, name: str, parameter: nn.Parameter) -> None:
        """Give a weight its initial values.

        The layer has no LayerNorm, so its weights are drawn by its width, as torch does. The forget
        gate starts open (Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Network
        Architectures", section 2.2).
        """
        units = self.units
        if "h.0." not in name:  # the embedding, or a head
            super().initialize(name, parameter)
        elif parameter.ndim == 1:
            parameter.zero_()
            if name.endswith("bias_ih_l0"):
                parameter[units : 2 * units] = 1.0  # torch's order: in, forget, new, out
        else:
            parameter.uniform_(-(units**-0.5), units**-0.5)

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
            input_ids: (B, T), int64, or any other axes before T. This or inputs_embeds.
            attention_mask: (B, S) 1 or True for tokens, 0 for padding, which leaves the state
                unchanged; S counts cached tokens too.
            token_type_ids: (B, T) ids whose token embeddings are added.
            position_ids: Refused, like head_mask and output_attentions: there is nothing that they
                could apply to.
            inputs_embeds: (B, T, C) in place of input_ids.
            head_mask: See position_ids.
            past_key_values: A cache of earlier tokens, to use and to extend.
            use_cache: Create a cache, and return it.
            output_attentions: See position_ids.
            output_hidden_states: Also return the embeddings and the output. Here and below None
                means: as set in the configuration.
            return_dict: False returns a tuple.
            **unknown: As in OpenAIGPTModel.

        Raises:
            ConfigError: an argument of attention, or a shape that does not fit.
            ContextTooLong: T and the cached tokens exceed n_positions.
            TokenOutOfRange: an id without an embedding (CPU tensors, outside compile and export).
            UnknownArgument: an argument that no model has.
        """
        config = self.config
        known_options(unknown, type(self).forward, config.parity.arguments)
        _refuse(position_ids=position_ids, head_mask=head_mask, output_attentions=output_attentions)
        shape = input_shape(input_ids, inputs_embeds, config.n_embd)
        recompute = self.gradient_checkpointing and self.training
        cache = self._cache(past_key_values, use_cache, shape, recompute)
        x = token_embeddings(self.tokens_embed, input_ids, inputs_embeds, shape)
        kept = None if attention_mask is None else _kept(attention_mask, shape, cache)
        if token_type_ids is not None:
            x = x + type_embeddings(self.tokens_embed, token_type_ids, shape)
        seed = draw_seed(x.device) if self.training else None
        x = dropout(x, config.embd_pdrop, seed, _EMBD)
        if self.gradient_checkpointing and self.training:
            states = self.run_block(self.h[0], 0, x, kept, cache)
        else:
            states = self.h[0](x, kept, cache)
        hidden = dropout(states, config.resid_pdrop, seed, _RESID)
        if cache is not None:
            cache.advance(shape.T)
        if output_hidden_states is None:
            output_hidden_states = config.output_hidden_states
        pair = shape.restore(x), shape.restore(hidden)
        out = BaseModelOutput(
            last_hidden_state=pair[1],
            past_key_values=cache,
            hidden_states=(shape.restore(x), shape.restore(hidden))
            if output_hidden_states
            else None,
        )
        if return_dict is None:
            return_dict = config.use_return_dict
        return out if return_dict else out.to_tuple()

    def new_cache(self, rows: int) -> LSTMCache:
        """An empty cache for `rows` sequences."""
        return LSTMCache(self.config, rows, self.dtype, self.device)

    def compile_blocks(self, dynamic: bool | None = None) -> None:
        """Do nothing: torch.compile leaves an LSTM to the library that runs its loop."""

    def _cache(
        self, given: KVCache | None, wanted: bool | None, shape: InputShape, recompute: bool
    ) -> LSTMCache | None:
        """The cache to use, checked.

        Raises:
            ConfigError: it is not of an LSTM, or as check_context.
            ContextTooLong: as check_context.
        """
        cache = self.new_cache(shape.N) if given is None and wanted else given
        check_context(cache, shape, self.config.n_positions, recompute)
        if isinstance(cache, LSTMCache | None):
            return cache
        raise ConfigError(
            f"past_key_values is a {type(cache).__name__} of a transformer; allowed: an LSTMCache",
            hint="pass use_cache=True to get a cache as past_key_values",
        )


def _refuse(**arguments: object) -> None:
    """Refuse arguments that a model without positions and attention has no use for."""
    for name, value in arguments.items():
        if value is not None and value is not False:
            raise ConfigError(
                f"{name} was passed; an LSTM has no positions and no attention",
                hint=f"omit {name}",
            )


def _kept(mask: Tensor, shape: InputShape, cache: LSTMCache | None) -> Tensor:
    """Which of the new tokens are no padding, (N, T) bool.

    Raises:
        ConfigError: a mask of another shape, such as one that hides some tokens from others.
    """
    S = shape.T if cache is None else cache.get_seq_length() + shape.T
    given = check_tensor(mask, "attention_mask")
    found = mask_rows(given, shape, S, 1)
    if found.ndim != 2:
        raise ConfigError(
            f"attention_mask has the shape {tuple(given.shape)}; allowed: {(shape.N, S)}",
            hint="an LSTM reads a text from its start: put each text into a row of its own",
        )
    return at_columns(found, None if cache is None else cache.positions(shape.T))
