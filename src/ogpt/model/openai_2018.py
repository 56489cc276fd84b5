"""The forward pass of the 2018 code (train.py, model()), where it differs from the paper's.

There one matrix `we` held the rows of all tokens and then of all positions. Hence two quirks, which
change what fine-tuning learns: embedding dropout zeroes elements of that matrix, not of each
token's vector, and so of the output matrix too; and the softmax of the language model runs over
positions as well as tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt.errors import ContextTooLong
from ogpt.model.attention import visible
from ogpt.model.dropout import draw_seed, dropout
from ogpt.model.inputs import check_embedding_ids
from ogpt.model.transformer import OpenAIGPTModel, Pass

_TABLE_SITE = 0  # number of the dropout layer on the embeddings


class States2018(NamedTuple):
    """What the 2018 forward pass computes."""

    hidden: Tensor
    """(N, T, C) states after the last block."""
    table: Tensor
    """(vocab_size + n_ctx, C) rows of tokens and positions, after dropout: the output matrix."""


def states_2018(transformer: OpenAIGPTModel, ids: Tensor, n_ctx: int) -> States2018:
    """Run the transformer as the 2018 code does.

    Padding is not masked: it stands on the right, where the causal mask already hides it from the
    tokens. Only the losses skip it.

    Args:
        transformer: In training or evaluation mode.
        ids: (N, T) token ids, padded on the right.
        n_ctx: Context length, T to n_positions: the number of position rows in the table.

    Raises:
        ContextTooLong: n_ctx is not in that range.
        TokenOutOfRange: an id outside the vocabulary (CPU tensors, outside compile).
    """
    config, T = transformer.config, ids.shape[1]
    if not T <= n_ctx <= config.n_positions:
        raise ContextTooLong(
            f"n_ctx is {n_ctx} for sequences of {T} tokens; allowed: {T} to {config.n_positions}",
            hint="set n_ctx to the length of the longest sequence of all splits",
        )
    check_embedding_ids(ids, transformer.tokens_embed, "token id")
    seed = draw_seed(ids.device) if transformer.training else None
    positions = transformer.positions_embed.weight[:n_ctx]
    table = torch.cat([transformer.tokens_embed.weight, positions])
    table = dropout(table, config.embd_pdrop, seed, _TABLE_SITE)
    tokens = config.vocab_size
    hidden = F.embedding(ids, table) + table[tokens : tokens + T]
    if torch.is_autocast_enabled(hidden.device.type):  # as in OpenAIGPTModel.forward
        hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
    seen = visible(None, T, None, hidden, config.parity.masking)
    run = Pass(visible=seen, seed=seed, attention=transformer.attn_implementation)
    return States2018(transformer.run_blocks(hidden, run), table)
