"""Beam search: the most probable continuations, several kept at every step.

A beam is an unfinished continuation in a slot of its own. At every step the best candidates of all
beams of a prompt are kept: those that end become hypotheses, the best of the others the next beams.
What counts and when a search ends follows transformers 5 (`_beam_search`), so that ids and scores
are the same.

With `do_sample`, candidates are sampled without replacement in place of the best ones (beam
sampling). With `num_beam_groups`, the beams of a prompt form groups that advance one after the
other, and tokens of earlier groups are penalized: diverse beam search (Vijayakumar et al. 2016,
arXiv 1610.02424) with the Hamming penalty. The penalty stays in the score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from ogpt.errors import SamplingError
from ogpt.generation.choosing.random_numbers import gumbel
from ogpt.generation.choosing.rules import Rule, apply, in_place, require_choice, warp
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.likelihood import TopLogProbs, top_log_probs
from ogpt.generation.protocol.logits import Logits, top_k
from ogpt.generation.searching.speculation import Pace
from ogpt.generation.searching.stepper import Stepper
from ogpt.generation.searching.text import (
    BeamStep,
    Choosing,
    Event,
    Hypotheses,
    Hypothesis,
    Open,
    OpenPrompt,
    Prefill,
    Row,
    Text,
    Watch,
    check_length,
    choosing_of,
    opening,
)

BeamEnds = Callable[[int, Sequence[Sequence[int]], int], Sequence[bool]]
"""Receives (number of the text, ids of each candidate of a group, how many of them are the prompt)
and returns which candidates end, for example at a stop string."""


def never(number: int, candidates: Sequence[Sequence[int]], n_prompt: int) -> Sequence[bool]:
    """The `BeamEnds` of a search that only its settings end."""
    return [False] * len(candidates)


@dataclass(slots=True)
class _Beam:
    """A continuation while it is generated."""

    slot: int
    ids: list[int]  # prompt and new tokens
    score: float
    beam_indices: list[int]
    log_probs: list[float]
    tops: list[TopLogProbs]  # the most probable tokens at each step, if requested
    row: Row | None = None  # logits of the next token
    next_tops: TopLogProbs = ()

    def extended(self, token_id: int, score: float, number: int) -> _Beam:
        """This beam, whose number is given, and one more token."""
        assert self.row is not None
        log_prob = float(self.row.logits[token_id]) - self.row.normalizer
        return _Beam(
            self.slot,
            [*self.ids, token_id],
            score,
            [*self.beam_indices, number],
            [*self.log_probs, log_prob],
            [*self.tops, self.next_tops] if self.next_tops else self.tops,
        )


class _Candidate(NamedTuple):
    score: float
    place: int  # of its beam in the group
    id: int


@dataclass(slots=True)
class _Group:
    """The beams of a prompt that compete with each other."""

    first: int  # number of its first beam among the beams of the prompt
    number: int  # keys the random numbers
    continuation: int  # number of the text
    slots: Sequence[int]
    n_prompt: int
    beams: list[_Beam]
    finished: list[Hypothesis] = field(default_factory=list)  # best first, at most `size`
    done: bool = False

    @property
    def size(self) -> int:
        return len(self.slots)

    def advance(
        self,
        candidates: Sequence[_Candidate],
        settings: GenerationSettings,
        ends: BeamEnds,
        late: bool,
    ) -> None:
        """Take the next beams and hypotheses from the candidates, which are in order."""
        length = len(self.beams[0].ids) + 1 - self.n_prompt
        late = late or length == settings.max_new_tokens
        beams = []
        every = [
            self.beams[place].extended(token_id, score, self.first + place)
            for score, place, token_id in candidates
        ]
        over = ends(self.continuation, [beam.ids for beam in every], self.n_prompt)
        for rank, beam in enumerate(every):
            if not (late or over[rank] or beam.ids[-1] in settings.eos_token_id):
                beams.append(beam)
            elif rank < self.size:  # lower ranks are there to continue from, not to end
                new = beam.ids[self.n_prompt :]
                score = _per_length(beam.score, length, settings)
                self.finished.append(
                    Hypothesis(new, score, beam.beam_indices, beam.log_probs, beam.tops)
                )
        self.beams = _best(beams)[: self.size]
        self.finished = _best(self.finished)[: self.size]
        self.done = self._is_done(length, settings)

    def _is_done(self, length: int, settings: GenerationSettings) -> bool:
        """Whether no beam is left, or none is expected to be better than the finished ones."""
        if not self.beams:
            return True
        if len(self.finished) < self.size:
            return False
        if settings.early_stopping is True:
            return True
        if settings.early_stopping == "never" and settings.length_penalty > 0:
            length = settings.max_new_tokens
        return _per_length(self.beams[0].score, length, settings) <= self.finished[-1].score


class Beams(Text):
    """The beam search of one prompt. It has no sliding window.

    The prompt is processed once. Of the beams that extend one beam, the first keeps its slot, and
    only the others are copied.

    Args:
        decoder: Where it will run.
        prompt: Token ids.
        choosing: How tokens are chosen; the rules receive log-probabilities.
        ends: Ends a candidate early.
        number: Keys the random numbers.
        open_prompt: Reads the prompt in place of the decoder.

    Raises:
        ContextTooLong: the prompt and max_new_tokens exceed the context length.
    """

    def __init__(
        self,
        decoder: Decoder,
        prompt: Sequence[int],
        choosing: Choosing,
        ends: BeamEnds = never,
        number: int = 0,
        open_prompt: Open | None = None,
    ) -> None:
        check_length(decoder.n_positions, prompt, choosing.settings.max_new_tokens - 1)
        self.n_slots = choosing.settings.num_beams
        self.finite = choosing.settings.remove_invalid_values
        self._decoder = decoder
        self._prompt = list(prompt)
        self._choosing = choosing
        self._settings = choosing.settings
        self._ends = ends
        self._number = number
        self._open = open_prompt
        self._groups: list[_Group] = []

    def start(self, number: int, slots: Sequence[int]) -> None:
        """Begin; see Text. At first all beams are equal, and all but the first impossible."""
        self._continuation = number
        self._late = self._choosing.deadline()
        size = self.n_slots // self._settings.num_beam_groups
        for first in range(0, self.n_slots, size):
            its_slots = slots[first : first + size]
            beams = [
                _Beam(slot, self._prompt, -np.inf if place else 0.0, [], [], [])
                for place, slot in enumerate(its_slots)
            ]
            n_prompt = len(self._prompt)
            of = (first, self._number, number, its_slots, n_prompt, beams)
            self._groups.append(_Group(*of))

    def wants(self, pace: Pace | None) -> Prefill | Sequence[Part]:
        """The prompt, then the newest token of each beam; see Text."""
        live = self._live()
        if len(live[0].beams[0].ids) == len(self._prompt):
            return Prefill(self._prompt, self._open)
        for group in live:
            _give_slots(self._decoder, group)
        return [Part(beam.slot, beam.ids[-1:]) for group in live for beam in group.beams]

    def take(self, rows: Sequence[Row], hidden: Sequence[Logits]) -> Sequence[Event]:
        """One token for each beam; see Text."""
        live = self._live()
        beams = [beam for group in live for beam in group.beams]
        if len(beams[0].ids) == len(self._prompt):
            first, *others = self._groups
            for group in others:
                self._decoder.copy(first.slots[0], group.slots[0])
            rows = [rows[0]] * len(beams)
        for beam, row in zip(beams, rows, strict=True):
            beam.row = row
            beam.next_tops = top_log_probs(row.logits, row.normalizer, self._choosing.top_logprobs)
        numbers = [group.first + place for group in live for place in range(len(group.beams))]
        logits = np.stack([row.logits for row in rows])  # (beams, V)
        scores = _log_probs(logits, [row.normalizer for row in rows])
        late, watch = self._late(), self._choosing.watch
        for group, of_group in self._scored(live, scores):
            if group is live[-1] and watch is not None:  # `ends` may ask for these scores
                watch(self._continuation, *(self._all_beams(s, numbers) for s in (logits, scores)))
            found = _candidates(group, of_group, self._settings)
            group.advance(found, self._settings, self._ends, late)
        if self._live():
            return [BeamStep(self._continuation)]
        self.finished = True
        return [Hypotheses(self._continuation, self._answer())]

    def held(self) -> Sequence[int]:
        """The prompt, with which all beams begin; see Text."""
        return () if self._open is not None else self._prompt

    def _live(self) -> list[_Group]:
        return [group for group in self._groups if not group.done]

    def _scored(self, live: Sequence[_Group], scores: Logits) -> Iterator[tuple[_Group, Logits]]:
        """Each group, which then advances; log-probabilities (beams, V) become scores in place."""
        chosen: list[int] = []  # by earlier groups
        begin = 0
        for group in live:
            rows = scores[begin : begin + len(group.beams)]
            begin += len(rows)
            for beam, row in zip(group.beams, rows, strict=True):
                row[:] = self._score(row, beam.ids, chosen)
            yield group, rows
            chosen += [beam.ids[-1] for beam in group.beams]

    def _score(self, log_probs: Logits, ids: Sequence[int], chosen: Sequence[int]) -> Logits:
        """What each token would add to a beam's score, (V,); -inf for those that are ruled out."""
        log_probs = log_probs.copy()
        np.subtract.at(log_probs, chosen, self._settings.diversity_penalty)
        log_probs = apply(self._choosing.rules, ids, len(self._prompt), log_probs)
        if log_probs.max() == -np.inf:  # no token is left: the beam ends here
            return log_probs
        require_choice(log_probs)
        if self._settings.do_sample:
            log_probs = in_place(*warp(self._settings, log_probs), len(log_probs))
        return apply(self._choosing.last, ids, len(self._prompt), log_probs)

    def _all_beams(self, rows: Logits, numbers: Sequence[int]) -> Logits:
        """The rows of live beams in their places among all, (num_beams, V)."""
        placed = np.full((self.n_slots, rows.shape[1]), -np.inf, rows.dtype)
        placed[numbers] = rows
        return placed

    def _answer(self) -> list[Hypothesis]:
        """The best hypotheses."""
        wanted = self._settings.num_return_sequences
        found = _best([hypothesis for group in self._groups for hypothesis in group.finished])
        if len(found) < wanted:
            raise SamplingError(
                f"the prompt has only {len(found)} continuations under these settings; "
                f"num_return_sequences is {wanted}",
                hint="lower num_return_sequences, raise max_new_tokens, or ban fewer tokens",
            )
        return found[:wanted]


def beam_search(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    ends: BeamEnds = never,
    extra: Sequence[Rule] = (),
    watch: Watch | None = None,
    open_prompt: OpenPrompt | None = None,
    numbers: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """The `num_return_sequences` best hypotheses of each prompt, best first.

    All slots of the decoder are used and left empty. Prompts beyond the slots wait. No choice
    depends on the other prompts: random numbers are keyed by (seed, number of the prompt, new
    token).

    Args:
        decoder: With num_beams slots at least.
        prompts: Token ids, at least one each.
        settings: How tokens are chosen and when a continuation ends.
        ends: Ends a candidate early.
        extra: Custom rules, applied after those of the settings and before the temperature. They
            receive log-probabilities.
        watch: Receives the logits and scores of each step, one prompt at a time.
        open_prompt: Reads a prompt in place of the decoder.
        numbers: For each prompt the number that keys its random numbers. Default: 0 for each, so
            that equal prompts have equal hypotheses.

    Raises:
        ContextTooLong: a prompt and max_new_tokens exceed the context length.
        DecoderError: too few slots, or logits that are not finite.
        SamplingError: a rule returned NaN, or a prompt has fewer continuations than
            num_return_sequences.
        TokenOutOfRange: a prompt or setting has an id outside the vocabulary.
    """
    choosing = choosing_of(settings, decoder.vocab_size, extra, watch)
    stepper = Stepper(decoder, prompt_tokens=0)
    for place, prompt in enumerate(prompts):
        opened = opening(open_prompt, place)
        number = numbers[place] if numbers else 0
        stepper.add(Beams(decoder, prompt, choosing(place), ends, number, opened))
    found: dict[int, list[Hypothesis]] = {}
    for event in stepper.run():
        if isinstance(event, Hypotheses):
            first = event.continuation * settings.num_beams
            found[event.continuation] = [
                one._replace(beam_indices=[first + beam for beam in one.beam_indices])
                for one in event.best
            ]
    return [found[place] for place in range(len(prompts))]


def _candidates(group: _Group, scores: Logits, settings: GenerationSettings) -> list[_Candidate]:
    """The best continuations of a group's beams, or some sampled without replacement, in order.

    There are enough that num_beams are left to continue from even if each beam meets every end
    token.

    Args:
        group: With B beams.
        scores: Of its beams' next tokens, (B, V).
        settings: How to choose.
    """
    totals = (np.array([[beam.score] for beam in group.beams]) + scores).ravel()
    order = totals
    if settings.do_sample:
        written = len(group.beams[0].ids) - group.n_prompt
        possible = np.flatnonzero(totals > -np.inf)
        order = np.full_like(totals, -np.inf)
        order[possible] = totals[possible] + gumbel(
            settings.seed, group.number, written, len(possible)
        )
    kept = top_k(order, max(2, 1 + len(settings.eos_token_id)) * group.size)
    kept = kept[np.argsort(-order[kept], kind="stable")]
    return [
        _Candidate(float(totals[index]), *map(int, divmod(index, scores.shape[1])))
        for index in kept
        if totals[index] > -np.inf
    ]


def _log_probs(logits: Logits, normalizers: Sequence[float]) -> Logits:
    """Of logits (N, V), in their dtype."""
    log_probs: Logits = logits - np.array(normalizers)[:, None].astype(logits.dtype)
    return log_probs


def _give_slots(decoder: Decoder, group: _Group) -> None:
    """A slot for each new beam: the first one after a beam keeps its slot, others get copies."""
    taken: set[int] = set()
    spare = set(group.slots) - {beam.slot for beam in group.beams}
    for beam in group.beams:
        if beam.slot in taken:
            copied = min(spare)
            spare.remove(copied)
            decoder.copy(beam.slot, copied)
            beam.slot = copied
        taken.add(beam.slot)


def _per_length(score: float, length: int, settings: GenerationSettings) -> float:
    penalty: float = length**settings.length_penalty
    return score / penalty


_Scored = TypeVar("_Scored", _Beam, Hypothesis)


def _best(scored: Sequence[_Scored]) -> list[_Scored]:
    """Best first; among equals, as they stand."""
    return sorted(scored, key=lambda one: one.score, reverse=True)
