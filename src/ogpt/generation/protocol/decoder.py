"""The interface between a model that computes logits and all code that generates or scores text.

A decoder holds `slots` sequences of at most `n_positions` tokens each, with their KV cache. The
native, PyTorch and CUDA decoders implement this protocol. Search, streaming and scoring are written
once against it, and see numpy arrays only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ogpt.generation.protocol.logits import Logits
from ogpt.generation.protocol.summaries import Summary, summarize

Want = Literal["none", "last", "all"]
"""Which logits of a part are wanted: of no token, of the last one, or of all."""


class Abilities(NamedTuple):
    """What a decoder offers beyond the calls of the protocol."""

    hidden_states: bool
    """`Decoder.run` can return hidden states."""
    attentions: bool
    """The decoder is an `AttentionDecoder`."""
    device_sampling: bool
    """The decoder is a `DeviceSampler`."""
    bitwise: bool
    """Logits are bit-identical alone and in any batch, however the tokens are cut into calls."""
    summarize: Callable[[Logits], Summary] = summarize
    """Summarizes logits (N, V) of this decoder (`protocol.summaries`). Raises DecoderError
    (`summaries.check_largest`) where they are not finite."""
    page: int = 0
    """Tokens in a page of the KV cache. After `Decoder.copy` two slots share whole pages until one
    of them writes there. 0: a copy duplicates the cache."""


class Part(NamedTuple):
    """The share of one slot in a call of `Decoder.run`."""

    slot: int
    ids: Sequence[int]
    """Tokens to append, 1 or more: the newest token, a draft, or a prompt or a chunk of one."""
    want: Want = "last"


class Computed(NamedTuple):
    """Results of one call of `Decoder.run`."""

    logits: Logits
    """(R, V): the wanted rows of all parts, in the order of the parts. R may be 0."""
    hidden: tuple[NDArray[np.floating[Any]], ...] | None = None
    """For each part the last hidden states (T, C) of its T tokens. None unless requested."""


class Scores(NamedTuple):
    """Log-probabilities of given tokens, computed without a (T, V) array."""

    log_probs: NDArray[np.float32]
    """(T,) log-probability of each target."""
    top_ids: NDArray[np.int64]
    """(T, top) the most probable tokens, in descending order."""
    top_log_probs: NDArray[np.float32]
    """(T, top) log-probabilities of `top_ids`."""


Attentions = tuple[NDArray[np.floating[Any]], ...]
"""For each layer attention probabilities (heads, S) of one token; pruned heads are absent."""


class Draw(NamedTuple):
    """How a decoder samples the tokens of one text (names of GenerationSettings)."""

    do_sample: bool = False
    """False: take the most probable token; of equal ones, the lowest id."""
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0


class Written(NamedTuple):
    """Tokens that a decoder sampled."""

    ids: NDArray[np.int64]
    """(steps, rows)."""
    log_probs: NDArray[np.float32]
    """(steps, rows): of each token under the model itself, before temperature and filters."""


class Decoder(Protocol):
    """S slots, each one sequence of at most n_positions tokens.

    Every call raises DecoderError for a slot that does not exist, ContextTooLong where a slot would
    outgrow n_positions, and TokenOutOfRange for ids outside the vocabulary. All arguments are
    checked before anything is computed (`protocol.slots`). After an error the slots are unchanged.
    Logits and hidden states are float64 for a model in float64, and float32 otherwise. Later calls
    do not change the arrays that a call returned.
    """

    n_positions: int
    vocab_size: int
    slots: int
    abilities: Abilities

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        """Append tokens to one or more slots; compute their logits.

        One call serves texts in every state: some get one token, others a chunk of a prompt.

        Args:
            parts: At least one, each for another slot.
            hidden: Return hidden states too.

        Raises:
            DecoderError: no parts, a slot in two parts, a part without tokens, an unknown `want`,
                or `hidden` where `abilities.hidden_states` is False.
        """
        ...

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        """Append `ids` and compute log-probabilities of `targets`, one for each id.

        Args:
            slot: Where the ids are appended.
            ids: At least one.
            targets: Usually the token that follows each id.
            top: Number of most probable tokens to return for each id, 0 to vocab_size.
        """
        ...

    def length(self, slot: int) -> int:
        """Number of tokens in the slot."""
        ...

    def truncate(self, slot: int, length: int) -> None:
        """Keep the first `length` tokens of the slot."""
        ...

    def copy(self, source: int, target: int) -> None:
        """Make the target slot equal to the source slot."""
        ...

    def free(self, slot: int) -> None:
        """Empty the slot."""
        ...

    def close(self) -> None:
        """Release memory and threads. The decoder must not be used afterwards."""
        ...


class AttentionDecoder(Decoder, Protocol):
    """A decoder that also returns attention probabilities."""

    def attend(self, slot: int, token_id: int) -> Attentions:
        """Append one token; return how it attends to all tokens of the slot.

        Args:
            slot: Where the token is appended.
            token_id: The token.

        Returns:
            For each layer (heads, S), S counting the new token. Each row sums to 1.
        """
        ...


class DeviceSampler(Decoder, Protocol):
    """A decoder that also samples tokens, so that no logits leave the device."""

    def write(
        self,
        slots: Sequence[int],
        ids: Sequence[int],
        draws: Sequence[Draw],
        numbers: NDArray[np.float64],
    ) -> Written:
        """Append one token to each slot, sample the next, append it, and so on.

        The result equals that of `random_numbers.sample` and `rules.warp` on the host for the same
        logits and numbers, except for ties within rounding. The last tokens sampled are not
        appended.

        Args:
            slots: All different.
            ids: The newest token of each slot.
            draws: How to sample the tokens of each slot.
            numbers: (steps, len(slots)) in [0, 1), from `random_numbers.uniform`. A call samples
                `steps` tokens for each slot. Greedy rows do not read their numbers.

        Raises:
            DecoderError: as for `run`; no steps, draws or numbers of another shape, or logits that
                are not finite.
            ContextTooLong: a slot has no room for all steps.
            TokenOutOfRange: as for `run`.
        """
        ...
