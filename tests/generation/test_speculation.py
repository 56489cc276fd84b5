"""Speculation changes no token and no log-probability, saves steps where text repeats itself, and
never costs much."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpt.config.ranges import MAX_SEED
from ogpt.errors import DecoderError
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Abilities, Computed
from ogpt.generation.searching.sampling import Sampling, search
from ogpt.generation.searching.speculation import Lookup
from ogpt.generation.searching.text import Token
from ogpt.notices import collecting
from tests.markov import StandInDecoder, contextual
from tests.native.models import native, small_model

V = 7
Cost = Callable[[int], float]


class Timed(StandInDecoder):
    """A decoder with a clock of its own: a step takes 1, reading n tokens `cost(n)`.

    Its texts repeat themselves: the logits are those of a cycle, and now and then of chance.
    """

    def __init__(self, cost: Cost, chance: float = 0.2, seed: int = 0, **options: Any) -> None:
        chances = contextual(V)
        cycle = np.random.default_rng(seed).permutation(V)

        def logits_of(held: tuple[int, ...]) -> np.ndarray:
            random = chances.logits_of((seed, *held[-6:]))
            if random[0] / 3 > 1.5 - 3 * chance:  # of a normal distribution
                return random
            return random / 3 + 9.0 * (np.arange(V) == cycle[held[-1]])

        super().__init__(logits_of, V, **options)
        self.cost = cost
        self.now = 0.0
        self.saved = 0

    def run(self, parts: Any, *, hidden: bool = False) -> Computed:
        counts = [len(part.ids) for part in parts]
        self.now += sum(map(self.cost, counts)) if max(counts) > 1 else 1.0
        self.saved += sum(len(part.ids) - 1 for part in parts if part.want == "all")
        return super().run(parts, hidden=hidden)

    def clock(self) -> float:
        return self.now


def is_step(call: str) -> bool:
    """Whether each slot of the call got one token."""
    return all(part.endswith("+1") for part in call.split()[1:])


def cheap(n: int) -> float:
    return 1 + 0.1 * (n - 1)


Watched = list[tuple[int, bytes, bytes]]


def run(
    decoder: Timed, prompts: list[list[int]], asked: GenerationSettings, **options: Any
) -> tuple[list[Token], Watched]:
    watched: Watched = []
    found = search(
        decoder,
        prompts,
        asked,
        watch=lambda one, logits, scores: watched.append((one, logits.tobytes(), scores.tobytes())),
        clock=decoder.clock,
        **options,
    )
    tokens = list(found)
    assert decoder.held == [[]] * decoder.slots
    return tokens, watched


PROMPTS = st.lists(st.lists(st.integers(0, V - 1), min_size=1, max_size=30), min_size=1, max_size=3)
ASKED = st.builds(
    GenerationSettings,
    max_new_tokens=st.integers(1, 90),
    do_sample=st.booleans(),
    temperature=st.sampled_from([0.4, 1.0]),
    top_k=st.sampled_from([0, 3]),
    top_p=st.sampled_from([1.0, 0.9]),
    seed=st.integers(0, MAX_SEED),
    eos_token_id=st.sampled_from([(), (0,)]),
    min_new_tokens=st.just(1),
    repetition_penalty=st.sampled_from([1.0, 1.05]),
    frequency_penalty=st.sampled_from([0.0, 0.02]),
    no_repeat_ngram_size=st.sampled_from([0, 0, 9]),
    prompt_lookup_num_tokens=st.sampled_from([None, 1, 4, 20]),
)


@settings(deadline=None, max_examples=40)
@given(PROMPTS, ASKED, st.integers(1, 3), st.integers(5, 40), st.floats(0, 0.6), st.data())
def test_tokens_and_log_probabilities_are_those_without(
    prompts: list[list[int]],
    asked: GenerationSettings,
    slots: int,
    n_positions: int,
    chance: float,
    data: st.DataObject,
) -> None:
    """Greedy and sampled, with penalties, ends, stops of the caller, and texts that slide."""
    size = {"n_positions": n_positions, "slots": slots, "chance": chance}
    stop = data.draw(st.lists(st.integers(0, V - 1), min_size=3, max_size=3))
    shown: dict[int, list[int]] = {}

    def ends(tokens: Sequence[Token]) -> set[int]:
        for token in tokens:
            shown.setdefault(token.continuation, []).append(token.id)
        return {one.continuation for one in tokens if shown[one.continuation][-3:] == stop}

    found, watched = run(Timed(cheap, **size), prompts, asked, ends=ends)
    shown.clear()
    without = replace(asked, prompt_lookup_num_tokens=0)
    expected, all_watched = run(Timed(cheap, **size), prompts, without, ends=ends)
    assert found == expected
    assert watched == all_watched


LONG = GenerationSettings(max_new_tokens=300, do_sample=False)


def test_repeated_text_takes_fewer_calls() -> None:
    for seed in range(5):
        fast, plain = (Timed(cheap, seed=seed, chance=0, n_positions=400) for _ in range(2))
        run(fast, [[1, 2]], LONG)
        run(plain, [[1, 2]], replace(LONG, prompt_lookup_num_tokens=0))
        assert fast.now < plain.now / 3
        assert fast.saved > 200


def test_a_prompt_that_is_repeated_is_drafted_from_at_once() -> None:
    prompt = [1, 2, 3, 4, 5, 6, 0, 3, 1, 5, 2, 4, 6]

    def repeats(held: tuple[int, ...]) -> np.ndarray:
        return 9.0 * (np.arange(V) == prompt[len(held) % len(prompt)])

    class Repeats(Timed):
        def __init__(self, cost: Cost) -> None:
            super().__init__(cost, n_positions=99)
            self.logits_of = repeats

    decoder = Repeats(lambda n: 40.0 if n == 13 else 1.1)  # a prompt that took its time
    run(decoder, [prompt], GenerationSettings(max_new_tokens=60, do_sample=False))
    assert len(decoder.calls) < 30


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 99),
    st.floats(0, 0.6),
    st.sampled_from([0.1, 0.5, 0.9, 1.0, 1.6]),
    st.booleans(),
    st.sampled_from([None, 1, 7]),
)
def test_it_never_costs_five_percent(
    seed: int, chance: float, a_row: float, do_sample: bool, most: int | None
) -> None:
    """Whatever drafts cost and how often they are wrong: also where each row costs a step, or more
    (the clock then blames something else, and what it took still counts)."""
    asked = replace(LONG, do_sample=do_sample, prompt_lookup_num_tokens=most)
    size = {"seed": seed, "chance": chance, "n_positions": 400}

    def cost(n: int) -> float:
        return 1 + a_row * (n - 1)

    tried, plain = Timed(cost, **size), Timed(cost, **size)
    run(tried, [[1, 2]], asked)
    run(plain, [[1, 2]], replace(asked, prompt_lookup_num_tokens=0))
    assert tried.now <= 1.05 * plain.now + 1


def test_costs_that_change_are_noticed() -> None:
    """A first reading that took long, as a machine does that had to do something else, is doubted;
    drafts that have become dear are given up."""
    slow_once = iter([9.0])
    decoder = Timed(
        lambda n: cheap(n) + (next(slow_once, 0) if n > 2 else 0), chance=0, n_positions=1500
    )
    run(decoder, [[1, 2]], replace(LONG, max_new_tokens=1400))
    assert decoder.now < 700

    class Tires(Timed):
        def run(self, parts: Any, *, hidden: bool = False) -> Computed:
            self.now += 3.0 * (len(parts[0].ids) - 1) * (self.now > 100)
            return super().run(parts, hidden=hidden)

    tires = Tires(cheap, chance=0, n_positions=1500)
    run(tires, [[1, 2]], replace(LONG, max_new_tokens=1400))
    late = tires.calls[-400:]
    assert sum(map(is_step, late)) > 350


def test_a_draft_is_at_most_as_long_as_asked_and_as_there_is_room() -> None:
    for most in (1, 3, 5, 7):
        decoder = Timed(cheap, chance=0, n_positions=400)
        run(decoder, [[1, 2]], replace(LONG, prompt_lookup_num_tokens=most))
        longest = max(int(call.split("+")[1]) for call in decoder.calls)
        assert longest == 1 + max(n for n in (1, 3, 7) if n <= most)
    decoder = Timed(cheap, chance=0, n_positions=48)
    tokens, _ = run(decoder, [[1, 2]], LONG)  # the stand-in refuses more than its positions
    assert len(tokens) == 300


@pytest.mark.parametrize("why", ["off", "not bitwise", "several"])
def test_where_it_is_off_every_token_is_a_step(why: str) -> None:
    decoder = Timed(cheap, chance=0, n_positions=400)
    asked = LONG
    prompts = [[1, 2]]
    if why == "off":
        asked = replace(asked, prompt_lookup_num_tokens=0)
    elif why == "not bitwise":
        decoder.abilities = Abilities(False, False, False, False)
    else:
        prompts = [[1, 2], [3]]
    with collecting() as notices:
        run(decoder, prompts, asked)
    assert sum(map(is_step, decoder.calls)) == 299
    assert notices == []


def test_asking_for_it_where_tokens_could_change_is_told() -> None:
    decoder = Timed(cheap)
    decoder.abilities = Abilities(False, False, False, False)
    asked = GenerationSettings(max_new_tokens=2, prompt_lookup_num_tokens=4)
    with collecting() as notices:
        list(search(decoder, [[1, 2]], asked))
    assert [notice.message for notice in notices] == [
        "prompt_lookup_num_tokens has no effect: the logits of this decoder depend on how many "
        "tokens it processes at once"
    ]


def test_the_last_of_several_texts_is_drafted() -> None:
    decoder = Timed(cheap, chance=0, n_positions=400, slots=2)
    shown = {0: 0, 1: 0}

    def ends(tokens: Sequence[Token]) -> set[int]:
        for token in tokens:
            shown[token.continuation] += 1
        return {0} if shown[0] == 20 else set()

    tokens, _ = run(decoder, [[1, 2], [3]], LONG, ends=ends)
    assert shown == {0: 20, 1: 300}
    assert len(tokens) == 320
    assert decoder.saved > 150


def test_planted_faults_change_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are taken although the choice was another, and a draft that stays in the slot."""
    size: dict[str, Any] = {"chance": 0.3, "n_positions": 4000}
    asked = replace(LONG, do_sample=True, temperature=0.7)
    expected, _ = run(Timed(cheap, **size), [[1, 2]], replace(asked, prompt_lookup_num_tokens=0))
    assert run(Timed(cheap, **size), [[1, 2]], asked)[0] == expected

    class Credulous(Sampling):
        def take(self, rows: Any, hidden: Any) -> Any:
            tokens = []
            for row in rows:
                tokens.append(self._next(row))
                if self.finished:
                    break
            self._drafted = []
            return tokens

    class Untidy(Sampling):
        def take(self, rows: Any, hidden: Any) -> Any:
            held = list(self._decoder.held[self._slot])
            tokens = super().take(rows, hidden)
            self._decoder.held[self._slot] = held
            return tokens

    for fault in (Credulous, Untidy):
        monkeypatch.setattr("ogpt.generation.searching.sampling.Sampling", fault)
        assert run(Timed(cheap, **size), [[1, 2]], asked)[0] != expected


def test_the_longest_and_latest_that_was_like_it_is_followed() -> None:
    def drafted(ids: list[int], count: int = 3) -> list[int]:
        lookup = Lookup()
        for end in range(1, len(ids) + 1):  # as a text grows
            lookup.read(ids[:end])
        at_once = Lookup()
        at_once.read(ids)
        assert at_once.draft(ids, count) == lookup.draft(ids, count)
        assert lookup.guesses == bool(lookup.draft(ids, 1))
        assert at_once.rate == lookup.rate
        return lookup.draft(ids, count)

    assert drafted([1, 2, 3, 4, 5]) == []
    assert drafted([1]) == []
    assert drafted([1, 2, 7, 8, 9, 1, 2]) == [7, 8, 9]
    assert drafted([1, 2, 7, 3, 1, 2, 8, 3, 1, 2]) == [8, 3, 1]  # the later one
    assert drafted([5, 1, 2, 7, 3, 4, 1, 2, 8, 3, 5, 1, 2]) == [7, 3, 4]  # the longer one
    assert drafted([9, 1, 2, 1, 2], 5) == [1, 2, 1, 2, 1]  # the draft continues into itself
    assert drafted([4, 4, 4], 4) == [4, 4, 4, 4]
    assert drafted([1, 2, 7, 1, 2], 0) == []


def test_the_rate_is_that_of_guesses_that_were_right() -> None:
    lookup = Lookup()
    lookup.read([1, 2, 3, 4] * 30)
    assert lookup.rate > 0.99
    before = lookup.rate
    ids = [*[1, 2, 3, 4] * 30, 9]
    lookup.read(ids)
    assert lookup.rate == pytest.approx(before * 7 / 8)
    lookup.read([*ids, 1])  # nothing was guessed: nothing was wrong
    assert lookup.rate == pytest.approx(before * 7 / 8)


def test_a_decoder_that_gives_no_logits_is_refused() -> None:
    class Silent(Timed):
        def run(self, parts: Any, *, hidden: bool = False) -> Computed:
            found = super().run(parts, hidden=hidden)
            return Computed(found.logits[:0]) if parts[0].want == "all" else found

    decoder = Silent(cheap, chance=0, n_positions=400)
    with pytest.raises(DecoderError, match=r"returned 0 rows of logits; \d+ were") as caught:
        list(search(decoder, [[1, 2]], LONG, clock=decoder.clock))
    assert "use another one" in caught.value.hint
    assert decoder.held == [[]] * 4


@pytest.mark.parametrize("dtype", ["float32", "int8", "int4"])
@pytest.mark.parametrize("do_sample", [False, True])
def test_the_native_decoder_writes_the_same_bits(dtype: str, do_sample: bool) -> None:
    """A small model falls into loops, its own kernels read the drafts, and 40 positions slide."""
    decoder = native(small_model(), dtype=dtype, threads=2)
    asked = GenerationSettings(
        max_new_tokens=150, do_sample=do_sample, temperature=0.2, top_k=9, seed=4
    )
    drafts = 0
    compute = decoder.run

    def counting(parts: Any, *, hidden: bool = False) -> Computed:
        nonlocal drafts
        drafts += parts[0].want == "all"
        return compute(parts, hidden=hidden)

    decoder.run = counting  # type: ignore[method-assign]  # to look on
    ticks = iter(range(10**6))  # a call takes one tick, whatever it reads
    found = list(search(decoder, [[5, 6, 7]], asked, clock=lambda: float(next(ticks))))
    assert drafts > 5
    before = drafts
    plain = list(search(decoder, [[5, 6, 7]], replace(asked, prompt_lookup_num_tokens=0)))
    assert drafts == before
    assert found == plain
    decoder.close()
