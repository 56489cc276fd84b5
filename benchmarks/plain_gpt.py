"""A baseline as people write it themselves: GPT-1 in plain PyTorch, in the style of nanoGPT.

nn.Linear, PyTorch's attention with its dropout, full float32 logits. Nothing of ogpt is used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self, n_embd: int, n_head: int, pdrop: float) -> None:
        super().__init__()
        self.n_head, self.pdrop = n_head, pdrop
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.resid_dropout = nn.Dropout(pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        B, T, C = x.shape
        heads = (B, T, self.n_head, C // self.n_head)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.c_attn(x).split(C, dim=2))
        pdrop = self.pdrop if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=pdrop, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).reshape(B, T, C)))


class MLP(nn.Module):
    """Two linear layers; the inner width is 4 C."""

    def __init__(self, n_embd: int, pdrop: float) -> None:
        super().__init__()
        self.c_fc = nn.Linear(n_embd, 4 * n_embd)
        self.c_proj = nn.Linear(4 * n_embd, n_embd)
        self.dropout = nn.Dropout(pdrop)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))


class Block(nn.Module):
    """The norm comes after each sum, as in GPT-1."""

    def __init__(self, n_embd: int, n_head: int, pdrop: float) -> None:
        super().__init__()
        self.attn = Attention(n_embd, n_head, pdrop)
        self.ln_1 = nn.LayerNorm(n_embd)
        self.mlp = MLP(n_embd, pdrop)
        self.ln_2 = nn.LayerNorm(n_embd)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        n = self.ln_1(x + self.attn(x))
        return self.ln_2(n + self.mlp(n))


class PlainGPT(nn.Module):
    """Ids and targets to the mean loss."""

    def __init__(
        self,
        *,
        n_layer: int,
        n_head: int,
        n_embd: int,
        n_positions: int,
        vocab_size: int,
        pdrop: float,
    ) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "tokens_embed": nn.Embedding(vocab_size, n_embd),
                "positions_embed": nn.Embedding(n_positions, n_embd),
                "drop": nn.Dropout(pdrop),
                "h": nn.ModuleList(Block(n_embd, n_head, pdrop) for _ in range(n_layer)),
            }
        )
        self.lm_head = nn.Linear(n_embd, vocab_size, bias=False)
        self.lm_head.weight = self.transformer.tokens_embed.weight

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """(B, T), (B, T) -> ()."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.transformer.tokens_embed(ids) + self.transformer.positions_embed(positions)
        x = self.transformer.drop(x)
        for block in self.transformer.h:
            x = block(x)
        logits = self.lm_head(x).float()
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100)
