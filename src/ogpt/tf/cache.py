"""The KV cache: keys and values of earlier tokens, so that each token is processed once.

Both caches are allocated once. That of the decoder has slots, which hold different numbers of
tokens; that of a compiled loop has rows, all of which write to the same column.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import tensorflow as tf
from keras import ops

from ogpt.config.model import OpenAIGPTConfig
from ogpt.tf.tensors import Size, Tensor


class TFKVCache(Protocol):
    """What attention needs of a cache."""

    def update(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values (N, n_head, T, head_dim); return old and new ones together.

        Those returned are (N, n_head, S, head_dim).
        """
        ...


def layer_heads(config: OpenAIGPTConfig) -> list[int]:
    """Number of heads of each layer that are not pruned."""
    layers = range(config.n_layer)
    return [config.n_head - len(config.pruned_heads.get(layer, ())) for layer in layers]


class TFSlotMemory:
    """Keys and values of `slots` sequences of at most n_positions tokens.

    Args:
        config: Of the model.
        slots: Number of sequences.
        dtype: Of the keys and values.
    """

    def __init__(self, config: OpenAIGPTConfig, slots: int, dtype: str) -> None:
        width = config.n_embd // config.n_head
        # (slots, P, n_head, head_dim): what one token writes lies together
        self.keys, self.values = (
            [
                tf.Variable(tf.zeros((slots, config.n_positions, heads, width), dtype), False)
                for heads in layer_heads(config)
            ]
            for _ in range(2)
        )

    def copy(self, source: Tensor, target: Tensor, length: Tensor) -> None:
        """Copy the first `length` tokens of a slot to another slot."""
        for store in (*self.keys, *self.values):
            tokens = store.gather_nd(_places(source[None], tf.range(length)[None]))
            store.scatter_nd_update(_places(target[None], tf.range(length)[None]), tokens)


class TFSlotCache:
    """The slots of one call, each of which appends T tokens.

    Args:
        memory: Of all slots.
        slots: (N,), int32.
        columns: (N, T), int32: where the new tokens are written.
        reach: Tokens of the longest slot afterwards, S.
    """

    def __init__(self, memory: TFSlotMemory, slots: Tensor, columns: Tensor, reach: Tensor) -> None:
        self._memory = memory
        self._written = _places(slots, columns)
        self._read = _places(slots, tf.tile(tf.range(reach)[None], (tf.size(slots), 1)))

    def update(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values; see TFKVCache."""
        found = []
        for store, new in ((self._memory.keys[layer], key), (self._memory.values[layer], value)):
            store.scatter_nd_update(self._written, tf.transpose(new, (0, 2, 1, 3)))
            found.append(tf.transpose(store.gather_nd(self._read), (0, 2, 1, 3)))
        return found[0], found[1]


def _places(slots: Tensor, columns: Tensor) -> Tensor:
    """(slot, column) of each token: (N,) and (N, T) -> (N, T, 2)."""
    rows = tf.broadcast_to(slots[:, None], tf.shape(columns))
    return tf.stack([rows, columns], axis=-1)


class TFLoopState(NamedTuple):
    """Keys and values of all layers, each (N, n_head, S, head_dim): a state of a loop."""

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]

    @classmethod
    def empty(cls, config: OpenAIGPTConfig, rows: Size, columns: Size, dtype: str) -> TFLoopState:
        """The state of rows without tokens."""
        width = config.n_embd // config.n_head
        shapes = [(rows, heads, columns, width) for heads in layer_heads(config)]
        return cls(*(tuple(tf.zeros(shape, dtype) for shape in shapes) for _ in range(2)))

    def rows(self, places: Tensor) -> TFLoopState:
        """The rows at these places: repeated for several continuations, or reordered for beams."""
        return TFLoopState(
            *(tuple(tf.gather(store, places) for store in stores) for stores in self)
        )


class TFLoopCache:
    """A state in use: all rows write at one column.

    Args:
        state: Before the pass; `state` of the cache is that after it.
        column: (), int32: of the first new token.
    """

    def __init__(self, state: TFLoopState, column: Tensor) -> None:
        self._keys, self._values = list(state.keys), list(state.values)
        self._column = column

    @property
    def state(self) -> TFLoopState:
        """The keys and values of all layers."""
        return TFLoopState(tuple(self._keys), tuple(self._values))

    def update(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append keys and values; see TFKVCache."""
        for stores, new in ((self._keys, key), (self._values, value)):
            # XLA writes in place, whatever the size of the store
            stores[layer] = ops.slice_update(stores[layer], (0, 0, self._column, 0), new)
        return self._keys[layer], self._values[layer]
