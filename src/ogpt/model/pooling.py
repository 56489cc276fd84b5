"""One vector for a whole sequence: which position, or which mean, stands for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError
from ogpt.model.cache import KVCache
from ogpt.model.dropout import draw_seed, dropout
from ogpt.model.inputs import Rows, mask_rows, tensor, whole_numbers
from ogpt.model.masks import pick

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    # Hugging Face's general names: here, unlike in afn, gelu is the exact function
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": torch.tanh,
}

_FIRST_SITE, _LAST_SITE = -1, -2  # of dropout; the transformer's count from 0


def kept_tokens(
    mask: Tensor | None, rows: Rows, n_head: int, cache: KVCache | None
) -> Tensor | None:
    """Which tokens of the input an attention mask keeps, (N, T) bool; None: it does not say.

    Only a mask with one value a token says so.

    Args:
        mask: The caller's; it counts cached tokens, too.
        rows: The shape of the input.
        n_head: Of the whole model.
        cache: That holds the input already.
    """
    if mask is None:
        return None
    if cache is not None:
        mask = mask.to(cache.device)
    kept = mask_rows(mask, rows, mask.shape[-1], n_head)
    if kept.ndim != 2:
        return None
    return pick(kept, None if cache is None else cache.positions(rows.T) - rows.T)


def last_kept(kept: Tensor) -> Tensor:
    """The position of the last token kept, (N,), for kept (N, T); 0 where none is."""
    places = torch.arange(kept.shape[1], device=kept.device)
    return (places * kept).argmax(-1)


def first_kept(kept: Tensor) -> Tensor:
    """The position of the first token kept, (N,), for kept (N, T); 0 where none is."""
    return kept.int().argmax(-1)


def at(hidden: Tensor, places: Tensor) -> Tensor:
    """The states (N, C) at one position a row, of hidden (N, T, C)."""
    index = places.to(hidden.device)[:, None, None].expand(-1, 1, hidden.shape[-1])
    return hidden.gather(1, index)[:, 0]


def check_places(places: Tensor, rows: Rows, name: str) -> Tensor:
    """One position a row as (N,), checked.

    Raises:
        ConfigError: another shape, no whole numbers, or a position outside the input (CPU tensors,
            outside compile).
    """
    if tuple(tensor(places, name).shape) not in (rows.leading, (rows.N,)):
        raise ConfigError(
            f"{name} has the shape {tuple(places.shape)}; allowed: {rows.leading}",
            hint="give one position for each choice",
        )
    flat = whole_numbers(places, name).reshape(rows.N)
    if flat.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = (int(value) for value in torch.aminmax(flat))
        if low < 0 or high >= rows.T:
            raise ConfigError(
                f"{name} holds {low if low < 0 else high}; allowed: 0 to {rows.T - 1}",
                hint="positions count from the left, padding included",
            )
    return flat


class OpenAIGPTSequenceSummary(nn.Module):
    """Pool, dropout, project, activate, dropout: what `config.summary_*` asks for.

    The classifier on the state of the `classify` token (paper, section 3.3) is the default.
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
            kept: (N, T) bool, the tokens that are no padding; None: all are none.
            cls_index: (N,) the position to take, for the type cls_index; None: the last kept one.
        """
        if kept is None:
            kept = torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device)
        if self.summary_type == "mean":
            weights = kept.to(hidden)[..., None]
            pooled = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
        elif self.summary_type == "first":
            pooled = at(hidden, first_kept(kept))
        elif self.summary_type == "last" or cls_index is None:
            pooled = at(hidden, last_kept(kept))
        else:
            pooled = at(hidden, cls_index)
        seed = draw_seed(hidden.device) if self.training else None
        out: Tensor = self.summary(dropout(pooled, self.first_dropout, seed, _FIRST_SITE))
        if self.activation is not None:
            out = self.activation(out)
        return dropout(out, self.last_dropout, seed, _LAST_SITE)
