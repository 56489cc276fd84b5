"""The Decoder protocol in TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ogpt.generation.protocol.decoder import Abilities, Computed, Part, Scores
from ogpt.generation.protocol.slots import (
    check_cut,
    check_open,
    check_parts,
    check_slot,
    check_targets,
)
from ogpt.tf.cache import TFSlotCache, TFSlotMemory
from ogpt.tf.language_model import TFLanguageModel
from ogpt.tf.tensors import Tensor

_CHUNK_ELEMENTS = 2**24  # logits held at the same time: 64 MiB in float32


class TensorFlowDecoder:
    """A Decoder over a model with a language-model head and a preallocated cache.

    Its steps are three graphs without fixed shapes, each traced once. They are not compiled by XLA,
    which would compile each number of slots and tokens again.

    Args:
        model: Of any Keras dtype policy.
        slots: Number of sequences held at the same time.
    """

    def __init__(self, model: TFLanguageModel, slots: int) -> None:
        self.model = model
        self.n_positions = model.config.n_positions
        self.vocab_size = model.config.vocab_size
        self.slots = slots
        self.abilities = Abilities(
            hidden_states=True, attentions=False, device_sampling=False, bitwise=False
        )
        self._memory: TFSlotMemory | None = TFSlotMemory(model.config, slots, model.compute_dtype)
        self._lengths = [0] * slots
        row, number = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        ids = tf.TensorSpec([None, None], tf.int32)
        states = tf.TensorSpec([None, model.config.n_embd], model.compute_dtype)
        self._append: Any = _graph(self._append_ids, row, ids, row)
        self._head = _graph(self._logits, states)
        self._copy: Any = _graph(self._memory.copy, number, number, number)

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        """Append tokens to slots; see Decoder."""
        parts = self._checked(parts)
        states: dict[int, Tensor] = {}  # slot -> last hidden states (T, C)
        steps = [part for part in parts if len(part.ids) == 1]
        if steps:  # parts of one token are one batch
            states.update(zip([part.slot for part in steps], self._read(steps), strict=True))
        for part in parts:
            if len(part.ids) > 1:
                states[part.slot] = self._read([part])[0]
        found = self._computed(parts, [states[part.slot] for part in parts], hidden)
        # Not before: after an error the slots are unchanged. What was written to the cache lies
        # beyond these lengths, where nothing reads it.
        self._advance(parts)
        return found

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and score `targets`; see Decoder."""
        labels = check_targets(ids, targets, top, self.vocab_size)
        parts = self._checked([Part(slot, ids)])
        states = self._read(parts)[0]
        chunk = max(1, _CHUNK_ELEMENTS // self.vocab_size)
        found = [
            self._score(states[first : first + chunk], labels[first : first + chunk], top)
            for first in range(0, len(labels), chunk)
        ]
        self._advance(parts)
        return Scores(*map(np.concatenate, zip(*found, strict=True)))

    def length(self, slot: int) -> int:
        """Number of tokens in the slot."""
        check_open(self._memory is not None)
        return self._lengths[check_slot(slot, self.slots)]

    def truncate(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of the slot."""
        self._lengths[slot] = check_cut(slot, length, self.length(slot))

    def copy(self, source: int, target: int) -> None:
        """Make the target slot equal to the source slot."""
        length, _ = self.length(source), self.length(target)
        if source != target:
            self._copy(*map(tf.constant, (source, target, length)))
        self._lengths[target] = length

    def free(self, slot: int) -> None:
        """Empty the slot."""
        self.truncate(slot, 0)

    def close(self) -> None:
        """Release the cache's memory; a second call does nothing."""
        self._memory = self._append = self._copy = None  # the graphs hold the memory too

    def _checked(self, parts: Sequence[Part]) -> list[Part]:
        check_open(self._memory is not None)
        return check_parts(parts, self._lengths, self.n_positions, self.vocab_size)

    def _advance(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self._lengths[part.slot] += len(part.ids)

    def _read(self, parts: Sequence[Part]) -> Tensor:
        """Append parts of equal length T; return their last hidden states (parts, T, C)."""
        slots = [part.slot for part in parts]
        starts = [self._lengths[slot] for slot in slots]
        ids = [list(part.ids) for part in parts]
        return self._append(*(tf.constant(values, tf.int32) for values in (slots, ids, starts)))

    def _append_ids(self, slots: Tensor, ids: Tensor, starts: Tensor) -> Tensor:
        """The pass of `_read`: (N,), (N, T) and (N,) -> (N, T, C)."""
        assert self._memory is not None  # traced before it is closed
        columns = starts[:, None] + tf.range(tf.shape(ids)[1])[None]
        reach = tf.reduce_max(columns) + 1
        seen = tf.range(reach)[None, None] <= columns[..., None]
        cache = TFSlotCache(self._memory, slots, columns, reach)
        return self.model.continued(ids, columns, seen[:, None], cache)

    def _logits(self, states: Tensor) -> Tensor:
        """(N, C) -> (N, V), float32 or float64."""
        logits = self.model.logits(states)
        return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)

    def _computed(self, parts: Sequence[Part], states: Sequence[Tensor], hidden: bool) -> Computed:
        """The result of a call, from the last hidden states (T, C) of each part."""
        rows = [
            state if part.want == "all" else state[-1:]
            for part, state in zip(parts, states, strict=True)
            if part.want != "none"
        ]
        wide = np.float64 if self.model.compute_dtype == "float64" else np.float32
        logits = np.empty((0, self.vocab_size), wide)
        if rows:
            logits = self._head(tf.concat(rows, 0)).numpy()
        wanted = tuple(tf.cast(state, wide).numpy() for state in states) if hidden else None
        return Computed(logits, wanted)

    def _score(
        self, states: Tensor, targets: Sequence[int], top: int
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """The fields of Scores for one chunk of hidden states (T, C)."""
        log_probs = tf.nn.log_softmax(tf.cast(self._head(states), tf.float32))
        best = tf.math.top_k(log_probs, top)
        chosen = tf.gather(log_probs, tf.constant(targets)[:, None], batch_dims=1)[:, 0]
        return chosen.numpy(), best.indices.numpy().astype(np.int64), best.values.numpy()


def _graph(function: Any, *signature: tf.TensorSpec) -> Any:
    """A graph that is traced once; AutoGraph would rewrite its Python code, which has no need."""
    return tf.function(function, input_signature=signature, autograph=False)
