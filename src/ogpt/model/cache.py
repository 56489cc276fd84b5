"""The KV cache: keys and values of earlier tokens, so that each token is processed once.

Its memory is allocated once, for sequences of n_positions tokens. torch.cat, which grows a cache by
one token at a time, would copy all of it at every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._pytree import KeyEntry, MappingKey, register_pytree_node

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, ContextTooLong
from ogpt.model.tensors import is_wrapped


class KVCache:
    """Keys and values of `rows` sequences of at most n_positions tokens: `past_key_values`.

    Rows may hold different numbers of tokens. A forward pass reads and writes the `active` rows
    only, each after the tokens that it holds. Every layer writes with `update`; then `advance`
    counts the new tokens.

    Args:
        config: Of the model; layers with pruned heads get fewer heads.
        rows: Number of sequences.
        dtype: Of the keys and values.
        device: Where they are stored.
    """

    is_compileable: ClassVar[bool] = False  # transformers' generate() compiles no step over it

    def __init__(
        self,
        config: OpenAIGPTConfig,
        rows: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        # Under the causal mask no later token changes the keys and values of an earlier one, in any
        # layer: they are computed once and kept.
        self.keys, self.values = (
            [
                torch.zeros(rows, heads, config.n_positions, width, dtype=dtype, device=device)
                for heads, width in self.layer_shapes(config)
            ]
            for _ in range(2)
        )
        self.device = torch.device(device)
        self.n_positions = config.n_positions
        self.lengths = [0] * rows
        self.active: Sequence[int] = list(range(rows))

    def __len__(self) -> int:
        """Number of layers (as Hugging Face's caches)."""
        return len(self.keys)

    @staticmethod
    def layer_shapes(config: OpenAIGPTConfig) -> list[tuple[int, int]]:
        """Heads of each layer, and the width of a head."""
        head_dim = config.n_embd // config.n_head
        pruned = getattr(config, "pruned_heads", None) or {}
        layers = range(config.n_layer)
        return [(config.n_head - len(pruned.get(layer, ())), head_dim) for layer in layers]

    def starts(self) -> list[int]:
        """Number of tokens that each active row holds."""
        return [self.lengths[row] for row in self.active]

    def check_input(self, rows: int, count: int) -> None:
        """Check an input of `rows` rows and `count` tokens against the active rows.

        Raises:
            ConfigError: their numbers differ.
            ContextTooLong: a row has no room for the new tokens.
        """
        if len(self.active) != rows:
            raise ConfigError(
                f"past_key_values hold {len(self.active)} rows and the input {rows}; they must be "
                "equal",
                hint="create a new cache for each batch",
            )
        longest = max(self.starts())
        if longest + count > self.n_positions:
            raise ContextTooLong(
                f"the cache holds {longest} tokens and the input {count}; the model's context "
                f"length is {self.n_positions}",
                hint="truncate the sequence, or call generate(), which uses a sliding window",
            )

    def positions(self, count: int) -> Tensor:
        """Positions of the next `count` tokens of the active rows, (rows or 1, count), int64."""
        starts = self.starts()
        steps = torch.arange(count, device=self.device)
        if _equal(starts):
            return (steps + starts[0])[None]
        return torch.tensor(starts, device=self.device)[:, None] + steps

    def allowed(self, count: int) -> Tensor | None:
        """Which positions the next `count` tokens may see, (rows or 1, 1, count, S), bool.

        S is the length of the longest row afterwards. None: the causal mask over an empty cache, or
        one token that sees all.
        """
        starts = self.starts()
        # without a mask the fused kernels are fastest
        if _equal(starts) and (count == 1 or starts[0] == 0):
            return None
        reach = torch.arange(max(starts) + count, device=self.device)
        return (reach <= self.positions(count)[..., None])[:, None]

    def update(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append (rows, n_head, T, head_dim) to each active row; return old and new together.

        The returned keys and values are (rows, n_head, S, head_dim), S the longest row.
        """
        starts, count = self.starts(), key.shape[-2]
        reach = max(starts) + count
        found = []
        for stores, new in ((self.keys, key), (self.values, value)):
            kept = new.detach()  # a cache outlives the graph of one forward pass
            if is_wrapped(new) and not is_wrapped(stores[layer]):
                stores[layer] = stores[layer] + new.new_zeros(())  # vmap: a row for each of its own
            store = stores[layer]
            if _is_run(self.active):
                held = store[self.active[0] : self.active[-1] + 1]  # a view: nothing is copied
                if _equal(starts):
                    held[:, :, starts[0] : reach] = kept
                else:
                    _put(kept, held, range(len(held)), starts)
                seen = held[:, :, :reach]
            else:
                _put(kept, store, self.active, starts)
                seen = store[list(self.active), :, :reach]
            if new.requires_grad:  # the new positions keep their gradient, the old ones have none
                seen = seen.clone()
                _put(new, seen, range(len(seen)), starts)
            found.append(seen)
        return found[0], found[1]

    # update() does not advance the lengths: every layer must write to the same positions

    def advance(self, count: int) -> None:
        """Count `count` more tokens in every active row, after all layers have written them."""
        for row in self.active:
            self.lengths[row] += count

    def copy(self, source: int, target: int) -> None:
        """Copy row `source` to row `target`."""
        length = self.lengths[source]
        for store in (*self.keys, *self.values):
            store[target, :, :length] = store[source, :, :length]
        self.lengths[target] = length

    # names of Hugging Face's caches

    def get_seq_length(self) -> int:
        """Number of tokens in the longest active row (Hugging Face's name)."""
        return max(self.starts())

    def crop(self, max_length: int) -> None:
        """Truncate every row to `max_length` tokens; the memory stays allocated.

        Args:
            max_length: Tokens to keep; if negative, the number of tokens to remove from each row
                (as in transformers).
        """
        if max_length < 0:
            self.lengths = [max(0, length + max_length) for length in self.lengths]
        else:
            self.lengths = [min(length, max_length) for length in self.lengths]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Replace row i by row beam_idx[i], for beam_idx (rows,), as beam search needs."""
        order = beam_idx.to(self.device)
        for store in (*self.keys, *self.values):
            store.copy_(store[order])
        self.lengths = [self.lengths[row] for row in order.tolist()]


# torch's tree of tensors: torch.export, vmap and tools that move outputs between devices use it


def register_cache(kind: type[KVCache]) -> None:
    """Make a cache a node of torch's trees: its tensors are the leaves, all else is constant."""
    register_pytree_node(
        kind,
        _flatten,
        partial(_unflatten, kind=kind),
        serialized_type_name=f"ogpt.{kind.__name__}",
        flatten_with_keys_fn=_flatten_with_keys,
    )
    torch.serialization.add_safe_globals([kind])  # so that torch.export.load reads one as an input


_Facts = list[Any]  # n_positions, lengths, active, and the number of layers


def _flatten(cache: KVCache) -> tuple[list[Tensor], _Facts]:
    facts = [cache.n_positions, list(cache.lengths), list(cache.active), len(cache)]
    return [*cache.keys, *cache.values], facts


def _flatten_with_keys(cache: KVCache) -> tuple[list[tuple[KeyEntry, Tensor]], _Facts]:
    leaves, facts = _flatten(cache)
    names = [(name, layer) for name in ("keys", "values") for layer in range(len(cache))]
    return [(MappingKey(name), leaf) for name, leaf in zip(names, leaves, strict=True)], facts


def _unflatten(leaves: Iterable[Any], facts: _Facts, kind: type[KVCache]) -> KVCache:
    cache = kind.__new__(kind)
    stores = list(leaves)
    cache.n_positions, lengths, active, layers = facts
    cache.lengths, cache.active = list(lengths), list(active)
    cache.keys, cache.values = stores[:layers], stores[layers:]
    cache.device = getattr(stores[0], "device", torch.device("cpu"))
    return cache


register_cache(KVCache)


def _is_run(rows: Sequence[int]) -> bool:
    return list(rows) == list(range(rows[0], rows[0] + len(rows)))


def _put(new: Tensor, store: Tensor, rows: Sequence[int], starts: Sequence[int]) -> None:
    """Write (N, n_head, T, head_dim) into rows of a store, each at its own start."""
    for part, row, start in zip(new, rows, starts, strict=True):
        store[row, :, start : start + part.shape[1]] = part


def _equal(starts: Sequence[int]) -> bool:
    # without a set: torch.compile would compile again for each number in it
    return all(start == starts[0] for start in starts)
