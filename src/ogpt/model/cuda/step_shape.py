"""The static tensors of a step with R rows, and the work captured over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ogpt.model.cuda.cuda_graphs import Replayed
from ogpt.model.cuda.device_sampling import Draws
from ogpt.model.cuda.static_step import StepRows

MOST_STEPS = 32
"""Steps that run on the device between two copies to the host."""


class StepShape:
    """The inputs and outputs of R rows, which stay in place so that a CUDA graph can use them.

    Unused rows write to an extra slot, whose number is `slots`.

    Args:
        R: Number of rows.
        slots: Number of slots of the decoder.
        device: Where the tensors are.
        pool: Memory for the captures, from `memory_pool`.
    """

    def __init__(self, R: int, slots: int, device: torch.device, pool: Any) -> None:
        self.R, self._slots, self._device, self._pool = R, slots, device, pool
        empty = partial(torch.zeros, device=device, dtype=torch.int64)
        self._rows = empty(3, R)
        self._rows[1] = slots
        self.rows = StepRows(*self._rows)
        self._draws = torch.ones(len(Draws._fields), R, dtype=torch.float64, device=device)
        self.draws = Draws(*self._draws)
        self.numbers = torch.zeros(MOST_STEPS, R, dtype=torch.float64, device=device)
        self.number = empty(1)  # the next step, an index into `numbers`
        self._ids = empty(MOST_STEPS, R)
        self._log_probs = torch.zeros(MOST_STEPS, R, device=device)
        self._replayed: dict[str, Replayed[Any]] = {}

    def set_rows(self, rows: Sequence[tuple[int, int, int]]) -> None:
        """Set the (id, slot, position) of the first rows; the others are unused."""
        given = np.zeros((3, self.R), np.int64)
        given[1] = self._slots
        given[:, : len(rows)] = np.array(rows).T
        self._rows.copy_(torch.from_numpy(given))

    def set_draws(self, draws: NDArray[np.float64]) -> None:
        """Set how each row is sampled, (5, rows), from `rows_of_draws`."""
        self._draws[:, : draws.shape[1]] = torch.from_numpy(draws)

    def set_numbers(self, numbers: NDArray[np.float64]) -> None:
        """Set the random numbers (steps, rows) of the next steps."""
        given = np.zeros((len(numbers), self.R))
        given[:, : numbers.shape[1]] = numbers
        self.numbers[: len(given)] = torch.from_numpy(given)
        self.number.zero_()

    def take(self, ids: Tensor, log_probs: Tensor) -> None:
        """Record the tokens that a step sampled, and make them the input of the next step."""
        self._ids.index_copy_(0, self.number, ids[None])
        self._log_probs.index_copy_(0, self.number, log_probs[None])
        self.rows.ids.copy_(ids)
        self.rows.positions.add_(self.rows.slots < self._slots)
        self.number.add_(1)

    def chosen(self, steps: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The tokens that the steps sampled and their log-probabilities, (steps, rows) each."""
        ids: NDArray[np.int64] = self._ids[:steps, :rows].to("cpu", copy=True).numpy()
        log_probs: NDArray[np.float32] = self._log_probs[:steps, :rows].to("cpu", copy=True).numpy()
        return ids, log_probs

    def replay(self, name: str, work: Callable[[], Any]) -> Any:
        """Run `work`. The first call with a name captures it, later calls replay the capture."""
        if name not in self._replayed:
            given = self._rows.clone()
            # The capture runs the work too: all rows are unused meanwhile, so it changes no slot.
            self._rows.zero_()
            self._rows[1] = self._slots
            self._replayed[name] = Replayed(work, self._device, self._pool)
            self._rows.copy_(given)
            self.number.zero_()
        return self._replayed[name]()
