"""The keys and values of what was already read, in memory set aside once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ContextTooLong


class KVCache:
    """Keys and values of `rows` sequences of at most n_positions tokens.

    A forward pass reads and writes the `active` rows only, each from its own length on. The
    lengths advance by `advance`, once all layers have written.
    """

    def __init__(
        self,
        config: OpenAIGPTConfig,
        rows: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        head_dim = config.n_embd // config.n_head
        shape = (config.n_layer, rows, config.n_head, config.n_positions, head_dim)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.n_positions = config.n_positions
        self.lengths = [0] * rows
        self.active: Sequence[int] = range(rows)

    def starts(self) -> list[int]:
        """Length of each active row."""
        return [self.lengths[row] for row in self.active]

    def check_room(self, count: int) -> None:
        """Check that every active row has room for `count` more tokens.

        Raises:
            ContextTooLong: one has not.
        """
        longest = max(self.starts())
        if longest + count > self.n_positions:
            raise ContextTooLong(
                f"{longest} tokens are held and {count} more given; "
                f"the model has {self.n_positions} positions",
                hint="truncate the sequence first, or generate() slides for you",
            )

    def positions(self, count: int) -> Tensor:
        """Positions of the next `count` tokens of the active rows, (rows or 1, count), int64."""
        starts = self.starts()
        steps = torch.arange(count, device=self.keys.device)
        if len(set(starts)) == 1:
            return (steps + starts[0])[None]
        return torch.tensor(starts, device=self.keys.device)[:, None] + steps

    def allowed(self, count: int) -> Tensor | None:
        """Which cached positions the next `count` tokens may see; None: all, or plain causal.

        (rows or 1, 1, count, S), bool, S the longest row after writing.
        """
        starts = self.starts()
        if len(set(starts)) == 1 and (count == 1 or starts[0] == 0):
            return None
        reach = torch.arange(max(starts) + count, device=self.keys.device)
        return (reach <= self.positions(count)[..., None])[:, None]

    def update(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write (rows, n_head, T, head_dim) after each active row; return all up to the longest."""
        starts = self.starts()
        count = key.shape[-2]
        reach = max(starts) + count
        found = []
        for store, new in ((self.keys[layer], key), (self.values[layer], value)):
            if _is_run(self.active):
                held = store[self.active[0] : self.active[-1] + 1]
                if len(set(starts)) == 1:
                    held[:, :, starts[0] : reach] = new
                else:
                    for row, start in enumerate(starts):
                        held[row, :, start : start + count] = new[row]
                found.append(held[:, :, :reach])
            else:
                for row, start, part in zip(self.active, starts, new, strict=True):
                    store[row, :, start : start + count] = part
                found.append(store[list(self.active), :, :reach])
        return found[0], found[1]

    def advance(self, count: int) -> None:
        """Count `count` tokens as held by every active row."""
        for row in self.active:
            self.lengths[row] += count

    def copy(self, source: int, target: int) -> None:
        """Make row `target` equal to row `source`."""
        length = self.lengths[source]
        self.keys[:, target, :, :length] = self.keys[:, source, :, :length]
        self.values[:, target, :, :length] = self.values[:, source, :, :length]
        self.lengths[target] = length


def _is_run(rows: Sequence[int]) -> bool:
    return list(rows) == list(range(rows[0], rows[0] + len(rows)))
