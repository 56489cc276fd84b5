import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import torch
import transformers.generation.logits_process as lp
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpt.config.ranges import MAX_SEED
from ogpt.errors import ContextTooLong, DecoderError, SamplingError, TokenOutOfRange
from ogpt.generation.choosing.processors import ban
from ogpt.generation.choosing.random_numbers import sample, uniform
from ogpt.generation.choosing.rules import in_place, warp
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Computed, Part
from ogpt.generation.searching.sampling import kept_when_full, search, slides
from ogpt.generation.searching.text import Token
from tests.markov import StandInDecoder, chi_square_limit, contextual, log_softmax, markov

V = 9


def by_continuation(tokens: list[Token]) -> list[list[Token]]:
    grouped: dict[int, list[Token]] = {}
    for token in tokens:
        grouped.setdefault(token.continuation, []).append(token)
    return [grouped[i] for i in range(len(grouped))]


def ids_of(tokens: list[Token]) -> list[list[int]]:
    return [[token.id for token in one] for one in by_continuation(tokens)]


def naive(
    decoder: StandInDecoder, prompt: list[int], asked: GenerationSettings, number: int, kept: int
) -> list[int]:
    """One continuation by itself: no slots, no cache, the whole text processed for every token."""
    n = decoder.n_positions
    context, written = list(prompt[-n:]), []
    while len(written) < asked.max_new_tokens:
        logits = np.asarray(decoder.logits_of(tuple(context)), dtype=np.float32)
        if asked.do_sample:
            filtered = in_place(*warp(asked, logits), len(logits))
            token_id = sample(filtered, uniform(asked.seed, number, len(written)))
        else:
            token_id = int(logits.argmax())
        written.append(token_id)
        if token_id in asked.eos_token_id:
            break
        full = len(context) == n
        context = [*prompt, *written][-kept:] if full else [*context, token_id]
    return written


PROMPTS = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=14), min_size=1, max_size=4)
ASKED = st.builds(
    GenerationSettings,
    max_new_tokens=st.integers(1, 20),
    temperature=st.sampled_from([0.7, 1.0, 1.5]),
    top_k=st.sampled_from([0, 3]),
    top_p=st.sampled_from([1.0, 0.8]),
    seed=st.integers(0, MAX_SEED),
    num_return_sequences=st.integers(1, 4),
    eos_token_id=st.sampled_from([(), (0,), (2, 5)]),
)


@settings(deadline=None)
@given(PROMPTS, ASKED, st.integers(1, 5), st.integers(1, 9))
def test_every_continuation_is_the_one_it_would_be_alone(
    prompts: list[list[int]], asked: GenerationSettings, slots: int, n_positions: int
) -> None:
    """Whatever the slots, its neighbours and their ends: also beyond n_positions."""
    decoder = contextual(V, n_positions=n_positions, slots=slots)
    written = ids_of(list(search(decoder, prompts, asked)))
    kept = kept_when_full(n_positions)
    assert written == [
        naive(decoder, prompt, asked, number, kept)
        for prompt in prompts
        for number in range(asked.num_return_sequences)
    ]
    assert decoder.held == [[]] * slots


@settings(deadline=None)
@given(PROMPTS, st.integers(1, 3), st.integers(1, 9))
def test_greedy_takes_the_most_likely_token(
    prompts: list[list[int]], slots: int, n_positions: int
) -> None:
    decoder = contextual(V, n_positions=n_positions, slots=slots)
    asked = GenerationSettings(max_new_tokens=12, do_sample=False)
    kept = kept_when_full(n_positions)
    assert ids_of(list(search(decoder, prompts, asked))) == [
        naive(decoder, prompt, asked, 0, kept) for prompt in prompts
    ]


def test_planted_faults_change_the_tokens() -> None:
    """A window off by one, or draws keyed by the wrong number, are seen by the comparison."""
    decoder = contextual(V, n_positions=8)
    asked = GenerationSettings(max_new_tokens=20, num_return_sequences=2)
    first, second = ids_of(list(search(decoder, [[1, 2, 3]], asked)))
    assert first == naive(decoder, [1, 2, 3], asked, 0, kept=4)
    assert first != naive(decoder, [1, 2, 3], asked, 0, kept=5)
    assert second != naive(decoder, [1, 2, 3], asked, 0, kept=4)


def exact_distribution(
    table: np.ndarray, start: int, length: int, steps: list[lp.LogitsProcessor]
) -> dict[tuple[int, ...], float]:
    """Chance of every continuation: transformers' processors over the table's rows, multiplied."""

    def chances(text: tuple[int, ...]) -> np.ndarray:
        scores = torch.tensor(table[text[-1]], dtype=torch.float64)[None]
        for step in steps:
            scores = step(torch.tensor([text]), scores)
        return scores.softmax(-1)[0].numpy()

    return {
        path: float(np.prod([chances((start, *path[:i]))[token] for i, token in enumerate(path)]))
        for path in itertools.product(range(len(table)), repeat=length)
    }


@pytest.mark.parametrize(
    ("asked", "steps"),
    [
        ({}, []),
        ({"temperature": 0.6}, [lp.TemperatureLogitsWarper(0.6)]),
        ({"temperature": 1.7}, [lp.TemperatureLogitsWarper(1.7)]),
        ({"top_k": 3}, [lp.TopKLogitsWarper(3)]),
        ({"top_p": 0.7}, [lp.TopPLogitsWarper(0.7)]),
        ({"min_p": 0.2}, [lp.MinPLogitsWarper(0.2)]),
        ({"typical_p": 0.7}, [lp.TypicalLogitsWarper(0.7)]),
        ({"epsilon_cutoff": 0.15}, [lp.EpsilonLogitsWarper(0.15)]),
        ({"eta_cutoff": 0.3}, [lp.EtaLogitsWarper(0.3)]),
        ({"suppress_tokens": (1,)}, [lp.SuppressTokensLogitsProcessor([1])]),
        ({"repetition_penalty": 1.5}, [lp.RepetitionPenaltyLogitsProcessor(1.5)]),
        (
            {"sequence_bias": {(0, 2): 0.5, (1,): -1.0}},
            [lp.SequenceBiasLogitsProcessor({(0, 2): 0.5, (1,): -1.0})],
        ),
        (
            {"temperature": 1.3, "top_k": 4, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.9},
            [
                lp.TemperatureLogitsWarper(1.3),
                lp.TopKLogitsWarper(4),
                lp.TopPLogitsWarper(0.9),
                lp.MinPLogitsWarper(0.1),
                lp.TypicalLogitsWarper(0.9),
            ],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_sampled_texts_follow_the_exact_distribution(asked, steps) -> None:
    table = np.random.default_rng(5).normal(size=(5, 5))
    n = 4000
    wanted = GenerationSettings(max_new_tokens=2, seed=11, num_return_sequences=n, **asked)
    decoder = markov(table, slots=64)
    counts = Counter(map(tuple, ids_of(list(search(decoder, [[0]], wanted)))))
    exact = exact_distribution(table, 0, 2, steps)
    assert all(exact[path] > 0 for path in counts)
    possible = {path: chance for path, chance in exact.items() if chance > 0}
    assert sum(possible.values()) == pytest.approx(1)

    def distance(chances: dict[tuple[int, ...], float]) -> float:
        return sum((counts[path] - n * c) ** 2 / (n * c) for path, c in chances.items())

    limit = chi_square_limit(len(possible) - 1)
    assert distance(possible) < limit
    # a temperature applied twice, or where none was asked for
    twice = exact_distribution(table, 0, 2, [lp.TemperatureLogitsWarper(0.6), *steps])
    assert distance({path: max(twice[path], 1e-9) for path in possible}) > limit


def test_the_log_probability_is_the_models_own() -> None:
    decoder = contextual(V)
    asked = GenerationSettings(max_new_tokens=6, temperature=0.3, top_k=2, suppress_tokens=(0,))
    held = [3, 1]
    for token in search(decoder, [[3, 1]], asked):
        exact = log_softmax(decoder.logits_of(tuple(held)))[token.id]
        assert token.log_prob == pytest.approx(float(exact), abs=1e-5)
        held.append(token.id)


@pytest.mark.parametrize("do_sample", [False, True])
def test_the_most_likely_tokens_are_told_with_each(do_sample: bool) -> None:
    """Under the model itself, whatever the rules; of equal ones the lower id comes first."""
    table = np.random.default_rng(2).normal(size=(V, V)).astype(np.float32)
    table[:, 3] = table[:, 6] = table.max() + 1
    asked = GenerationSettings(max_new_tokens=8, do_sample=do_sample, suppress_tokens=(3,))
    held = [1]
    for token in search(markov(table, n_positions=32), [held], asked, top_logprobs=4):
        exact = log_softmax(table[held[-1]])
        order = np.argsort(-exact, kind="stable")[:4]
        ids, values = zip(*token.top_log_probs, strict=True)
        assert list(ids) == order.tolist()
        assert ids[:2] == (3, 6)
        np.testing.assert_allclose(values, exact[order], atol=1e-6)
        assert dict(token.top_log_probs).get(token.id, token.log_prob) == token.log_prob
        held.append(token.id)
    [token, *_] = search(markov(table), [[1]], asked)
    assert token.top_log_probs == ()


def test_only_allowed_tokens_are_written() -> None:
    asked = GenerationSettings(max_new_tokens=40, allowed_token_ids=(2, 5), eos_token_id=(7,))
    [written] = ids_of(list(search(contextual(V, n_positions=64), [[1]], asked)))
    assert set(written) == {2, 5}
    assert len(written) == 40


def test_a_prompt_is_read_once_and_copied() -> None:
    decoder = contextual(V, slots=3)
    list(search(decoder, [[1, 2, 3]], GenerationSettings(max_new_tokens=2, num_return_sequences=3)))
    assert decoder.calls == ["run 0+3", "copy 0 1", "copy 0 2", "run 0+1 1+1 2+1"]


def test_only_live_sequences_are_stepped_and_slots_pass_on() -> None:
    table = np.full((4, 4), -50.0, dtype=np.float32)
    for now, after in [(0, 1), (1, 2), (2, 3), (3, 3)]:
        table[now, after] = 0  # 0 1 2 3 3 3 ...
    decoder = markov(table, slots=2)
    asked = GenerationSettings(max_new_tokens=4, do_sample=False, eos_token_id=(2,))
    tokens = list(search(decoder, [[0], [3], [1]], asked))
    assert ids_of(tokens) == [[1, 2], [3, 3, 3, 3], [2]]
    ends = [one[-1].finish_reason for one in by_continuation(tokens)]
    assert ends == ["stop", "length", "stop"]
    assert decoder.calls == [
        "run 0+1 1+1",
        "run 0+1 1+1",  # the first prompt ends here
        "run 1+1 0+1",  # the third takes its slot, and ends at once
        "run 1+1",
    ]


def test_nothing_ends_a_text_before_its_minimum() -> None:
    decoder = contextual(V)
    eos_token_id = tuple(range(1, V))
    for minimum in range(5):
        asked = GenerationSettings(
            max_new_tokens=5, min_new_tokens=minimum, eos_token_id=eos_token_id, do_sample=False
        )
        written = ids_of(list(search(decoder, [[1]], asked)))[0]
        assert all(token_id not in eos_token_id for token_id in written[:minimum])
        assert len(written) >= minimum


def test_the_caller_can_end_a_continuation() -> None:
    seen: list[tuple[int, int]] = []

    def ends(tokens: Sequence[Token]) -> set[int]:
        seen.extend((token.continuation, token.id) for token in tokens)
        return {1} if len(seen) >= 4 else set()

    asked = GenerationSettings(max_new_tokens=3, num_return_sequences=2)
    tokens = list(search(contextual(V), [[1]], asked, ends))
    first, second = by_continuation(tokens)
    assert [len(first), len(second)] == [3, 2]
    assert second[-1].finish_reason == "stop"
    assert seen == [(token.continuation, token.id) for token in tokens]


def test_closing_the_generator_frees_the_slots() -> None:
    decoder = contextual(V)
    going = search(decoder, [[1, 2]], GenerationSettings(num_return_sequences=3))
    next(going)
    assert decoder.length(0) == 2
    going.close()
    assert decoder.held == [[]] * 4


def test_an_error_on_the_way_frees_the_slots() -> None:
    decoder = contextual(V)
    with pytest.raises(TokenOutOfRange):
        list(search(decoder, [[1, 2], [V]], GenerationSettings()))
    assert decoder.held == [[]] * 4


def test_no_prompts_no_tokens() -> None:
    assert list(search(contextual(V), [], GenerationSettings())) == []


@pytest.mark.parametrize(
    ("n_positions", "n_prompt", "new", "expected"),
    [(8, 3, 5, False), (8, 3, 6, False), (8, 3, 7, True), (8, 20, 1, False), (8, 20, 2, True)],
)
def test_slides_is_told_exactly_when_it_happens(
    n_positions: int, n_prompt: int, new: int, expected: bool
) -> None:
    decoder = contextual(V, n_positions=n_positions)
    list(search(decoder, [[1] * n_prompt], GenerationSettings(max_new_tokens=new)))
    happened = sum(not call.endswith("+1") for call in decoder.calls) > 1
    assert slides(n_positions, n_prompt, new) == happened == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_numbers_are_refused(value: float) -> None:
    decoder = StandInDecoder(lambda held: np.full(V, value), V)
    with pytest.raises(DecoderError, match=f"largest logit is {value}; allowed: finite") as caught:
        list(search(decoder, [[1]], GenerationSettings()))
    assert "use another checkpoint" in caught.value.hint


@settings(deadline=None)
@given(PROMPTS, ASKED, st.integers(1, 4))
def test_what_is_watched_explains_every_token(
    prompts: list[list[int]], asked: GenerationSettings, slots: int
) -> None:
    watched: list[tuple[int, np.ndarray, np.ndarray]] = []
    decoder = contextual(V, slots=slots)
    tokens = list(search(decoder, prompts, asked, watch=lambda *told: watched.append(told)))
    assert [told[0] for told in watched] == [token.continuation for token in tokens]
    written: dict[int, int] = {}
    for token, (continuation, logits, scores) in zip(tokens, watched, strict=True):
        assert logits.shape == scores.shape == (V,)
        assert float(log_softmax(logits)[token.id]) == pytest.approx(token.log_prob, abs=1e-5)
        step = written.get(continuation, 0)
        number = uniform(asked.seed, continuation % asked.num_return_sequences, step)
        assert sample(scores, number) == token.id
        if asked.top_k:
            assert (scores > -np.inf).sum() <= asked.top_k
        written[continuation] = step + 1


def test_rules_of_the_caller_see_the_text_and_its_prompt() -> None:
    seen: list[tuple[list[int], int]] = []

    def rule(ids, n_prompt, logits):
        seen.append((list(ids), n_prompt))
        favoured = logits.copy()
        favoured[len(ids) % V] = 99
        return favoured

    asked = GenerationSettings(max_new_tokens=3, do_sample=False)
    decoder = contextual(V, n_positions=4)
    tokens = list(search(decoder, [[1, 2, 3]], asked, extra=[rule]))
    assert [token.id for token in tokens] == [3, 4, 5]
    assert seen == [([1, 2, 3], 3), ([1, 2, 3, 3], 3), ([1, 2, 3, 3, 4], 3)]


def new_tokens_once(ids: list[int], n_prompt: int, logits: np.ndarray) -> np.ndarray:
    return ban(logits, ids[n_prompt:])


def test_prompts_can_be_read_by_the_caller() -> None:
    """Without ids of their own, as embeddings are: rules then see new tokens only."""
    decoder = contextual(V, slots=2)
    prompts = [[1, 2], [3, 4, 5]]
    asked = GenerationSettings(max_new_tokens=4, num_return_sequences=3, no_repeat_ngram_size=1)
    opened: list[tuple[int, int]] = []

    def open_prompt(slot: int, number: int, hidden: bool) -> Computed:
        opened.append((slot, number))
        return decoder.run([Part(slot, prompts[number])], hidden=hidden)

    tokens = list(search(decoder, [[], []], asked, open_prompt=open_prompt))
    assert [number for _, number in opened] == [0, 0, 1, 1]
    alone = []
    for prompt in prompts:
        without = GenerationSettings(max_new_tokens=4, num_return_sequences=3)
        alone += ids_of(list(search(decoder, [prompt], without, extra=[new_tokens_once])))
    assert ids_of(tokens) == alone


def test_logits_keep_their_dtype() -> None:
    class Float64(StandInDecoder):
        def _logits(self, slot: int) -> np.ndarray:
            return super()._logits(slot).astype(np.float64)

    dtypes: set[tuple[object, object]] = set()
    asked = GenerationSettings(
        max_new_tokens=9, temperature=0.8, top_k=5, top_p=0.9, repetition_penalty=1.1
    )
    for decoder in (contextual(V, n_positions=5), Float64(lambda held: np.arange(V), V, 5)):
        tokens = search(
            decoder,
            [[1, 2], [3]],
            asked,
            watch=lambda _, logits, scores: dtypes.add((logits.dtype, scores.dtype)),
        )
        assert len(list(tokens)) == 18
    assert dtypes == {(np.dtype(name), np.dtype(name)) for name in ("float32", "float64")}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"num_beams": 2}, "num_beams is 2; allowed: 1 in greedy search"),
        (
            {"penalty_alpha": 0.6, "top_k": 4, "do_sample": False},
            "penalty_alpha is 0.6; allowed: 0 in greedy search",
        ),
    ],
)
def test_settings_of_another_search_are_refused(asked: dict, message: str) -> None:
    decoder = contextual(V)
    with pytest.raises(SamplingError, match=message) as caught:
        list(search(decoder, [[1]], GenerationSettings(**asked)))
    assert "beam_search or contrastive_search" in caught.value.hint
    assert decoder.calls == []


def test_the_stand_in_keeps_the_protocol() -> None:
    """What the tests above rest on: it refuses what a decoder must refuse, and stays as it was."""
    decoder = contextual(V, n_positions=4, slots=2)
    decoder.run([Part(0, [1, 2, 3])])
    for wrong, error in [
        (lambda: decoder.run([Part(2, [1])]), DecoderError),
        (lambda: decoder.run([Part(0, [])]), DecoderError),
        (lambda: decoder.run([Part(0, [1, 2])]), ContextTooLong),
        (lambda: decoder.run([Part(0, [V])]), TokenOutOfRange),
        (lambda: decoder.run([Part(0, [1]), Part(0, [1])]), DecoderError),
        (lambda: decoder.run([Part(0, [1]), Part(1, [V])]), TokenOutOfRange),
        (lambda: decoder.run([]), DecoderError),
        (lambda: decoder.run([Part(0, [1])], hidden=True), DecoderError),
        (lambda: decoder.score(0, [1], [1, 2]), DecoderError),
        (lambda: decoder.score(0, [1], [V]), TokenOutOfRange),
        (lambda: decoder.truncate(0, 4), DecoderError),
        (lambda: decoder.copy(0, 2), DecoderError),
        (lambda: decoder.free(-1), DecoderError),
    ]:
        with pytest.raises(error):
            wrong()
        assert decoder.held == [[1, 2, 3], []]
    decoder.copy(0, 1)
    stepped = decoder.run([Part(1, [4]), Part(0, [5])]).logits
    decoder.truncate(0, 3)
    np.testing.assert_array_equal(stepped[1:], decoder.run([Part(0, [5])]).logits)
    decoder.truncate(1, 2)
    everything = decoder.run([Part(1, [3, 4], "all")]).logits
    np.testing.assert_array_equal(stepped[0], everything[-1])
    decoder.free(1)
    scores = decoder.score(1, [1, 2, 3], [2, 3, 4], top=2)
    np.testing.assert_array_equal(scores.log_probs[2], log_softmax(decoder.logits_of((1, 2, 3)))[4])
    assert scores.top_ids.shape == scores.top_log_probs.shape == (3, 2)
    assert decoder.run([Part(1, [1], "none")]).logits.shape == (0, V)
