"""The Decoder protocol over the native core.

All arguments (ids, slots, lengths, use after close) are checked before C reads them. A fork waits
until no core computes.
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.core_weights import Weights, load_core, unfit
from ogpt.decoding.native.library import PAGE, PRECISIONS, ROW, Core
from ogpt.errors import ConfigError, DecoderError
from ogpt.generation.protocol.decoder import Abilities, Computed, Part, Scores
from ogpt.generation.protocol.logits import Logits, top_k
from ogpt.generation.protocol.slots import (
    check_cut,
    check_open,
    check_parts,
    check_slot,
    check_targets,
)
from ogpt.generation.protocol.summaries import Summary, check_largest
from ogpt.processor import MOST_THREADS

_CHUNK_ROWS = 256  # rows of one pass: the L2 cache holds as many as inputs of a matrix product
_CHUNK_LOGITS = 2**23  # logits that `score` holds at the same time: 32 MiB


class NativeDecoder:
    """A Decoder that computes in C++ on the CPU, without a framework.

    Results are bit-identical for the same ids: alone and in any batch, with any number of threads,
    however the ids are cut into calls, and in every slot. They depend on the dtype and the kernels.

    Args:
        config: Configuration of the model.
        arrays: Weights by name, in any floating-point dtype (`ogpt.weights`). Each is read once.
        dtype: Dtype of the packed weights: float32, bfloat16, int8 or int4.
        cache_dtype: Dtype of the KV cache: float32 or bfloat16.
        slots: Number of sequences held at the same time.
        threads: Number of threads that compute, including the caller's. The others sleep between
            calls.

    Attributes:
        dtype: As passed.
        kernels: The instruction set in use, one of `library.KERNELS`.
        nbytes: Memory of the weights and the KV cache in bytes.

    Raises:
        BackendMissing: the library is not built.
        ConfigError: a value outside its range, a model that the core does not support, or an
            OGPT_KERNELS that is not in `library.KERNELS`.
        DecoderError: the CPU does not have the kernels, or there is too little memory.
        WeightsError: weights missing, of another shape, or not finite.
    """

    def __init__(
        self,
        config: OpenAIGPTConfig,
        arrays: Weights,
        *,
        dtype: str = "float32",
        cache_dtype: str = "float32",
        slots: int = 1,
        threads: int = 1,
    ) -> None:
        for name, value, allowed in (
            ("dtype", dtype, PRECISIONS),
            ("cache_dtype", cache_dtype, PRECISIONS[:2]),
        ):
            if value not in allowed:
                raise ConfigError(
                    f"{name} is {value!r}; allowed: {', '.join(allowed)}",
                    hint="pass one of these",
                )
        if not 1 <= threads <= MOST_THREADS:
            raise ConfigError(
                f"threads is {threads}; allowed: 1 to {MOST_THREADS}",
                hint="pass the number of cores or fewer: more threads are slower",
            )
        if slots < 1:
            raise ConfigError(f"slots is {slots}; allowed: 1 or more", hint="omit it to use 1")
        if why := unfit(config):
            raise ConfigError(
                f"the native decoder cannot run this model: {why}",
                hint="use --decoder torch",
            )
        self._core: Core | None = load_core(
            config,
            arrays,
            precision=dtype,
            slots=slots,
            threads=threads,
            half_cache=cache_dtype == "bfloat16",
        )
        self.n_positions = config.n_positions
        self.vocab_size = config.vocab_size
        self.slots = slots
        self.dtype = dtype
        self.kernels = self._core.kernels
        self.nbytes = self._core.nbytes
        self._lengths = [0] * slots
        self._lock = threading.RLock()  # the core serves one caller at a time
        of = weakref.proxy(self)  # a reference to itself would keep the decoder alive
        self.abilities = Abilities(
            hidden_states=True,
            attentions=False,
            device_sampling=False,
            bitwise=True,
            page=PAGE,
            summarize=lambda logits: of._summarize(logits),
        )
        _OPEN.add(self)

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        """Append tokens to slots; see Decoder."""
        with self._lock:
            core, parts = self._opened(), self._checked(parts)
            rows, wanted = self._rows(parts), _wanted_rows(parts)
            logits = np.empty((len(wanted), self.vocab_size), np.float32)
            states = np.empty((len(rows), core.shape.n_embd), np.float32) if hidden else None
            done = 0
            for first in range(0, len(rows), _CHUNK_ROWS):
                chunk = slice(first, first + _CHUNK_ROWS)
                end = bisect_left(
                    wanted, chunk.stop
                )  # NumPy's would give up the interpreter's lock
                core.run(
                    rows[chunk],
                    wanted[done:end] - np.int32(first),
                    logits[done:end],
                    None if states is None else states[chunk],
                )
                done = end
            self._advance(parts)
        if states is None:
            return Computed(logits)
        ends = np.cumsum([len(part.ids) for part in parts])
        return Computed(logits, tuple(np.split(states, ends[:-1])))

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and score `targets`; see Decoder."""
        labels = check_targets(ids, targets, top, self.vocab_size)
        scores = Scores(
            np.empty(len(ids), np.float32),
            np.empty((len(ids), top), np.int64),
            np.empty((len(ids), top), np.float32),
        )
        step = max(1, min(_CHUNK_ROWS, _CHUNK_LOGITS // self.vocab_size))
        with self._lock:
            core, parts = self._opened(), self._checked([Part(slot, ids)])
            rows = self._rows(parts)
            for first in range(0, len(rows), step):
                chunk = rows[first : first + step]
                logits = np.empty((len(chunk), self.vocab_size), np.float32)
                core.run(chunk, np.arange(len(chunk), dtype=np.int32), logits, None)
                normalizers = self._summarize(logits).normalizers
                for place, (row, total) in enumerate(zip(logits, normalizers, strict=True), first):
                    _score(row, total, labels[place], scores, place)
            self._advance(parts)
        return scores

    def length(self, slot: int) -> int:
        """Number of tokens in the slot."""
        self._opened()
        return self._lengths[check_slot(slot, self.slots)]

    def truncate(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of the slot."""
        with self._lock:
            self._lengths[slot] = check_cut(slot, length, self.length(slot))
            self._opened().truncate(slot, self._lengths[slot])

    def copy(self, source: int, target: int) -> None:
        """Make the target slot equal to the source slot."""
        with self._lock:
            held, _ = self.length(source), self.length(target)
            if source != target:
                self._opened().copy(source, target, held)
                self._lengths[target] = held

    def free(self, slot: int) -> None:
        """Empty the slot."""
        self.truncate(slot, 0)

    def close(self) -> None:
        """Release memory and threads; a second call does nothing."""
        with self._lock:
            if self._core is not None:
                self._core.close()
            self._core = None

    def _opened(self) -> Core:
        check_open(self._core is not None)
        assert self._core is not None
        return self._core

    def _checked(self, parts: Sequence[Part]) -> list[Part]:
        return check_parts(parts, self._lengths, self.n_positions, self.vocab_size)

    def _rows(self, parts: Sequence[Part]) -> NDArray[np.void]:
        """The tokens of all parts, one row each, as the core reads them."""
        numbers: list[int] = []
        for slot, ids, _ in parts:
            for position, token in enumerate(ids, self._lengths[slot]):
                numbers += (token, slot, position)
        return np.array(numbers, np.int32).view(ROW)

    def _advance(self, parts: Sequence[Part]) -> None:
        """Add the tokens of all parts to the lengths; before this an error changes no slot."""
        for part in parts:
            self._lengths[part.slot] += len(part.ids)

    def _summarize(self, logits: Logits) -> Summary:
        """Implements `Abilities.summarize`. A row is bit-identical alone and among others."""
        rows = np.ascontiguousarray(logits, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.vocab_size:
            raise DecoderError(
                f"logits have shape {rows.shape}; allowed: (N, {self.vocab_size})",
                hint="pass logits of this decoder",
            )
        with self._lock:
            found = self._opened().summarize(rows)
        for largest in found["largest"][~np.isfinite(found["largest"])]:
            check_largest(largest)
        return Summary(found["best"].astype(np.intp), found["log_sum"])


def _wanted_rows(parts: Sequence[Part]) -> NDArray[np.int32]:
    """The places of the rows whose logits are wanted, in ascending order."""
    wanted: list[int] = []
    end = 0
    for _, ids, want in parts:
        first, end = end, end + len(ids)
        if want != "none":
            wanted += range(first if want == "all" else end - 1, end)
    return np.array(wanted, np.int32)


def _score(
    row: NDArray[np.float32], total: np.float64, target: int, scores: Scores, place: int
) -> None:
    """Fill in the scores of one row of logits. Of equal logits the lower id comes first."""
    scores.log_probs[place] = row[target] - total
    top = scores.top_ids.shape[1]
    if top:
        ids = top_k(row, top)
        best = ids[np.argsort(-row[ids], kind="stable")]
        scores.top_ids[place] = best
        scores.top_log_probs[place] = row[best] - total


_OPEN: weakref.WeakSet[NativeDecoder] = weakref.WeakSet()
_fork = threading.Lock()  # one thread forks at a time
_held: list[NativeDecoder] = []  # decoders whose locks the fork holds


def _before_fork() -> None:
    """Wait for every core to finish, so that none is in the middle of a pass in the child."""
    _fork.acquire()
    for decoder in list(_OPEN):
        decoder._lock.acquire()
        _held.append(decoder)


def _after_fork() -> None:
    while _held:
        _held.pop()._lock.release()
    _fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )
