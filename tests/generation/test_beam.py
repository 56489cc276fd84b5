import itertools
import random
from collections import Counter
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpt.errors import ContextTooLong, DecoderError, SamplingError, TokenOutOfRange
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Part
from ogpt.generation.searching import beam
from ogpt.generation.searching.beam import beam_search
from ogpt.generation.searching.sampling import search
from ogpt.generation.searching.text import Hypothesis
from tests.generation.naive import WholeDecoder, naive_beams, peer
from tests.markov import chi_square_limit, contextual, log_softmax, markov

CASES = 60
V = 9


class Case(NamedTuple):
    decoder: WholeDecoder
    prompts: list[list[int]]
    asked: GenerationSettings
    theirs: Any

    def ours(self) -> list[Hypothesis]:
        found = beam_search(self.decoder, self.prompts, self.asked)
        return [hypothesis for each in found for hypothesis in each]

    def matches(self, found: list[Hypothesis]) -> bool:
        """The same ids, beams and (in transformers float32) scores."""
        n_prompt = len(self.prompts[0])
        for hypothesis, ids, origin, score in zip(
            found,
            self.theirs.sequences[:, n_prompt:].tolist(),
            self.theirs.beam_indices.tolist(),
            self.theirs.sequences_scores.tolist(),
            strict=True,
        ):
            length = sum(number >= 0 for number in origin)
            same = hypothesis.ids == ids[:length] and hypothesis.beam_indices == origin[:length]
            if not same or hypothesis.score != pytest.approx(score, abs=1e-5, rel=1e-5):
                return False
        return True


def draw_case(seed: int) -> Case:
    draw = random.Random(seed)
    model = peer(seed)
    vocab_size = model.config.vocab_size
    B, T = draw.randint(1, 3), draw.randint(1, 6)
    prompts = [[draw.randrange(vocab_size) for _ in range(T)] for _ in range(B)]
    num_beams, max_new_tokens = draw.randint(2, 5), draw.randint(1, 12)
    asked = GenerationSettings(
        do_sample=False,
        num_beams=num_beams,
        num_return_sequences=draw.randint(1, num_beams),
        max_new_tokens=max_new_tokens,
        min_new_tokens=draw.choice([0, 0, 0, draw.randint(0, max_new_tokens)]),
        eos_token_id=draw.sample(range(vocab_size), draw.choice([0, 1, 3, 4])),
        length_penalty=draw.choice([-1, 0, 0.5, 1, 2]),
        early_stopping=draw.choice([False, True, "never"]),
        repetition_penalty=draw.choice([1.0, 1.0, 1.3]),
        no_repeat_ngram_size=draw.choice([0, 0, 2]),
    )
    theirs = model.generate(
        torch.tensor(prompts),
        attention_mask=torch.ones(B, T, dtype=torch.int64),
        do_sample=False,
        num_beams=num_beams,
        num_return_sequences=asked.num_return_sequences,
        max_new_tokens=max_new_tokens,
        min_new_tokens=asked.min_new_tokens or None,
        eos_token_id=list(asked.eos_token_id) or None,
        pad_token_id=0,
        length_penalty=float(asked.length_penalty),
        early_stopping=asked.early_stopping,
        repetition_penalty=asked.repetition_penalty,
        no_repeat_ngram_size=asked.no_repeat_ngram_size,
        output_scores=True,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return Case(WholeDecoder(model, B * num_beams), prompts, asked, theirs)


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [draw_case(seed) for seed in range(CASES)]


def test_ids_beams_and_scores_are_those_of_transformers(cases: list[Case]) -> None:
    found = [case.ours() for case in cases]
    together = list(zip(cases, found, strict=True))
    assert [seed for seed, (case, ours) in enumerate(together) if not case.matches(ours)] == []
    ended = [
        any(len(hypothesis.ids) < case.asked.max_new_tokens for hypothesis in ours)
        for case, ours in together
    ]
    assert sum(ended) > CASES / 4
    assert cases[0].decoder.held == [[]] * cases[0].decoder.slots


def unaccumulated(group: Any, scores: Any, asked: Any) -> Any:
    for one in group.beams:
        one.score = min(one.score, 0.0) if one.score == -np.inf else 0.0
    return CANDIDATES(group, scores, asked)


def by_place(decoder: Any, group: Any) -> None:
    for place, one in enumerate(group.beams):
        if not one.beam_indices[1:]:
            decoder.copy(one.slot, group.slots[place])
        one.slot = group.slots[place]


CANDIDATES, PER_LENGTH, ADVANCE = beam._candidates, beam._per_length, beam._Group.advance
FAULTS = {
    "the length is off by one": (
        "_per_length",
        lambda score, length, asked: PER_LENGTH(score, length + 1, asked),
    ),
    "log-probabilities are not summed": ("_candidates", unaccumulated),
    "beams keep the slots of others": ("_give_slots", by_place),
    "an end goes on": (
        "_Group.advance",
        lambda group, found, asked, *others: ADVANCE(
            group, found, replace(asked, eos_token_id=()), *others
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(
    cases: list[Case], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, broken = FAULTS[fault]
    monkeypatch.setattr(f"ogpt.generation.searching.beam.{name}", broken)
    assert sum(not case.matches(case.ours()) for case in cases[:30]) > 5


def test_the_steps_that_are_watched_are_those_of_transformers(cases: list[Case]) -> None:
    """All rows of the first step, later those of prompts that continue; none of them shared."""
    case = next(case for case in cases if len(case.theirs.scores) > 3 and len(case.prompts) > 1)
    seen: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    beam_search(
        case.decoder,
        case.prompts,
        case.asked,
        watch=lambda prompt, *step: seen.setdefault(prompt, []).append(step),
    )
    assert sorted(seen) == list(range(len(case.prompts)))
    assert max(map(len, seen.values())) == len(case.theirs.scores)
    for prompt, steps in seen.items():
        rows = slice(prompt * case.asked.num_beams, (prompt + 1) * case.asked.num_beams)
        for step, (logits, scores) in enumerate(steps):
            live = np.isfinite(logits).all(axis=1)
            assert live.any()
            expected = case.theirs.logits[step][rows], case.theirs.scores[step][rows]
            for found, wanted in zip((logits, scores), expected, strict=True):
                assert found.dtype == np.float64
                np.testing.assert_allclose(found[live], wanted.numpy()[live], atol=1e-5, rtol=1e-5)
        assert np.isfinite(steps[0][0]).all()


PROMPTS = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=5), min_size=1, max_size=3)
ASKED = st.builds(
    lambda groups, size, eos, longest, penalty, early, diversity: GenerationSettings(
        do_sample=False,
        num_beams=groups * size,
        num_beam_groups=groups,
        diversity_penalty=diversity,
        num_return_sequences=groups * size,
        max_new_tokens=longest,
        eos_token_id=eos,
        length_penalty=penalty,
        early_stopping=early,
    ),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([(4,), (2, 5)]),
    st.integers(1, 10),
    st.sampled_from([-1.0, 0.0, 1.0, 2.0]),
    st.sampled_from([False, True, "never"]),
    st.sampled_from([0.3, 1.0, 4.0]),
)


@settings(deadline=None, max_examples=60)
@given(PROMPTS, ASKED)
def test_groups_are_those_of_a_naive_search(
    prompts: list[list[int]], asked: GenerationSettings
) -> None:
    """Plain beams are one group. Prompts of different lengths do not see each other."""
    decoder = contextual(V, slots=len(prompts) * asked.num_beams)
    for prompt, found in zip(prompts, beam_search(decoder, prompts, asked), strict=True):
        expected = naive_beams(decoder.logits_of, prompt, asked)
        assert [hypothesis.ids for hypothesis in found] == [ids for _, ids in expected]
        assert [h.score for h in found] == pytest.approx([score for score, _ in expected], abs=1e-4)
    assert decoder.held == [[]] * decoder.slots


def test_the_diversity_penalty_is_seen_by_that_comparison() -> None:
    asked = GenerationSettings(
        do_sample=False,
        num_beams=4,
        num_beam_groups=2,
        diversity_penalty=2.0,
        num_return_sequences=4,
        max_new_tokens=4,
    )
    decoder = contextual(V)
    (found,) = beam_search(decoder, [[1]], asked)
    for fault in (replace(asked, diversity_penalty=1e-9), replace(asked, num_beam_groups=4)):
        expected = naive_beams(decoder.logits_of, [1], fault)
        assert [hypothesis.ids for hypothesis in found] != [ids for _, ids in expected]


@settings(deadline=None, max_examples=30)
@given(PROMPTS, st.sampled_from([(), (4,), (2, 5, 6)]))
def test_one_beam_is_greedy_search(prompts: list[list[int]], eos: tuple[int, ...]) -> None:
    asked = GenerationSettings(do_sample=False, max_new_tokens=8, eos_token_id=eos)
    decoder = contextual(V)
    greedy: list[list[int]] = [[] for _ in prompts]
    for token in search(decoder, prompts, asked):
        greedy[token.continuation].append(token.id)
    assert [found[0].ids for found in beam_search(decoder, prompts, asked)] == greedy


def test_only_what_shares_a_parent_is_copied() -> None:
    decoder = contextual(V, slots=5)
    asked = GenerationSettings(do_sample=False, num_beams=5, max_new_tokens=8)
    beam_search(decoder, [[1, 2]], asked)
    copies = [call for call in decoder.calls if call.startswith("copy")]
    runs = [call for call in decoder.calls if call.startswith("run")]
    assert runs[0] == "run 0+2"
    assert len(runs) == 8
    assert 4 <= len(copies) < 4 * 7  # four at the start, later fewer than all


def test_a_rule_and_an_end_of_the_caller() -> None:
    decoder = contextual(V)
    asked = GenerationSettings(
        do_sample=False, num_beams=3, num_return_sequences=3, max_new_tokens=6
    )

    def no_four(ids: Any, n_prompt: int, log_probs: np.ndarray) -> np.ndarray:
        assert ids[:n_prompt] == [1, 2]
        assert np.exp(log_probs).sum() == pytest.approx(1)
        changed = log_probs.copy()
        changed[4] = -np.inf
        return changed

    def three_written(number: int, candidates: Any, n_prompt: int) -> list[bool]:
        assert all(ids[:n_prompt] == [1, 2] for ids in candidates)
        return [len(ids) == n_prompt + 3 for ids in candidates]

    (found,) = beam_search(decoder, [[1, 2]], asked, three_written, [no_four])
    assert all(len(hypothesis.ids) == 3 and 4 not in hypothesis.ids for hypothesis in found)
    expected = sorted(
        (
            sum(
                float(log_softmax(decoder.logits_of((1, 2, *path[:place])))[path[place]])
                for place in range(3)
            )
            / 3,
            list(path),
        )
        for path in itertools.product(range(V), repeat=3)
        if 4 not in path
    )
    assert found[0].score <= expected[-1][0] + 1e-5


def test_a_prompt_that_the_caller_reads() -> None:
    """For example one of embeddings: its ids, if any, are only what the rules see."""
    decoder = contextual(V, slots=8)
    asked = replace(TWO, num_beams=4, num_beam_groups=2, diversity_penalty=1.0)
    expected = beam_search(decoder, [[3, 1], [5]], asked)
    hidden = [[3, 1], [5]]
    found = beam_search(
        decoder,
        [[], []],
        asked,
        open_prompt=lambda slot, number, states: decoder.run(
            [Part(slot, hidden[number])], hidden=states
        ),
    )
    assert found == expected


def test_a_beam_without_a_choice_dies() -> None:
    """Rules may leave one beam no token; the others continue."""
    decoder = contextual(3, slots=2)
    asked = GenerationSettings(do_sample=False, num_beams=2, max_new_tokens=3)

    def only_after_one(ids: Any, n_prompt: int, log_probs: np.ndarray) -> np.ndarray:
        return (
            np.full_like(log_probs, -np.inf) if ids[n_prompt : n_prompt + 1] == [0] else log_probs
        )

    (found,) = beam_search(decoder, [[1]], asked, extra=[only_after_one])
    assert found[0].ids[0] != 0

    def nothing(ids: Any, n_prompt: int, log_probs: np.ndarray) -> np.ndarray:
        return np.full_like(log_probs, -np.inf)

    with pytest.raises(SamplingError, match=r"prompt has only 0 .*sequences is 1") as caught:
        beam_search(decoder, [[1]], asked, extra=[nothing])
    assert "lower num_return_sequences" in caught.value.hint
    with pytest.raises(SamplingError, match="largest of 3 logits is nan"):
        beam_search(decoder, [[1]], asked, extra=[lambda ids, n, row: row * np.nan])


def pairs(table: np.ndarray, **asked: Any) -> Counter[tuple[int, ...]]:
    """The two tokens that beam sampling returns after one step, over many seeds."""
    decoder = markov(table, slots=2)
    found: Counter[tuple[int, ...]] = Counter()
    for seed in range(N):
        options = GenerationSettings(
            num_beams=2, num_return_sequences=2, max_new_tokens=1, seed=seed, **asked
        )
        ((first, second),) = beam_search(decoder, [[0]], options)
        found[tuple(sorted([*first.ids, *second.ids]))] += 1
    return found


N = 2000


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_one_step_of_beam_sampling_follows_the_exact_distribution(temperature: float) -> None:
    table = np.random.default_rng(3).normal(size=(5, 5)).astype(np.float32)
    counts = pairs(table, temperature=temperature)

    def distance(temperature: float) -> float:
        p = np.exp(table[0].astype(np.float64) / temperature)
        p /= p.sum()
        total = 0.0
        for a, b in itertools.combinations(range(5), 2):
            chance = p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
            total += (counts[a, b] - N * chance) ** 2 / (N * chance)
        return float(total)

    limit = chi_square_limit(9)
    assert distance(temperature) < limit
    assert distance(temperature * 1.4) > limit  # a temperature not quite applied


def test_beam_sampling_is_the_seeds_and_the_prompts_alone() -> None:
    decoder = contextual(V, slots=9)
    asked = GenerationSettings(
        num_beams=3, num_return_sequences=3, max_new_tokens=6, seed=5, top_k=4, eos_token_id=(3,)
    )
    alone = beam_search(decoder, [[1, 2]], asked)[0]
    among = beam_search(decoder, [[7], [1, 2], [1, 2]], asked)
    for found in among[1:]:
        assert [(h.ids, h.score) for h in found] == [(h.ids, h.score) for h in alone]
    assert alone != beam_search(decoder, [[1, 2]], replace(asked, seed=6))[0]
    scores = [hypothesis.score for hypothesis in alone]
    assert scores == sorted(scores, reverse=True)


TWO = GenerationSettings(do_sample=False, num_beams=2, max_new_tokens=4)


@pytest.mark.parametrize(
    ("decoder", "prompts", "error", "match", "hint"),
    [
        (
            contextual(V, slots=1),
            [[1], [2]],
            DecoderError,
            "has 1 slots; this text needs 2",
            "more slots",
        ),
        (contextual(V), [[1] * 14], ContextTooLong, "14 tokens and up to 3 .* is 16", "shorten"),
        (contextual(V), [[V]], TokenOutOfRange, "id 9", "tokenizer"),
        (markov(np.full((V, V), np.nan)), [[1]], DecoderError, "largest logit is nan", "weights"),
    ],
)
def test_what_cannot_be_is_refused(
    decoder: Any, prompts: Any, error: Any, match: str, hint: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        beam_search(decoder, prompts, TWO)
    assert hint in caught.value.hint
    assert decoder.held == [[]] * decoder.slots


def test_a_prompt_that_just_fits() -> None:
    (found,) = beam_search(contextual(V), [[1] * 13], TWO)  # its last token is never read
    assert len(found[0].ids) == 4


def test_fewer_continuations_than_asked_for() -> None:
    asked = GenerationSettings(
        do_sample=False, num_beams=3, num_return_sequences=3, max_new_tokens=1
    )
    with pytest.raises(SamplingError, match=r"only 2 continuations.*sequences is 3") as caught:
        beam_search(contextual(2), [[1]], asked)
    assert "raise max_new_tokens" in caught.value.hint
