"""The Decoder protocol in static shapes: packed weights, one KV cache, steps captured once.

A step is captured as a CUDA graph for each power of two of rows, and then replayed. A replay is one
launch for any number of slots, where PyTorch launches some 150 kernels. Short prompts are rows of
such a step. Long prompts use fused attention. On a CPU, for tests and for the deterministic mode,
the same functions run without graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

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
    check_slot,
    check_targets,
)
from ogpt.model.cuda.cuda_graphs import memory_pool
from ogpt.model.cuda.device_sampling import Kind, choose, kind_of, rows_of_draws
from ogpt.model.cuda.static_step import (
    Kernels,
    new_cache,
    pass_of_prompt,
    pass_of_rows,
    torch_kernels,
)
from ogpt.model.cuda.static_weights import PRECISIONS, gather_weights, unfit
from ogpt.model.cuda.step_shape import MOST_STEPS, StepShape
from ogpt.model.decoder.scores import score_hidden
from ogpt.model.decoder.states import computed, numpy_of
from ogpt.model.heads import OpenAIGPTLMHeadModel

# Up to this length a prompt is faster as rows of a captured step: its launches cost more than its
# arithmetic.
_FEW = 128
_FIXED_ROWS = 32  # minimum rows of the one shape of the deterministic decoder


class StaticDecoder:
    """A Decoder and DeviceSampler over a language model.

    Args:
        model: In evaluation mode, on a CPU or on the current CUDA device. CUDA requires Triton.
            Weights that change dtype or layout are copied.
        slots: Number of sequences held at the same time.
        precision: One of PRECISIONS. None uses the dtype of the model.
        deterministic: Run every token, also of prompts, as a row of one fixed shape. Logits are
            then bit-identical alone and in any batch, however a prompt is cut.

    Raises:
        ConfigError: the model is `unfit`, or the precision is unknown.
        DecoderError: the device has too little memory for the slots.
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
                hint="pass one of these; bfloat16 is the fastest on a GPU",
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
            self._cache = new_cache(self._weights, slots + 1)  # unused rows write to the last one
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
        self._shapes: dict[int, StepShape] = {}
        self._pool = memory_pool(self._device)

    @torch.inference_mode()
    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        """Append tokens to slots; see Decoder."""
        parts = self._checked(parts)
        if all(len(part.ids) == 1 and part.want != "none" for part in parts):
            found = self._step(parts, hidden)
        else:
            found = computed(parts, self._states(parts), self._head, self.vocab_size, hidden)
        for part in parts:  # after everything else, so that an error changes no slot
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
        """Append and sample one token after another; see DeviceSampler."""
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
        for begin in range(0, steps, MOST_STEPS):
            some = numbers[begin : begin + MOST_STEPS]
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
        return self._lengths[check_slot(slot, self.slots)]

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

    def _rows_of(self, parts: Sequence[Part]) -> StepShape:
        """The shape for the tokens of all parts, filled with them."""
        rows = _rows(parts, self._lengths)
        shape = self._shape(len(rows))
        shape.set_rows(rows)
        return shape

    def _shape(self, count: int) -> StepShape:
        """The smallest shape with at least `count` rows."""
        most = max(self.slots, _FEW)
        R = self._fixed or min(1 << (count - 1).bit_length(), most)
        if R not in self._shapes:
            self._shapes[R] = StepShape(R, self.slots, self._device, self._pool)
        return self._shapes[R]

    def _logits(self, shape: StepShape) -> tuple[Tensor, Tensor]:
        hidden = self._pass(shape.rows)
        return hidden, self._kernels.head(hidden, self._weights.head)

    def _choose(self, shape: StepShape, kind: Kind) -> None:
        _, logits = self._logits(shape)
        numbers = shape.numbers.index_select(0, shape.number)[0]
        shape.take(*choose(logits, shape.draws, numbers, kind))

    def _head(self, hidden: Tensor) -> Tensor:
        """Logits (N, V) of hidden states (N, C), in the fixed shape if the decoder has one."""
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
