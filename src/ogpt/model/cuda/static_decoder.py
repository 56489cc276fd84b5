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
from ogpt.generation.choosing.processors import Logits
from ogpt.generation.protocol.decoder import Abilities, Draw, Scores, Want, Written
from ogpt.model.cuda.cuda_graphs import Replayed, memory_pool
from ogpt.model.cuda.device_sampling import Draws, Kind, choose, kind_of, rows_of_draws
from ogpt.model.cuda.static_step import (
    Parts,
    Rows,
    new_cache,
    pass_of_prompt,
    pass_of_rows,
    torch_parts,
)
from ogpt.model.cuda.static_weights import PRECISIONS, gather_weights, logits_of, unfit
from ogpt.model.decoder.scores import score_hidden
from ogpt.model.decoder.slots import (
    Appended,
    check_cut,
    check_ids,
    check_room,
    check_rows,
    check_slots,
    check_targets,
    numpy_of,
)
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
        self._appended = Appended()
        self._fixed = max(slots, _FIXED_ROWS) if deterministic else 0
        parts = _parts(self._device)
        self._pass = partial(pass_of_rows, self._weights, self._cache, parts=parts)
        self._shapes: dict[int, _Shape] = {}
        self._pool = memory_pool(self._device)

    @torch.inference_mode()
    def extend(self, slot: int, ids: Sequence[int], want: Want = "last") -> Logits | None:
        """Append `ids` to the slot; see Decoder."""
        self._check([slot], [ids])
        hidden = self._read(slot, ids)
        if want == "none":
            return None
        if want == "last":
            return numpy_of(self._head(hidden[-1:])[0])
        return numpy_of(self._head(hidden))

    @torch.inference_mode()
    def read(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Logits:
        """Append to each slot ids of its own; see Decoder."""
        self._check(slots, prompts)
        hidden = [self._read(slot, ids) for slot, ids in zip(slots, prompts, strict=True)]
        self._appended = Appended(list(slots), hidden)
        return numpy_of(self._head(torch.stack([states[-1] for states in hidden])))

    @torch.inference_mode()
    def step(self, slots: Sequence[int], ids: Sequence[int]) -> Logits:
        """Append one token to each slot; see Decoder."""
        self._check(slots, [[token] for token in ids])
        shape = self._shape(len(slots))
        shape.set_rows(ids, slots, [self._lengths[slot] for slot in slots])
        hidden, logits = shape.replay("logits", partial(self._logits, shape))
        self._advance(slots, 1)
        self._appended = Appended(list(slots), hidden[:, None])
        return numpy_of(logits[: len(slots)])

    @torch.inference_mode()
    def write(
        self,
        slots: Sequence[int],
        ids: Sequence[int],
        draws: Sequence[Draw],
        numbers: NDArray[np.float64],
    ) -> Written:
        """Append, choose, append what was chosen, and so on; see DeviceSampler."""
        steps = len(numbers)
        if not steps or numbers.shape[1:] != (len(slots),) or len(draws) != len(slots):
            raise DecoderError(
                f"{len(draws)} draws and numbers {numbers.shape} were given for {len(slots)} "
                f"slots; a draw for each, and numbers (1 or more steps, {len(slots)}), are needed",
                hint="pass a row of random numbers for each step",
            )
        self._check(slots, [[token] for token in ids], steps)
        shape, kind = self._shape(len(slots)), kind_of(draws)
        shape.set_rows(ids, slots, [self._lengths[slot] for slot in slots])
        shape.set_draws(rows_of_draws(draws, self.vocab_size))
        choose_next = partial(self._choose, shape, kind)
        parts = []
        for begin in range(0, steps, _RUN):
            part = numbers[begin : begin + _RUN]
            shape.set_numbers(part)
            for _ in part:
                shape.replay(kind, choose_next)
            parts.append(shape.chosen(len(part), len(slots)))
        written = Written(*(np.concatenate(found) for found in zip(*parts, strict=True)))
        if not np.isfinite(written.log_probs).all():
            raise DecoderError(
                "the log-probability of a token is no finite number: the model's logits are not",
                hint="the weights hold NaN or infinite values: use another checkpoint",
            )
        self._advance(slots, steps)
        self._appended = Appended()
        return written

    @torch.inference_mode()
    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and score `targets`; see Decoder."""
        check_targets(ids, targets, self.vocab_size)
        self._check([slot], [ids])
        return score_hidden(self._read(slot, ids), self._head, targets, self.vocab_size, top)

    def hidden(self, slot: int) -> NDArray[np.floating[Any]]:
        """Last hidden states of what the last call appended to the slot; see Decoder."""
        return self._appended.of(slot)

    def length(self, slot: int) -> int:
        """Tokens that the slot holds."""
        check_slots([slot], self.slots)
        return self._lengths[slot]

    def truncate(self, slot: int, length: int) -> None:
        """Rewind the slot."""
        check_cut(slot, length, self.length(slot))
        self._lengths[slot] = length

    @torch.inference_mode()
    def copy(self, source: int, target: int) -> None:
        """Make the target slot equal to the source slot."""
        check_slots([source], self.slots)
        check_slots([target], self.slots)
        length = self._lengths[source]
        self._cache[:, target, :length] = self._cache[:, source, :length]
        self._lengths[target] = length

    def free(self, slot: int) -> None:
        """Empty the slot."""
        self.truncate(slot, 0)

    def close(self) -> None:
        """Give weights, cache and captured steps back."""
        self._shapes.clear()
        del self._cache, self._pass, self._weights

    def _check(self, slots: Sequence[int], rows: Sequence[Sequence[int]], steps: int = 0) -> None:
        check_slots(slots, self.slots)
        check_rows(slots, rows)
        for row in rows:
            check_ids(row, self.vocab_size)
        for slot, row in zip(slots, rows, strict=True):
            check_room(self._lengths[slot], steps or len(row), self.n_positions)

    def _advance(self, slots: Sequence[int], count: int) -> None:
        for slot in slots:
            self._lengths[slot] += count

    def _read(self, slot: int, ids: Sequence[int]) -> Tensor:
        """Append checked `ids` to the slot; return their last hidden states, (T, C)."""
        start = self._lengths[slot]
        if self._fixed or len(ids) <= _FEW:
            hidden = self._read_as_rows(slot, start, ids)
        else:
            given = torch.tensor(ids, device=self._device)
            hidden = pass_of_prompt(self._weights, self._cache, slot, start, given)
        self._advance([slot], len(ids))
        self._appended = Appended([slot], [hidden])
        return hidden

    def _read_as_rows(self, slot: int, start: int, ids: Sequence[int]) -> Tensor:
        most = self._fixed or _FEW
        parts = []
        for begin in range(0, len(ids), most):
            part = ids[begin : begin + most]
            shape = self._shape(len(part))
            first = start + begin
            shape.set_rows(part, [slot] * len(part), range(first, first + len(part)))
            hidden = shape.replay("hidden", partial(self._pass, shape.rows))
            parts.append(hidden[: len(part)].clone())  # the next part is computed in its place
        return torch.cat(parts)

    def _shape(self, count: int) -> _Shape:
        """The static tensors for `count` rows: of the least shape that holds them."""
        most = max(self.slots, _FEW)
        R = self._fixed or min(1 << (count - 1).bit_length(), most)
        if R not in self._shapes:
            self._shapes[R] = _Shape(R, self.slots, self._device, self._pool)
        return self._shapes[R]

    def _logits(self, shape: _Shape) -> tuple[Tensor, Tensor]:
        hidden = self._pass(shape.rows)
        return hidden, logits_of(hidden, self._weights.head)

    def _choose(self, shape: _Shape, kind: Kind) -> None:
        _, logits = self._logits(shape)
        numbers = shape.numbers.index_select(0, shape.number)[0]
        shape.take(*choose(logits, shape.draws, numbers, kind))

    def _head(self, hidden: Tensor) -> Tensor:
        """Logits (N, V) of hidden states (N, C), in fixed shapes where the decoder has one."""
        if not self._fixed:
            return logits_of(hidden, self._weights.head)
        parts = []
        for part in torch.split(hidden, self._fixed):
            filled = hidden.new_zeros(self._fixed, hidden.shape[1])
            filled[: len(part)] = part
            parts.append(logits_of(filled, self._weights.head)[: len(part)])
        return torch.cat(parts)


def _parts(device: torch.device) -> Parts:
    """What is best on the device."""
    if device.type != "cuda":
        return torch_parts()
    from ogpt.model.cuda.fused_step import fused_parts

    return fused_parts()


class _Shape:
    """The static tensors of R rows, and what was captured over them.

    Rows beyond those asked for write to a slot of their own, whose number is that of the slots.
    """

    def __init__(self, R: int, slots: int, device: torch.device, pool: Any) -> None:
        self.R, self._slots, self._device, self._pool = R, slots, device, pool
        empty = partial(torch.zeros, device=device, dtype=torch.int64)
        self._rows = empty(3, R)
        self._rows[1] = slots
        self.rows = Rows(*self._rows)
        self._draws = torch.ones(len(Draws._fields), R, dtype=torch.float64, device=device)
        self.draws = Draws(*self._draws)
        self.numbers = torch.zeros(_RUN, R, dtype=torch.float64, device=device)
        self.number = empty(1)  # of the step that is next
        self._ids = empty(_RUN, R)
        self._log_probs = torch.zeros(_RUN, R, device=device)
        self._replayed: dict[str, Replayed[Any]] = {}

    def set_rows(self, ids: Sequence[int], slots: Sequence[int], positions: Sequence[int]) -> None:
        """Say what the rows are."""
        given = np.zeros((3, self.R), np.int64)
        given[1] = self._slots
        for row, values in zip(given, (ids, slots, positions), strict=True):
            row[: len(values)] = values
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
