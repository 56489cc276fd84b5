"""The Decoder protocol in static shapes: packed weights, one cache, steps that are captured once.

What a call computes is captured as a CUDA graph for each power of two of rows, and replayed: one
launch for a step of any number of slots, where PyTorch launches some 150 kernels. Long prompts are
read with fused attention; short ones are rows of a step. On a CPU, for tests and for the
deterministic mode, the same functions are called instead of replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.errors import ConfigError, DecoderError
from ogpt.generation.protocol.decoder import (
    Abilities,
    Computed,
    Draw,
    Part,
    Scores,
    Written,
)
from ogpt.generation.protocol.slots import (
    check_cut,
    check_open,
    check_parts,
    check_room,
    check_slots,
    check_targets,
)
from ogpt.model.cuda.cuda_graphs import Replayed, memory_pool
from ogpt.model.cuda.device_sampling import Draws, Kind, choose, kind_of, rows_of_draws
from ogpt.model.cuda.static_step import (
    Kernels,
    StepRows,
    new_cache,
    pass_of_prompt,
    pass_of_rows,
    torch_kernels,
)
from ogpt.model.cuda.static_weights import PRECISIONS, gather_weights, unfit
from ogpt.model.decoder.scores import score_hidden
from ogpt.model.decoder.states import computed, numpy_of
from ogpt.model.heads import OpenAIGPTLMHeadModel

_FEW = 128  # tokens of a prompt that are read as rows of a captured step: launches cost more
_FIXED_ROWS = 32  # least rows of the one shape of the deterministic decoder
_RUN = 32  # most steps between two copies to the host


class StaticDecoder:
    """A Decoder and DeviceSampler over a language model.

    Args:
        model: In evaluation mode, on a CPU or the current CUDA device, where Triton is needed; its
            weights are copied where they change.
        slots: Sequences held at once.
        precision: One of PRECISIONS; None: the model's dtype.
        deterministic: Run every token, of prompts too, as a row of one fixed shape, so that its
            logits are the same bits alone or in any batch and however its prompt was cut.

    Raises:
        ConfigError: the model is `unfit`, or the precision unknown.
        DecoderError: the device lacks memory for the slots.
    """

    def __init__(
        self,
        model: OpenAIGPTLMHeadModel,
        slots: int,
        *,
        precision: str | None = None,
        deterministic: bool = False,
    ) -> None:
        precision = precision or str(model.dtype).removeprefix("torch.")
        if why := unfit(model.config):
            raise ConfigError(
                f"the static decoder cannot run this model: {why}", hint="use TorchDecoder"
            )
        if precision not in PRECISIONS:
            raise ConfigError(
                f"precision is {precision!r}; allowed: {', '.join(PRECISIONS)}",
                hint="choose one of these; bfloat16 is fastest on a GPU",
            )
        self.n_positions = model.config.n_positions
        self.vocab_size = model.config.vocab_size
        self.slots = slots
        self.dtype = precision
        self.abilities = Abilities(
            hidden_states=True, attentions=False, device_sampling=True, bitwise=deterministic
        )
        self._weights = gather_weights(model, precision)
        self._device = model.device
        try:
            self._cache = new_cache(self._weights, slots + 1)  # one for rows that fill a shape up
        except RuntimeError as error:
            raise DecoderError(
                f"{slots} slots of {self.n_positions} tokens do not fit into the memory of "
                f"{self._device}: {error}",
                hint="open the decoder with fewer slots",
            ) from error
        self._lengths = [0] * slots
        self._open = True
        self._fixed = max(slots, _FIXED_ROWS) if deterministic else 0
        self._kernels = _kernels(self._device)
        self._pass = partial(pass_of_rows, self._weights, self._cache, kernels=self._kernels)
        self._shapes: dict[int, _Shape] = {}
        self._pool = memory_pool(self._device)

    @torch.inference_mode()
    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        """Append tokens to slots; see Decoder."""
        parts = self._checked(parts)
        if all(len(part.ids) == 1 and part.want != "none" for part in parts):
            found = self._step(parts, hidden)
        else:
            found = computed(parts, self._states(parts), self._head, self.vocab_size, hidden)
        for part in parts:  # last, so that an error leaves the slots as they were
            self._lengths[part.slot] += len(part.ids)
        return found

    @torch.inference_mode()
    def write(
        self,
        slots: Sequence[int],
        ids: Sequence[int],
        draws: Sequence[Draw],
        numbers: NDArray[np.float64],
    ) -> Written:
        """Append, choose, append what was chosen, and so on; see DeviceSampler."""
        steps, count = len(numbers), len(slots)
        if not steps or numbers.shape[1:] != (count,) or len(draws) != count or len(ids) != count:
            raise DecoderError(
                f"{len(ids)} ids, {len(draws)} draws and numbers of shape {numbers.shape} for "
                f"{count} slots; allowed: an id and a draw for each slot, and numbers of shape "
                f"(1 or more steps, {count})",
                hint="pass a row of random numbers for each step",
            )
        parts = self._checked([Part(slot, [token]) for slot, token in zip(slots, ids, strict=True)])
        for slot, _, _ in parts:
            check_room(self._lengths[slot], steps, self.n_positions)
        shape, kind = self._rows_of(parts), kind_of(draws)
        shape.set_draws(rows_of_draws(draws, self.vocab_size))
        choose_next = partial(self._choose, shape, kind)
        chosen = []
        for begin in range(0, steps, _RUN):
            some = numbers[begin : begin + _RUN]
            shape.set_numbers(some)
            for _ in some:
                shape.replay(kind, choose_next)
            chosen.append(shape.chosen(len(some), count))
        written = Written(*(np.concatenate(found) for found in zip(*chosen, strict=True)))
        if not np.isfinite(written.log_probs).all():
            raise DecoderError(
                "the log-probability of a token is NaN or infinite; allowed: finite numbers",
                hint="the weights hold NaN or infinite values: use another checkpoint",
            )
        for slot, _, _ in parts:
            self._lengths[slot] += steps
        return written

    @torch.inference_mode()
    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and score `targets`; see Decoder."""
        labels = check_targets(ids, targets, top, self.vocab_size)
        parts = self._checked([Part(slot, ids)])
        found = score_hidden(self._states(parts)[0], self._head, labels, self.vocab_size, top)
        self._lengths[slot] += len(ids)
        return found

    def length(self, slot: int) -> int:
        """Number of tokens in the slot."""
        check_open(self._open)
        return self._lengths[check_slots([slot], self.slots)[0]]

    def truncate(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of the slot."""
        self._lengths[slot] = check_cut(slot, length, self.length(slot))

    @torch.inference_mode()
    def copy(self, source: int, target: int) -> None:
        """Make the target slot equal to the source slot."""
        length, _ = self.length(source), self.length(target)
        self._cache[:, target, :length] = self._cache[:, source, :length]
        self._lengths[target] = length

    def free(self, slot: int) -> None:
        """Empty the slot."""
        self.truncate(slot, 0)

    def close(self) -> None:
        """Release weights, cache and CUDA graphs; a second call does nothing."""
        if self._open:
            self._open = False
            self._shapes.clear()
            del self._cache, self._pass, self._weights

    def _checked(self, parts: Sequence[Part]) -> list[Part]:
        check_open(self._open)
        return check_parts(parts, self._lengths, self.n_positions, self.vocab_size)

    def _step(self, parts: Sequence[Part], hidden: bool) -> Computed:
        """Compute parts of one token each, whose logits are all wanted: the usual step."""
        shape = self._rows_of(parts)
        states, logits = shape.replay("logits", partial(self._logits, shape))
        found = numpy_of(logits[: len(parts)])
        if not hidden:
            return Computed(found)
        return Computed(found, tuple(numpy_of(states[: len(parts), None])))

    def _states(self, parts: Sequence[Part]) -> list[Tensor]:
        """Write the parts to the cache; return the last hidden states (T, C) of each."""
        short = [part for part in parts if self._fixed or len(part.ids) <= _FEW]
        found = dict(zip([part.slot for part in short], self._states_of_rows(short), strict=True))
        for slot, ids, _ in parts:
            if slot not in found:
                given = torch.tensor(ids, device=self._device)
                start = self._lengths[slot]
                found[slot] = pass_of_prompt(self._weights, self._cache, slot, start, given)
        return [found[part.slot] for part in parts]

    def _states_of_rows(self, parts: Sequence[Part]) -> list[Tensor]:
        """The same, with each token as a row of a captured step."""
        rows = _rows(parts, self._lengths)
        most = self._fixed or max(self.slots, _FEW)
        found = []
        for begin in range(0, len(rows), most):
            some = rows[begin : begin + most]
            shape = self._shape(len(some))
            shape.set_rows(some)
            hidden = shape.replay("hidden", partial(self._pass, shape.rows))
            found.append(hidden[: len(some)].clone())  # the next replay overwrites it
        if not found:
            return []
        return list(torch.split(torch.cat(found), [len(part.ids) for part in parts]))

    def _rows_of(self, parts: Sequence[Part]) -> _Shape:
        """The shape for the tokens of all parts, filled with them."""
        rows = _rows(parts, self._lengths)
        shape = self._shape(len(rows))
        shape.set_rows(rows)
        return shape

    def _shape(self, count: int) -> _Shape:
        """The static tensors for `count` rows: of the least shape that holds them."""
        most = max(self.slots, _FEW)
        R = self._fixed or min(1 << (count - 1).bit_length(), most)
        if R not in self._shapes:
            self._shapes[R] = _Shape(R, self.slots, self._device, self._pool)
        return self._shapes[R]

    def _logits(self, shape: _Shape) -> tuple[Tensor, Tensor]:
        hidden = self._pass(shape.rows)
        return hidden, self._kernels.head(hidden, self._weights.head)

    def _choose(self, shape: _Shape, kind: Kind) -> None:
        _, logits = self._logits(shape)
        numbers = shape.numbers.index_select(0, shape.number)[0]
        shape.take(*choose(logits, shape.draws, numbers, kind))

    def _head(self, hidden: Tensor) -> Tensor:
        """Logits (N, V) of hidden states (N, C), in fixed shapes where the decoder has one."""
        if not self._fixed:
            return self._kernels.head(hidden, self._weights.head)
        parts = []
        for part in torch.split(hidden, self._fixed):
            filled = hidden.new_zeros(self._fixed, hidden.shape[1])
            filled[: len(part)] = part
            parts.append(self._kernels.head(filled, self._weights.head)[: len(part)])
        return torch.cat(parts)


def _kernels(device: torch.device) -> Kernels:
    """The fastest kernels for the device."""
    if device.type != "cuda":
        return torch_kernels()
    from ogpt.model.cuda.fused_step import fused_kernels

    return fused_kernels()


def _rows(parts: Sequence[Part], lengths: Sequence[int]) -> list[tuple[int, int, int]]:
    """(id, slot, position) of each token of the parts, in order."""
    return [
        (token, slot, lengths[slot] + place)
        for slot, ids, _ in parts
        for place, token in enumerate(ids)
    ]


class _Shape:
    """The static tensors of R rows, and what was captured over them.

    Rows beyond those asked for write to a slot of their own, whose number is that of the slots.
    """

    def __init__(self, R: int, slots: int, device: torch.device, pool: Any) -> None:
        self.R, self._slots, self._device, self._pool = R, slots, device, pool
        empty = partial(torch.zeros, device=device, dtype=torch.int64)
        self._rows = empty(3, R)
        self._rows[1] = slots
        self.rows = StepRows(*self._rows)
        self._draws = torch.ones(len(Draws._fields), R, dtype=torch.float64, device=device)
        self.draws = Draws(*self._draws)
        self.numbers = torch.zeros(_RUN, R, dtype=torch.float64, device=device)
        self.number = empty(1)  # of the step that is next
        self._ids = empty(_RUN, R)
        self._log_probs = torch.zeros(_RUN, R, device=device)
        self._replayed: dict[str, Replayed[Any]] = {}

    def set_rows(self, rows: Sequence[tuple[int, int, int]]) -> None:
        """Set the (id, slot, position) of the rows."""
        given = np.zeros((3, self.R), np.int64)
        given[1] = self._slots
        given[:, : len(rows)] = np.array(rows).T
        self._rows.copy_(torch.from_numpy(given))

    def set_draws(self, draws: NDArray[np.float64]) -> None:
        """Say how rows are drawn, (5, rows)."""
        self._draws[:, : draws.shape[1]] = torch.from_numpy(draws)

    def set_numbers(self, numbers: NDArray[np.float64]) -> None:
        """Give the random numbers (steps, rows) of the steps that follow."""
        given = np.zeros((len(numbers), self.R))
        given[:, : numbers.shape[1]] = numbers
        self.numbers[: len(given)] = torch.from_numpy(given)
        self.number.zero_()

    def take(self, ids: Tensor, log_probs: Tensor) -> None:
        """Keep what a step chose, and make it what the next one reads."""
        self._ids.index_copy_(0, self.number, ids[None])
        self._log_probs.index_copy_(0, self.number, log_probs[None])
        self.rows.ids.copy_(ids)
        self.rows.positions.add_(self.rows.slots < self._slots)
        self.number.add_(1)

    def chosen(self, steps: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What the steps chose, (steps, rows) each."""
        ids: NDArray[np.int64] = self._ids[:steps, :rows].to("cpu", copy=True).numpy()
        log_probs: NDArray[np.float32] = self._log_probs[:steps, :rows].to("cpu", copy=True).numpy()
        return ids, log_probs

    def replay(self, name: str, work: Callable[[], Any]) -> Any:
        """Call `work`, which is captured when it is first asked for under this name."""
        if name not in self._replayed:
            given = self._rows.clone()
            self._rows.zero_()
            self._rows[1] = self._slots  # nothing of a slot is touched meanwhile
            self._replayed[name] = Replayed(work, self._device, self._pool)
            self._rows.copy_(given)
            self.number.zero_()
        return self._replayed[name]()
