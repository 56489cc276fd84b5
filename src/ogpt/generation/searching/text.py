"""The interface between a Stepper and the texts that it generates, and the events it returns.

A Text is a strategy over a few slots of a decoder: it says which tokens the slots need next, and
chooses new tokens from the logits that come back. Sampling, beam search and contrastive search are
the three kinds. Anything else may be a Text too, and runs beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import ContextTooLong
from ogpt.generation.choosing.rules import Rule, last_rules, rules
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Computed, Draw, Part, Scores
from ogpt.generation.protocol.likelihood import TopLogProbs
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.searching.speculation import Clock, Pace

FinishReason = Literal["stop", "length", "max_time", "abort"]
"""stop: a stop string or an end token; length: max_new_tokens were generated; max_time: the time
was over first; abort: the server was stopped first."""


class Token(NamedTuple):
    """A new token of sampling, greedy or contrastive search."""

    continuation: int
    """The text, as `Stepper.add` numbered it. The search functions number continuations in order:
    all of the first prompt, then those of the next."""
    id: int
    log_prob: float
    """Under the model itself: before penalties, constraints, temperature and filters."""
    finish_reason: FinishReason | None
    """Finish reason, or None if generation continues."""
    top_log_probs: TopLogProbs = ()
    """The most probable tokens at this step, as many as requested."""


class BeamStep(NamedTuple):
    """All beams of a text have grown by one token."""

    continuation: int


class Hypothesis(NamedTuple):
    """A finished beam."""

    ids: list[int]
    """New tokens, the end token included."""
    score: float
    """Sum of the log-probabilities after rules and penalties, divided by
    len(ids) ** length_penalty."""
    beam_indices: list[int]
    """For each token the beam that it extended; `beam_search` counts the beams of all prompts."""
    log_probs: list[float]
    """Of each token under the model itself."""
    top_log_probs: list[TopLogProbs]
    """The most probable tokens at each step; empty unless requested."""


class Hypotheses(NamedTuple):
    """A beam search has ended."""

    continuation: int
    best: list[Hypothesis]
    """`num_return_sequences` of them, best first."""


class Failed(NamedTuple):
    """A text has ended with an error of its own: of its prompt, a rule, a watcher or a predicate.

    The other texts are not affected.
    """

    continuation: int
    error: Exception


Event = Token | BeamStep | Hypotheses | Failed

Watch = Callable[[int, Logits, Logits], None]
"""Receives (number of the text, logits, scores) before each token is chosen. Logits are the model's
own. Scores are logits after rules and, with sampling, temperature and filters; -inf for tokens that
cannot be chosen. Both are (V,); for beams (num_beams, V), scores are log-probabilities, and a row
without a beam is -inf."""

Open = Callable[[int], Computed]
"""Reads a prompt into an empty slot, for prompts that are more than token ids (embeddings, token
types). Returns what `Decoder.run` returns for it, with hidden states if the text needs them."""


OpenPrompt = Callable[[int, int, bool], Computed]
"""`Open` for several prompts: receives (slot, number of the prompt, whether hidden states are
needed)."""


def opening(open_prompt: OpenPrompt | None, number: int, hidden: bool = False) -> Open | None:
    """The `Open` of one prompt."""
    return None if open_prompt is None else lambda slot: open_prompt(slot, number, hidden)


Late = Callable[[], bool]
"""Whether the time of a text is over."""


@dataclass(frozen=True, slots=True)
class Choosing:
    """How tokens are chosen; shared by all continuations of a request."""

    settings: GenerationSettings
    rules: Sequence[Rule]
    """`choosing.rules.rules` of these settings."""
    watch: Watch | None = None
    top_logprobs: int = 0
    """Number of most probable tokens to report at each step; 0 disables."""
    last: Sequence[Rule] = ()
    """`choosing.rules.last_rules` of these settings."""
    clock: Clock = time.monotonic
    """Measures max_time."""
    late: Late | None = None
    """Says whether the time of the text is over, in place of max_time."""

    def deadline(self) -> Late:
        """Start to count max_time; the result says whether it is over."""
        if self.late is not None:
            return self.late
        most, clock = self.settings.max_time, self.clock
        if most is None:
            return lambda: False
        start = clock()
        return lambda: clock() - start > most


def choosing_of(
    settings: GenerationSettings,
    vocab_size: int,
    extra: Sequence[Rule] = (),
    watch: Watch | None = None,
    top_logprobs: int = 0,
    clock: Clock = time.monotonic,
    late: Late | None = None,
) -> Callable[[int], Choosing]:
    """How the tokens of a prompt are chosen, by its number.

    Args:
        settings: Of the request.
        vocab_size: V of the model.
        extra: Custom rules, applied after those of the settings and before the temperature.
        watch: Receives the logits and scores of each step.
        top_logprobs: Number of most probable tokens to report at each step; 0 disables.
        clock: Measures max_time.
        late: Says whether the time is over, in place of max_time.

    Raises:
        TokenOutOfRange: a setting has an id outside the vocabulary.
    """

    def of(prompt: int) -> Choosing:
        ruled = rules(settings, vocab_size, extra, prompt)
        return Choosing(settings, ruled, watch, top_logprobs, last_rules(settings), clock, late)

    shared = of(0)
    return of if settings.prefix_allowed_tokens_fn is not None else lambda prompt: shared


class Row(NamedTuple):
    """The logits after one token, summarized."""

    logits: Logits
    """(V,)."""
    best: int
    """The id of the largest logit."""
    normalizer: float
    """The log of the sum of the exponentials: log-probabilities are logits - normalizer."""


class Prefill(NamedTuple):
    """A request of a text: its first slot shall hold these tokens and no others.

    The logits after the last of them come back. The Stepper decides how: it reads them whole or in
    chunks, or copies another slot that begins with the same tokens.
    """

    ids: Sequence[int]
    open: Open | None = None
    """Reads the prompt in place of the decoder; of equal prompts, the same object."""

    @property
    def known(self) -> Sequence[int]:
        """The tokens that the slot is known to hold then; none of a prompt that is opened."""
        return self.ids if self.open is None else ()


class Scoring(NamedTuple):
    """Log-probabilities of a prompt, computed as it is read."""

    top: int
    """Number of most probable tokens to report at each position."""
    take: Callable[[Sequence[int], Scores], None]
    """Receives the next tokens of the prompt, of all but the first, and their scores."""


ScoringOf = Callable[[int], Scoring]
"""The `Scoring` of a prompt, by its number."""


class Text(Protocol):
    """A prompt and what follows it, while it is generated."""

    n_slots: int
    """Slots that it needs at the same time."""
    hidden: bool = False
    """`take` needs hidden states. They cannot be copied, so its prompt is always read."""
    drafts: bool = False
    """`wants` drafts tokens while the text is alone."""
    finite: bool = False
    """Its logits are made finite first (`protocol.logits.finite`)."""
    scoring: Scoring | None = None
    """Scores its prompt, which is then read whole; not with `hidden` or `Prefill.open`."""
    draw: Draw | None = None
    """How the decoder may choose tokens itself: then the text is a `DrawnText`."""
    finished: bool = False
    """The events of the last `take` end the text."""

    def start(self, number: int, slots: Sequence[int]) -> None:
        """Begin, in slots that are the text's own until it ends. Events carry the number."""
        ...

    def wants(self, pace: Pace | None) -> Prefill | Sequence[Part]:
        """What to compute next: first a Prefill, later one or more parts for its own slots.

        Parts want the last logits of their tokens; a single part may want all of them. Called again
        only after `take`.

        Args:
            pace: Limits the draft of a text that is alone and `drafts`; None: no draft.
        """
        ...

    def take(self, rows: Sequence[Row], hidden: Sequence[Logits]) -> Sequence[Event]:
        """Choose new tokens.

        Args:
            rows: Those that `wants` asked for, in order.
            hidden: Last hidden states (T, C) of each part; empty unless `hidden`.
        """
        ...

    def held(self) -> Sequence[int]:
        """Tokens that its first slot begins with, as far as the slot is filled."""
        ...


class DrawnText(Text, Protocol):
    """A text that a `DeviceSampler` can continue by several tokens in one call."""

    draw: Draw

    @property
    def newest(self) -> int:
        """The last token, which its slot lacks."""
        ...

    @property
    def left(self) -> int:
        """New tokens that may still follow, 1 or more."""
        ...

    def numbers(self, steps: int) -> NDArray[np.float64]:
        """The random numbers of the next tokens, (steps,)."""
        ...

    def take_drawn(self, ids: Sequence[int], log_probs: Sequence[float]) -> Sequence[Token]:
        """Take the tokens that were chosen, up to the end of the text."""
        ...


def finish_reason(
    settings: GenerationSettings, token_id: int, written: int, late: bool
) -> FinishReason | None:
    """Whether the settings end a text with this token, the `written`-th new one.

    Args:
        settings: Of the request.
        token_id: The token.
        written: New tokens, this one included.
        late: max_time is over.
    """
    if token_id in settings.eos_token_id:
        return "stop"
    if written >= settings.max_new_tokens:
        return "length"
    return "max_time" if late else None


def check_length(
    n_positions: int, prompt: Sequence[int], more: int, name: str = "a prompt"
) -> None:
    """Check that a prompt leaves room for `more` tokens.

    Raises:
        ContextTooLong: it does not; the message calls the prompt `name`.
    """
    if len(prompt) + more > n_positions:
        raise ContextTooLong(
            f"{name} has {len(prompt)} tokens and up to {more} new ones follow; the context length "
            f"is {n_positions}, and this search has no sliding window",
            hint="shorten the prompt or lower max_new_tokens",
        )
