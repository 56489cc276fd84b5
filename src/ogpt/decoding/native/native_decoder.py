"""The Decoder protocol over the native core.

Whatever a caller could get wrong (ids, slots, positions, use after close) is refused before C sees
it; a fork waits until no core computes.
"""

from __future__ import annotations

import operator
import os
import threading
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.native.core_weights import Weights, load_core, unfit
from ogpt.decoding.native.library import PRECISIONS, ROW, Core
from ogpt.errors import ConfigError, ContextTooLong, DecoderError, TokenOutOfRange
from ogpt.generation.choosing.processors import Logits
from ogpt.generation.protocol.decoder import Abilities, Scores, Want
from ogpt.generation.protocol.summaries import Summary, check_largest

MOST_THREADS = 1024

_CHUNK_ROWS = 256  # tokens read at once: as inputs of a product, the second cache holds so many
_CHUNK_LOGITS = 2**23  # logits scored at once


class NativeDecoder:
    """A Decoder that computes in C++ on the CPU, without a framework.

    The same ids give the same bits: alone or in a batch, at any number of threads, in whatever
    pieces they are appended, in every slot. It depends on the dtype and on the kernels.

    Args:
        config: Of the model.
        arrays: Its weights by name, in any floating-point dtype (`ogpt.weights`); read once.
        dtype: Of the packed weights: float32, bfloat16, int8 or int4.
        cache_dtype: Of keys and values: float32 or bfloat16.
        slots: Sequences held at once.
        threads: That compute, the caller's among them; the others sleep between calls.

    Attributes:
        dtype: As given.
        kernels: The instruction set in use, one of `library.KERNELS`.
        nbytes: Memory of weights and cache.

    Raises:
        BackendMissing: the library is not built.
        ConfigError: a value outside its range, a model that the core does not know, or OGPT_KERNELS
            names no kernels.
        DecoderError: the processor lacks the kernels, or memory cannot be had.
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
                    hint="choose one of these",
                )
        if not 1 <= threads <= MOST_THREADS:
            raise ConfigError(
                f"threads is {threads}; allowed: 1 to {MOST_THREADS}",
                hint="more threads than cores make it slower",
            )
        if slots < 1:
            raise ConfigError(
                f"slots is {slots}; allowed: 1 or more", hint="leave it at its default"
            )
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
        self._appended: dict[int, NDArray[np.float32]] = {}  # slot -> last hidden states (T, C)
        self._lock = threading.RLock()  # the core serves one caller at a time
        of = weakref.proxy(self)  # or it would hold itself
        self.abilities = Abilities(
            hidden_states=True,
            attentions=False,
            device_sampling=False,
            bitwise=True,
            summarize=lambda logits: of._summarize(logits),
        )
        _OPEN.add(self)

    def extend(self, slot: int, ids: Sequence[int], want: Want = "last") -> Logits | None:
        """Append `ids` to the slot; see Decoder."""
        with self._lock:
            rows = self._rows([slot], [ids])
            wanted = {"none": [], "last": [len(rows) - 1], "all": range(len(rows))}[want]
            logits = self._read([slot], rows, wanted)
        if want == "none":
            return None
        return logits[0] if want == "last" else logits

    def read(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Logits:
        """Append to each slot ids of its own; see Decoder."""
        with self._lock:
            rows = self._rows(slots, prompts)
            return self._read(slots, rows, _last_places(rows))

    def step(self, slots: Sequence[int], ids: Sequence[int]) -> Logits:
        """Append one token to each slot; see Decoder."""
        with self._lock:
            rows = self._rows(slots, [[token] for token in ids])
            return self._read(slots, rows, range(len(rows)))

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and score `targets`; see Decoder."""
        if len(targets) != len(ids):
            raise DecoderError(
                f"{len(targets)} targets were given for {len(ids)} ids; one for each is needed",
                hint="pass the token that follows each id",
            )
        if not 0 <= top <= self.vocab_size:
            raise DecoderError(
                f"the {top} most likely tokens were asked for; there are {self.vocab_size}",
                hint=f"choose 0 to {self.vocab_size}",
            )
        labels = self._checked(targets)
        scores = Scores(
            np.empty(len(ids), np.float32),
            np.empty((len(ids), top), np.int64),
            np.empty((len(ids), top), np.float32),
        )
        step = max(1, min(_CHUNK_ROWS, _CHUNK_LOGITS // self.vocab_size))
        with self._lock:
            rows = self._rows([slot], [ids])
            hidden = self._hidden_of(rows)
            for first in range(0, len(rows), step):
                part = rows[first : first + step]
                logits = np.empty((len(part), self.vocab_size), np.float32)
                self._run(part, range(len(part)), logits, hidden[first : first + step])
                normalisers = self._summarize(logits).normalisers
                for place, (row, total) in enumerate(zip(logits, normalisers, strict=True), first):
                    _score(row, total, labels[place], scores, place)
            self._keep([slot], rows, hidden)
        return scores

    def hidden(self, slot: int) -> NDArray[np.float32]:
        """Last hidden states of what the last call appended to the slot; see Decoder."""
        with self._lock:
            self._opened()
            if slot not in self._appended:
                raise DecoderError(
                    f"slot {slot} was asked for hidden states; the last call appended tokens to "
                    f"{list(self._appended) or 'no slot'}",
                    hint="ask for them right after extend, read, step or score",
                )
            return self._appended[slot]

    def length(self, slot: int) -> int:
        """Tokens that the slot holds."""
        self._opened()
        return self._lengths[self._slots([slot])[0]]

    def truncate(self, slot: int, length: int) -> None:
        """Rewind the slot."""
        with self._lock:
            held = self.length(slot)
            if not 0 <= length <= held:
                raise DecoderError(
                    f"slot {slot} cannot be cut to {length} tokens; it holds {held}",
                    hint=f"choose 0 to {held}",
                )
            self._lengths[slot] = operator.index(length)
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
        """Give memory and threads back; a second time does nothing."""
        with self._lock:
            if self._core is not None:
                self._core.close()
            self._core = None
            self._appended = {}

    def _opened(self) -> Core:
        if self._core is None:
            raise DecoderError("the decoder was used after it was closed", hint="open another one")
        return self._core

    def _rows(self, slots: Sequence[int], rows: Sequence[Sequence[int]]) -> NDArray[np.void]:
        """What is to be appended, one row after the other, as the core takes it; all checked."""
        self._opened()
        slots = self._slots(slots)
        counts = [len(row) for row in rows]
        if not counts or not all(counts) or len(rows) != len(slots):
            raise DecoderError(
                f"{len(rows)} rows, the shortest of {min(counts, default=0)} tokens, were given "
                f"for {len(slots)} slots; at least one token for each is needed",
                hint="pass as many tokens as slots, and no empty prompt",
            )
        ids = [self._checked(row) for row in rows]
        held = [self._lengths[slot] for slot in slots]
        for taken, count in zip(held, counts, strict=True):
            if taken + count > self.n_positions:
                raise ContextTooLong(
                    f"{taken} positions are taken and {count} tokens given; the model has "
                    f"{self.n_positions} positions",
                    hint="truncate the slot first; generate() slides by itself",
                )
        found = np.empty(sum(counts), ROW)
        found["token"] = np.concatenate(ids)
        found["slot"] = np.repeat(slots, counts)
        places = zip(held, counts, strict=True)
        found["position"] = np.concatenate([taken + np.arange(count) for taken, count in places])
        return found

    def _read(
        self, slots: Sequence[int], rows: NDArray[np.void], wanted: Sequence[int]
    ) -> NDArray[np.float32]:
        """Append the rows; return the logits of those wanted, which stand in order."""
        logits = np.empty((len(wanted), self.vocab_size), np.float32)
        hidden, done = self._hidden_of(rows), 0
        for first in range(0, len(rows), _CHUNK_ROWS):
            part = rows[first : first + _CHUNK_ROWS]
            places = [place - first for place in wanted if 0 <= place - first < len(part)]
            some = logits[done : done + len(places)]
            self._run(part, places, some, hidden[first : first + _CHUNK_ROWS])
            done += len(places)
        self._keep(slots, rows, hidden)
        return logits

    def _hidden_of(self, rows: NDArray[np.void]) -> NDArray[np.float32]:
        """Where the core leaves the last hidden states of rows, (T, C)."""
        self._appended = {}  # their memory first
        return np.empty((len(rows), self._opened().shape.n_embd), np.float32)

    def _run(
        self,
        rows: NDArray[np.void],
        wanted: Sequence[int],
        logits: NDArray[np.float32],
        hidden: NDArray[np.float32],
    ) -> None:
        self._opened().run(rows, np.array(wanted, np.int32), logits, hidden)

    def _summarize(self, logits: Logits) -> Summary:
        """As `Abilities.summarize`; of a row the same bits in any company."""
        rows = np.ascontiguousarray(logits, np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.vocab_size:
            raise DecoderError(
                f"logits of shape {rows.shape} were to be summarized; allowed: (N, "
                f"{self.vocab_size})",
                hint="pass logits that this decoder gave",
            )
        with self._lock:
            found = self._opened().summarize(rows)
        for largest in found["largest"][~np.isfinite(found["largest"])]:
            check_largest(largest)
        return Summary(found["best"].astype(np.intp), found["log_sum"])

    def _keep(
        self, slots: Sequence[int], rows: NDArray[np.void], hidden: NDArray[np.float32]
    ) -> None:
        """Remember what was appended; from here on the slots hold it."""
        starts = [last + 1 for last in _last_places(rows)[:-1]]
        for slot, states in zip(slots, np.split(hidden, starts), strict=True):
            self._appended[slot] = states
            self._lengths[slot] += len(states)

    def _slots(self, slots: Sequence[int]) -> list[int]:
        found = [operator.index(slot) for slot in slots]
        if len(set(found)) != len(found) or not all(0 <= slot < self.slots for slot in found):
            raise DecoderError(
                f"slots {found} were given; they must differ and lie in 0 to {self.slots - 1}",
                hint="open the decoder with more slots, or name each slot once",
            )
        return found

    def _checked(self, ids: Sequence[int]) -> list[int]:
        found = [operator.index(token) for token in ids]
        for place, token in enumerate(found):
            if not 0 <= token < self.vocab_size:
                raise TokenOutOfRange(
                    f"token id {token} at place {place}; ids go from 0 to {self.vocab_size - 1}",
                    hint="check that tokenizer and model belong together",
                )
        return found


def _last_places(rows: NDArray[np.void]) -> list[int]:
    """Of each slot's rows, the place of the last one."""
    return [*np.flatnonzero(np.diff(rows["slot"])).tolist(), len(rows) - 1]


def _score(
    row: NDArray[np.float32], total: np.float64, target: int, scores: Scores, place: int
) -> None:
    """Put the log-probabilities of one row of logits in their place; of equal ones, lower ids."""
    scores.log_probs[place] = row[target] - total
    top = scores.top_ids.shape[1]
    if top:
        least = np.partition(row, -top)[-top]
        candidates = np.flatnonzero(row >= least)
        best = candidates[np.argsort(-row[candidates], kind="stable")][:top]
        scores.top_ids[place] = best
        scores.top_log_probs[place] = row[best] - total


_OPEN: weakref.WeakSet[NativeDecoder] = weakref.WeakSet()
_fork = threading.Lock()  # one thread forks at a time
_held: list[NativeDecoder] = []  # those that it keeps from computing


def _before_fork() -> None:
    """Let every core finish what it computes, so that the child finds none half-way."""
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
