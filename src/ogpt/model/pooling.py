"""One vector for a whole sequence: the hidden state of one position, or the mean of all."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.config.call_errors import refused
from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.cache import KVCache
from ogpt.model.dropout import draw_seed, dropout
from ogpt.model.inputs import InputShape, at_columns, check_tensor, integers, mask_rows
from ogpt.model.tensors import is_readable

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    # Hugging Face's general names: here, unlike in afn, "gelu" is the exact (erf) function
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}

_FIRST_SITE, _LAST_SITE = -1, -2  # numbers of dropout layers; the transformer's start at 0


def kept_tokens(
    mask: Tensor | None, shape: InputShape, n_head: int, cache: KVCache | None
) -> Tensor | None:
    """The tokens of the input that an attention mask keeps, (N, T) bool.

    None if there is no mask with one value for each token.

    Args:
        mask: The caller's mask; it counts cached tokens too.
        shape: Of the input.
        n_head: Of the whole model, pruned heads included.
        cache: The cache after the forward pass, which holds the input.
    """
    if mask is None:
        return None
    if cache is not None:
        mask = mask.to(cache.device)
    kept = mask_rows(mask, shape, mask.shape[-1], n_head)
    if kept.ndim != 2:
        return None
    return at_columns(kept, None if cache is None else cache.positions(shape.T) - shape.T)


def last_kept(kept: Tensor) -> Tensor:
    """The position of the last kept token, (N,), for kept (N, T); 0 if none is kept."""
    positions = torch.arange(kept.shape[1], device=kept.device)
    return (positions * kept).argmax(-1)


def first_kept(kept: Tensor) -> Tensor:
    """The position of the first kept token, (N,), for kept (N, T); 0 if none is kept."""
    return kept.int().argmax(-1)


def states_at(hidden: Tensor, positions: Tensor) -> Tensor:
    """The hidden states (N, C) at one position of each row, for hidden (N, T, C)."""
    index = positions.to(hidden.device)[:, None, None].expand(-1, 1, hidden.shape[-1])
    return hidden.gather(1, index)[:, 0]


def check_positions(positions: Tensor, shape: InputShape, name: str) -> Tensor:
    """One position for each row as (N,), checked.

    Raises:
        ConfigError: another shape, no integers, or a position outside the input (CPU tensors,
            outside compile).
    """
    if tuple(check_tensor(positions, name).shape) not in (shape.leading, (shape.N,)):
        found = tuple(positions.shape)
        raise refused("position-shape", name=name, shape=found, allowed=shape.leading)
    flat = integers(positions, name).reshape(shape.N)
    if is_readable(flat):
        low, high = (int(value) for value in torch.aminmax(flat))
        if low < 0 or high >= shape.T:
            value = low if low < 0 else high
            raise refused("no-position", name=name, value=value, last=shape.T - 1)
    return flat


class OpenAIGPTSequenceSummary(nn.Module):
    """Pool, dropout, project, activate, dropout, as set in `config.summary_*`.

    The default is the linear classifier on the hidden state of the last token (paper, section 3.3).
    """

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__()
        self.summary_type = config.summary_type
        self.first_dropout = config.summary_first_dropout
        self.last_dropout = getattr(config, "summary_last_dropout", 0.0)
        self.activation = _ACTIVATIONS.get(config.summary_activation or "")
        if config.summary_use_proj:
            out = 1 if config.summary_proj_to_labels else config.n_embd
            self.summary = nn.Linear(config.n_embd, out)
        else:
            self.summary = nn.Identity()  # type: ignore[assignment]  # as in Hugging Face: no weights

    def forward(
        self, hidden: Tensor, kept: Tensor | None = None, cls_index: Tensor | None = None
    ) -> Tensor:
        """(N, T, C) -> (N, 1), or (N, C) without a projection to labels.

        Args:
            hidden: (N, T, C).
            kept: (N, T) bool, False for padding; None: there is no padding.
            cls_index: (N,), the position for the type cls_index; None: the last kept one.
        """
        if kept is None:
            kept = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        if self.summary_type == "mean":
            weights = kept.to(hidden)[..., None]
            pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        elif self.summary_type == "first":
            pooled = states_at(hidden, first_kept(kept))
        elif self.summary_type == "last" or cls_index is None:
            pooled = states_at(hidden, last_kept(kept))
        else:
            pooled = states_at(hidden, cls_index)
        seed = draw_seed(hidden.device) if self.training else None
        out: Tensor = self.summary(dropout(pooled, self.first_dropout, seed, _FIRST_SITE))
        if self.activation is not None:
            out = self.activation(out)
        return dropout(out, self.last_dropout, seed, _LAST_SITE)
