"""The seam between a model that computes and everything that generates or scores.

A decoder holds `slots` sequences of at most `n_positions` tokens each. PyTorch, native and
TensorFlow decoders implement this protocol; search, streaming and scoring are written once
against it and see numpy arrays only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.choosing.processors import Logits
from ogpt.generation.protocol.summaries import Summary, summarize

Want = Literal["none", "last", "all"]


class Abilities(NamedTuple):
    """What a decoder offers beyond the protocol's calls."""

    hidden_states: bool
    """`Decoder.hidden` can be called."""
    attentions: bool
    device_sampling: bool
    """It is a `DeviceSampler`."""
    bitwise: bool
    """Same tokens and log-probabilities alone or in any batch, and however many tokens are read at
    once, bit for bit."""
    summarize: Callable[[Logits], Summary] = summarize
    """Summary of logits (N, V) that this decoder gave (`protocol.summaries`); raises
    DecoderError (`summaries.check_largest`) for those that are no numbers."""


class Scores(NamedTuple):
    """Log-probabilities of given tokens, computed without a (T, V) array."""

    log_probs: NDArray[np.float32]
    """(T,) log-probability of each target."""
    top_ids: NDArray[np.int64]
    """(T, top) most likely tokens, most likely first."""
    top_log_probs: NDArray[np.float32]
    """(T, top) their log-probabilities."""


class Draw(NamedTuple):
    """How the tokens of one text are chosen where the logits are (GenerationSettings' names)."""

    do_sample: bool = False
    """False: the most likely token, of equal ones the first."""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


class Written(NamedTuple):
    """Tokens chosen where the logits are."""

    ids: NDArray[np.int64]
    """(steps, rows)."""
    log_probs: NDArray[np.float32]
    """(steps, rows), of each token under the model itself, before the temperature and so on."""


class Decoder(Protocol):
    """S slots, each one sequence of at most n_positions tokens.

    Every call raises DecoderError for a slot out of range or no tokens, ContextTooLong when a slot
    would outgrow n_positions, and TokenOutOfRange for ids outside the vocabulary; after an error
    the slots are as they were. Logits and hidden states are float64 of a model in float64, and
    float32 otherwise.
    """

    n_positions: int
    vocab_size: int
    slots: int
    abilities: Abilities

    def extend(self, slot: int, ids: Sequence[int], want: Want = "last") -> Logits | None:
        """Append `ids` to the slot; return no logits, the last (V,) or all (T, V)."""
        ...

    def read(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> Logits:
        """Append ids of its own to each of the slots; return the last logits (len(slots), V).

        Slots are all different; ids may be more for one than for another.
        """
        ...

    def step(self, slots: Sequence[int], ids: Sequence[int]) -> Logits:
        """Append one token to each of the slots, all different; return logits (len(slots), V)."""
        ...

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids`; score `targets`, one for each id (usually the id that follows it)."""
        ...

    def hidden(self, slot: int) -> NDArray[np.floating[Any]]:
        """Last hidden states (T, C) of the T tokens that the last call appended to the slot.

        They can be asked for until the next extend, read, step or score; DecoderError for a slot to
        which the last of these appended nothing. Only where `abilities.hidden_states`.
        """
        ...

    def length(self, slot: int) -> int:
        """Tokens that the slot holds."""
        ...

    def truncate(self, slot: int, length: int) -> None:
        """Rewind the slot to its first `length` tokens."""
        ...

    def copy(self, source: int, target: int) -> None:
        """Make the target slot equal to the source slot."""
        ...

    def free(self, slot: int) -> None:
        """Empty the slot."""
        ...

    def close(self) -> None:
        """Give memory and threads back; the decoder must not be used afterwards."""
        ...


class DeviceSampler(Decoder, Protocol):
    """A decoder that also chooses tokens, so that no logits travel from the device."""

    def write(
        self,
        slots: Sequence[int],
        ids: Sequence[int],
        draws: Sequence[Draw],
        numbers: NDArray[np.float64],
    ) -> Written:
        """Append one token to each slot, choose the next, append it, and so on.

        What is chosen is what `random_numbers.sample` and `warp` choose on the host of the same
        logits and numbers, but for ties within rounding. The last tokens chosen are not appended,
        and `hidden` has nothing to tell afterwards.

        Args:
            slots: All different.
            ids: Newest token of each.
            draws: How each slot's tokens are chosen.
            numbers: (steps, len(slots)) in [0, 1), `random_numbers.uniform`'s; as many tokens are
                written for each slot. Greedy rows read none of them.

        Raises:
            DecoderError: as `step` does; no steps, numbers or draws of another shape, or logits
                that are not numbers.
            ContextTooLong: a slot has no room for all steps.
            TokenOutOfRange: as `step` does.
        """
        ...
