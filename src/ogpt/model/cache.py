"""The keys and values of what was already read, in memory set aside once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ContextTooLong


class KVCache:
    """Keys and values of `rows` sequences of at most n_positions tokens: `past_key_values`.

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
        pruned = getattr(config, "pruned_heads", None) or {}
        heads = [config.n_head - len(pruned.get(layer, ())) for layer in range(config.n_layer)]
        self.keys, self.values = (
            [
                torch.zeros(rows, n_head, config.n_positions, head_dim, dtype=dtype, device=device)
                for n_head in heads
            ]
            for _ in range(2)
        )
        self.device = torch.device(device)
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
        steps = torch.arange(count, device=self.device)
        if len(set(starts)) == 1:
            return (steps + starts[0])[None]
        return torch.tensor(starts, device=self.device)[:, None] + steps

    def allowed(self, count: int) -> Tensor | None:
        """Which cached positions the next `count` tokens may see; None: all, or plain causal.

        (rows or 1, 1, count, S), bool, S the longest row after writing.
        """
        starts = self.starts()
        if len(set(starts)) == 1 and (count == 1 or starts[0] == 0):
            return None
        reach = torch.arange(max(starts) + count, device=self.device)
        return (reach <= self.positions(count)[..., None])[:, None]

    def update(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write (rows, n_head, T, head_dim) after each active row; return all up to the longest."""
        starts, count = self.starts(), key.shape[-2]
        reach = max(starts) + count
        found = []
        for store, new in ((self.keys[layer], key), (self.values[layer], value)):
            kept = new.detach()
            if _is_run(self.active):
                held = store[self.active[0] : self.active[-1] + 1]
                if len(set(starts)) == 1:
                    held[:, :, starts[0] : reach] = kept
                else:
                    _put(kept, held, range(len(held)), starts)
                seen = held[:, :, :reach]
            else:
                _put(kept, store, self.active, starts)
                seen = store[list(self.active), :, :reach]
            if new.requires_grad:  # the new positions keep their gradient
                seen = seen.clone()
                _put(new, seen, range(len(seen)), starts)
            found.append(seen)
        return found[0], found[1]

    def advance(self, count: int) -> None:
        """Count `count` tokens as held by every active row."""
        for row in self.active:
            self.lengths[row] += count

    def copy(self, source: int, target: int) -> None:
        """Make row `target` equal to row `source`."""
        length = self.lengths[source]
        for store in (*self.keys, *self.values):
            store[target, :, :length] = store[source, :, :length]
        self.lengths[target] = length

    def get_seq_length(self) -> int:
        """Tokens that the longest active row holds (Hugging Face's name)."""
        return max(self.starts())

    def crop(self, max_length: int) -> None:
        """Forget what lies beyond `max_length` tokens of every row; the memory stays.

        A negative number forgets so many tokens of each row (as in transformers).
        """
        if max_length < 0:
            self.lengths = [max(0, length + max_length) for length in self.lengths]
        else:
            self.lengths = [min(length, max_length) for length in self.lengths]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Make row i what row beam_idx[i] was, for a beam_idx (rows,)."""
        order = beam_idx.to(self.device)
        for store in (*self.keys, *self.values):
            store.copy_(store[order])
        self.lengths = [self.lengths[row] for row in order.tolist()]


def _is_run(rows: Sequence[int]) -> bool:
    return list(rows) == list(range(rows[0], rows[0] + len(rows)))


def _put(new: Tensor, store: Tensor, rows: Sequence[int], starts: Sequence[int]) -> None:
    """Write (N, n_head, T, head_dim) into rows of a store, each from its start on."""
    for part, row, start in zip(new, rows, starts, strict=True):
        store[row, :, start : start + part.shape[1]] = part
