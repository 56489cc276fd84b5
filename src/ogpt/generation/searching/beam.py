"""Beam search over any decoder: the most likely continuations, several kept at every token.

A beam is an unfinished continuation in a slot of its own. At every token the best candidates of
all beams of a prompt are kept: those that end become hypotheses, the best of the others the next
beams. What counts and when a search ends follows transformers 5 (`_beam_search`), so that ids and
scores are the same.

With `do_sample` candidates are drawn without replacement in place of the best ones (beam
sampling). With `num_beam_groups` the beams of a prompt form groups that advance one after the
other, each kept from the tokens of those before it: diverse beam search (Vijayakumar et al. 2016,
arXiv 1610.02424) with the Hamming penalty; the penalty stays in the score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np

from ogpt.errors import SamplingError
from ogpt.generation.choosing.random_numbers import gumbel
from ogpt.generation.choosing.rules import Rule, apply, in_place, require_choice, rules, warp
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.protocol.logits import Logits, top_k
from ogpt.generation.searching.prefill import Open, check_room, read


class Hypothesis(NamedTuple):
    """A continuation that ended."""

    ids: list[int]
    """New tokens, with the one that ended it."""
    score: float
    """Sum of their log-probabilities (after rules and penalties), divided by
    len(ids) ** length_penalty."""
    beam_indices: list[int]
    """For each token the beam that it was added to, prompt * num_beams + place."""


BeamEnds = Callable[[Sequence[int], int], bool]
"""Told (the ids of a candidate, how many of them are its prompt); True ends it, for example at a
stop string."""

BeamWatch = Callable[[Logits, Logits], None]
"""Told the model's logits and the scores after log-softmax, rules and warpers of every step, both
(len(prompts) * num_beams, V); a row without a beam is -inf."""


def never(ids: Sequence[int], n_prompt: int) -> bool:
    """The `BeamEnds` of a search that only its settings end."""
    return False


@dataclass(slots=True)
class _Beam:
    """A continuation while it is written."""

    slot: int
    ids: list[int]  # the prompt and what was written since
    score: float
    beam_indices: list[int]


class _Candidate(NamedTuple):
    score: float
    place: int  # of its beam in the group
    id: int


@dataclass(slots=True)
class _Group:
    """The beams of a prompt that compete with each other."""

    first: int  # its first beam's number among all beams, and that beam's slot
    number: int  # keys the random numbers
    size: int
    n_prompt: int
    beams: list[_Beam]
    finished: list[Hypothesis] = field(default_factory=list)  # best first, at most `size`
    done: bool = False

    def advance(
        self, candidates: Sequence[_Candidate], settings: GenerationSettings, ends: BeamEnds
    ) -> None:
        """Take the next beams and hypotheses from the candidates, which stand in order."""
        length = len(self.beams[0].ids) + 1 - self.n_prompt
        beams = []
        for rank, (score, place, token_id) in enumerate(candidates):
            parent = self.beams[place]
            ids = [*parent.ids, token_id]
            origin = [*parent.beam_indices, self.first + place]
            if not (
                length == settings.max_new_tokens
                or token_id in settings.eos_token_id
                or ends(ids, self.n_prompt)
            ):
                beams.append(_Beam(parent.slot, ids, score, origin))
            elif rank < self.size:  # the candidates beyond are there to go on from, not to end
                score = _per_length(score, length, settings)
                self.finished.append(Hypothesis(ids[self.n_prompt :], score, origin))
        self.beams = _best(beams)[: self.size]
        self.finished = _best(self.finished)[: self.size]
        self.done = self._is_done(length, settings)

    def _is_done(self, length: int, settings: GenerationSettings) -> bool:
        """Whether no beam is left, or none is expected to be better than what has ended."""
        if not self.beams:
            return True
        if len(self.finished) < self.size:
            return False
        if settings.early_stopping is True:
            return True
        if settings.early_stopping == "never" and settings.length_penalty > 0:
            length = settings.max_new_tokens
        return _per_length(self.beams[0].score, length, settings) <= self.finished[-1].score


def beam_search(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    ends: BeamEnds = never,
    extra: Sequence[Rule] = (),
    watch: BeamWatch | None = None,
    open_prompt: Open | None = None,
    numbers: Sequence[int] = (),
) -> list[list[Hypothesis]]:
    """The `num_return_sequences` best hypotheses of each prompt, best first.

    All slots of the decoder are used and left empty. A prompt is read once; of the beams that
    follow one beam the first goes on in its slot, and only the others are copied. No choice
    depends on the other prompts: random numbers are keyed by (seed, number of the prompt, new
    token).

    Args:
        decoder: With len(prompts) * num_beams slots at least.
        prompts: Token ids, at least one each; with max_new_tokens they fit the positions, as a
            beam search does not slide.
        settings: How tokens are chosen and when a continuation ends.
        ends: Ends a candidate early.
        extra: Rules of the caller, after those of the settings and before the temperature; given
            log-probabilities.
        watch: Told the logits and scores of every step.
        open_prompt: Reads a prompt in place of the decoder.
        numbers: For each prompt the number that keys its random numbers; none: 0 for each, so that
            equal prompts get equal hypotheses.

    Raises:
        ContextTooLong: a prompt and its continuation outgrow the positions.
        DecoderError: too few slots, or logits that are not numbers.
        SamplingError: a rule's logits are not numbers, or a prompt has fewer continuations than
            num_return_sequences.
        TokenOutOfRange: a prompt or setting holds an id outside the vocabulary.
    """
    given = rules(settings, decoder.vocab_size, extra)
    check_room(decoder, prompts, settings.num_beams, settings.max_new_tokens - 1)
    try:
        families = [
            _groups(prompt, place * settings.num_beams, numbers[place] if numbers else 0, settings)
            for place, prompt in enumerate(prompts)
        ]
        logits = _start(decoder, families, open_prompt)
        while rows := _live_rows(families):
            scores = np.full_like(logits, -np.inf)
            scores[rows] = _log_probs(decoder, logits[rows])
            for family in families:
                _advance(family, scores, settings, given, ends)
            if watch is not None:
                watch(logits, scores)
            logits = _step(decoder, families, logits)
    finally:
        for slot in range(decoder.slots):
            decoder.free(slot)
    return [_answer(number, family, settings) for number, family in enumerate(families)]


def _groups(
    prompt: Sequence[int], first: int, number: int, settings: GenerationSettings
) -> list[_Group]:
    """The groups of one prompt; at first all beams are equal, and all but the first impossible."""
    size = settings.num_beams // settings.num_beam_groups
    return [
        _Group(
            start,
            number,
            size,
            len(prompt),
            [
                _Beam(slot, list(prompt), -np.inf if slot > start else 0.0, [])
                for slot in range(start, start + size)
            ],
        )
        for start in range(first, first + settings.num_beams, size)
    ]


def _start(
    decoder: Decoder, families: Sequence[Sequence[_Group]], open_prompt: Open | None
) -> Logits:
    """Read each prompt into the first slot of its groups; every beam's logits, (N, V)."""
    for slot in range(decoder.slots):
        decoder.free(slot)
    slots = [first.first for first, *_ in families]
    prompts = [first.beams[0].ids for first, *_ in families]
    rows = read(decoder, slots, prompts, range(len(families)), open_prompt).logits
    for first, *others in families:
        for group in others:
            decoder.copy(first.first, group.first)
    return np.repeat(rows, [sum(group.size for group in family) for family in families], axis=0)


def _advance(
    family: Sequence[_Group],
    scores: Logits,
    settings: GenerationSettings,
    given: Sequence[Rule],
    ends: BeamEnds,
) -> None:
    """One new token for the groups of a prompt; log-probabilities (N, V) become scores there."""
    chosen: list[int] = []  # by the groups before
    for group in family:
        if group.done:
            continue
        rows = slice(group.first, group.first + len(group.beams))
        for beam, row in zip(group.beams, scores[rows], strict=True):
            row[:] = _score(row, beam.ids, group.n_prompt, chosen, settings, given)
        group.advance(_candidates(group, scores[rows], settings), settings, ends)
        chosen += [beam.ids[-1] for beam in group.beams]


def _score(
    log_probs: Logits,
    ids: Sequence[int],
    n_prompt: int,
    chosen: Sequence[int],
    settings: GenerationSettings,
    given: Sequence[Rule],
) -> Logits:
    """What each token would add to a beam's score, (V,); -inf for those that it cannot take."""
    log_probs = log_probs.copy()
    np.subtract.at(log_probs, chosen, settings.diversity_penalty)
    log_probs = apply(given, ids, n_prompt, log_probs)
    if log_probs.max() == -np.inf:  # nothing is left: the beam ends here
        return log_probs
    require_choice(log_probs)
    if not settings.do_sample:
        return log_probs
    return in_place(*warp(settings, log_probs), len(log_probs))


def _candidates(group: _Group, scores: Logits, settings: GenerationSettings) -> list[_Candidate]:
    """The best continuations of a group's beams, or some drawn without replacement, in order.

    There are enough that num_beams remain to go on from when each beam meets every end token.

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


def _step(decoder: Decoder, families: Sequence[Sequence[_Group]], logits: Logits) -> Logits:
    """Give each live beam's newest token to the decoder; every beam's logits, (N, V)."""
    stepped = np.full_like(logits, -np.inf)
    if rows := _live_rows(families):
        live = [group for family in families for group in family if not group.done]
        for group in live:
            _give_slots(decoder, group)
        beams = [beam for group in live for beam in group.beams]
        stepped[rows] = decoder.run([Part(b.slot, b.ids[-1:]) for b in beams]).logits
    return stepped


def _live_rows(families: Sequence[Sequence[_Group]]) -> list[int]:
    """The rows, among all beams, of those that go on."""
    live = [group for family in families for group in family if not group.done]
    return [group.first + place for group in live for place in range(len(group.beams))]


def _log_probs(decoder: Decoder, logits: Logits) -> Logits:
    """Of logits (N, V), in their dtype."""
    normalisers = decoder.abilities.summarize(logits).normalisers
    log_probs: Logits = logits - normalisers[:, None].astype(logits.dtype)
    return log_probs


def _give_slots(decoder: Decoder, group: _Group) -> None:
    """A slot to each new beam: the first one after a beam keeps its slot, others get copies."""
    taken: set[int] = set()
    spare = set(range(group.first, group.first + group.size)) - {b.slot for b in group.beams}
    for beam in group.beams:
        if beam.slot in taken:
            copied = min(spare)
            spare.remove(copied)
            decoder.copy(beam.slot, copied)
            beam.slot = copied
        taken.add(beam.slot)


def _answer(
    number: int, family: Sequence[_Group], settings: GenerationSettings
) -> list[Hypothesis]:
    """The best hypotheses of a prompt."""
    found = _best([hypothesis for group in family for hypothesis in group.finished])
    if len(found) < settings.num_return_sequences:
        raise SamplingError(
            f"prompt {number} has only {len(found)} continuations under these settings; "
            f"num_return_sequences asks for {settings.num_return_sequences}",
            hint="ask for fewer, raise max_new_tokens, or rule fewer tokens out",
        )
    return found[: settings.num_return_sequences]


def _per_length(score: float, length: int, settings: GenerationSettings) -> float:
    penalty: float = length**settings.length_penalty
    return score / penalty


_Scored = TypeVar("_Scored", _Beam, Hypothesis)


def _best(scored: Sequence[_Scored]) -> list[_Scored]:
    """Best first; among equals, as they stand."""
    return sorted(scored, key=lambda one: one.score, reverse=True)
