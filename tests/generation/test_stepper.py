"""The one loop: joining, leaving, chunks of prompts, prefixes, errors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ogpt.errors import DecoderError, SamplingError, TokenOutOfRange
from ogpt.generation.choosing.rules import rules
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Computed, Part, Scores
from ogpt.generation.searching.beam import Beams
from ogpt.generation.searching.contrastive import Contrastive
from ogpt.generation.searching.sampling import Sampling
from ogpt.generation.searching.stepper import Stepper
from ogpt.generation.searching.text import (
    BeamStep,
    Choosing,
    Event,
    Failed,
    Hypotheses,
    Scoring,
    Token,
)
from tests.generation.naive import WholeDecoder, peer
from tests.markov import StandInDecoder, contextual

V = 9


class Watched(StandInDecoder):
    """A deep decoder that remembers the parts of every call."""

    def __init__(self, slots: int = 4, bitwise: bool = True, n_positions: int = 2000) -> None:
        super().__init__(contextual(V).logits_of, V, n_positions, slots)
        self.abilities = self.abilities._replace(bitwise=bitwise, page=64)
        self.parts: list[list[Part]] = []

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        self.parts.append(list(parts))
        return super().run(parts, hidden=hidden)

    def _logits(self, slot: int) -> np.ndarray:  # of the last tokens: prompts here are long
        return np.asarray(self.logits_of(tuple(self.held[slot][-7:])), dtype=np.float32)

    @property
    def tokens(self) -> int:
        """Tokens that were computed."""
        return sum(len(part.ids) for parts in self.parts for part in parts)


def ids(count: int, seed: int = 0) -> list[int]:
    found: list[int] = np.random.default_rng(seed).integers(0, V, count).tolist()
    return found


def ask(decoder: Any, watch: Any = None, extra: Any = (), **asked: Any) -> Choosing:
    asked = {"prompt_lookup_num_tokens": 0, "max_new_tokens": 5, **asked}
    settings = GenerationSettings(**asked)
    return Choosing(settings, rules(settings, V, extra), watch)


def sampling(decoder: Any, prompt: list[int], number: int = 0, **asked: Any) -> Sampling:
    return Sampling(decoder, prompt, ask(decoder, **asked), number)


def tokens_of(events: list[Event], number: int) -> list[Event]:
    return [event._replace(continuation=0) for event in events if event.continuation == number]


def everything(stepper: Stepper) -> list[Event]:
    events: list[Event] = []
    while not stepper.idle:
        events += stepper.step()
    return events


def alone(text: Any, decoder: Any) -> list[Event]:
    stepper = Stepper(decoder)
    stepper.add(text)
    return tokens_of(list(stepper.run()), 0)


def test_texts_join_and_leave_between_steps() -> None:
    decoder = Watched(slots=2)
    stepper = Stepper(decoder)
    assert stepper.idle
    assert stepper.step() == []
    one, two = (stepper.add(sampling(decoder, ids(3), n)) for n in range(2))
    assert not stepper.idle
    assert [event.continuation for event in stepper.step()] == [one, two]
    three = stepper.add(sampling(decoder, [5], seed=3))
    assert [event.continuation for event in stepper.step()] == [one, two]  # no slot for it
    stepper.cancel(one)
    stepper.cancel(one)
    assert [event.continuation for event in stepper.step()] == [two, three]
    waiting = stepper.add(sampling(decoder, [1]))
    stepper.cancel(waiting)
    stepper.cancel(99)
    rest = everything(stepper)
    assert {event.continuation for event in rest} == {two, three}
    assert tokens_of(rest, three)[-1].finish_reason == "length"
    assert decoder.calls[0] == "run 0+3"
    stepper.close()
    assert decoder.held == [[], []]


def test_a_cancelled_text_frees_its_slots_at_once() -> None:
    """Also while its prompt is processed, and where it follows the prompt of another text."""
    decoder = Watched(slots=2)
    stepper = Stepper(decoder)
    long = ids(900)
    running = stepper.add(sampling(decoder, [4], max_new_tokens=30))
    stepper.step()
    reading = stepper.add(sampling(decoder, long))
    stepper.step()
    stepper.cancel(reading)
    next_one = stepper.add(sampling(decoder, [7]))
    events = stepper.step()
    assert [event.continuation for event in events] == [running, next_one]
    stepper.cancel(running)
    stepper.cancel(next_one)
    leader, follower = (stepper.add(sampling(decoder, long, n)) for n in range(2))
    stepper.cancel(leader)
    last = stepper.add(sampling(decoder, [2]))
    assert {event.continuation for event in everything(stepper)} == {follower, last}
    assert decoder.held[0] != []
    with pytest.raises(StopIteration):
        next(stepper.run())
    assert decoder.held == [[], []]


def test_running_texts_never_wait_for_a_long_prompt() -> None:
    """Each gets a token in every step, and a step has at most 256 tokens of prompts."""
    decoder = Watched(slots=6)
    stepper = Stepper(decoder)
    running = [stepper.add(sampling(decoder, [n, 1], max_new_tokens=40)) for n in range(2)]
    stepper.step()
    slow = [stepper.add(sampling(decoder, ids(700 + n, n), seed=n)) for n in range(4)]
    firsts: dict[int, tuple[int, Event]] = {}
    for step in range(12):
        events = stepper.step()
        assert [event.continuation for event in events][:2] == running
        for event in events:
            firsts.setdefault(event.continuation, (step, event))
    for parts in decoder.parts[1:]:
        assert sum(len(part.ids) for part in parts if len(part.ids) > 1) <= 256
        assert sum(len(part.ids) == 1 for part in parts) >= 2
    assert [firsts[number][0] for number in slow] == [2, 5, 8, 10]  # some 700 tokens each
    for place, number in enumerate(slow):
        expected = alone(sampling(decoder, ids(700 + place, place), seed=place), decoder)
        assert tokens_of([firsts[number][1]], number) == expected[:1]


def test_prompts_are_processed_in_chunks_while_no_text_runs() -> None:
    """So that a text can be cancelled before its prompt is whole."""
    decoder = Watched()
    stepper = Stepper(decoder)
    first, second = (stepper.add(sampling(decoder, ids(400, place))) for place in range(2))
    assert stepper.step() == []
    stepper.cancel(first)
    assert {event.continuation for event in everything(stepper)} == {second}
    assert decoder.calls[:3] == ["run 0+256", "run 1+256", "run 1+144"]


def test_without_a_limit_prompts_are_processed_at_once_beside_running_texts() -> None:
    decoder = Watched()
    stepper = Stepper(decoder, prompt_tokens=0)
    stepper.add(sampling(decoder, [1]))
    stepper.step()
    for place in range(2):
        stepper.add(sampling(decoder, ids(900, place)))
    assert len(stepper.step()) == 3
    assert decoder.calls[1:] == ["run 0+1 1+900 2+900"]


def test_a_slot_can_be_borrowed_in_turn() -> None:
    """In order of arrival with texts; it is empty, is no source of copies, and comes back."""
    decoder = Watched(slots=1)
    stepper = Stepper(decoder)
    before = stepper.add(sampling(decoder, ids(70), max_new_tokens=2))
    loan = stepper.borrow()
    after = stepper.add(sampling(decoder, ids(70)))
    assert list(stepper.waiting) == [before, loan, after]
    while stepper.borrowed(loan) is None:
        assert {event.continuation for event in stepper.step()} <= {before}
    assert stepper.borrowed(loan) == 0
    assert decoder.held == [[]]
    decoder.run([Part(0, [1, 2, 3])])
    assert stepper.step() == []
    assert stepper.cache_usage == 3 / 2000
    stepper.cancel(loan)
    assert decoder.held == [[]]
    assert {event.continuation for event in everything(stepper)} == {after}
    assert decoder.tokens == 2 * 70 + 3 + 1 + 4  # no prompt was found in the borrowed slot
    unserved = stepper.borrow()
    stepper.cancel(unserved)
    assert stepper.idle
    assert stepper.cache_usage == 0


def test_prefixes_found_are_counted() -> None:
    decoder = Watched(slots=3)
    stepper = Stepper(decoder)
    for number in range(2):
        stepper.add(sampling(decoder, ids(130), number, max_new_tokens=1))
    everything(stepper)
    assert stepper.prefix_counts == (260, 130)  # the second is a copy
    stepper.add(sampling(decoder, [*ids(130), 1, 2], max_new_tokens=1))
    everything(stepper)
    assert stepper.prefix_counts == (260 + 132, 130 + 128)  # two pages


def test_a_window_that_moves_does_not_hold_others_up() -> None:
    """It is processed in chunks, as a prompt is, and comes to the same tokens."""
    decoder = Watched(slots=2, n_positions=700)
    stepper = Stepper(decoder)
    other = stepper.add(sampling(decoder, [1], max_new_tokens=20))
    stepper.step()
    slides = stepper.add(sampling(decoder, ids(699), seed=4))
    events = everything(stepper)
    most = [max(len(part.ids) for part in parts) for parts in decoder.parts[1:]]
    assert max(most) == 256
    assert most.count(350 - 256) == 1
    assert len(tokens_of(events, other)) == 19
    expected = alone(sampling(decoder, ids(699), seed=4), decoder)
    assert tokens_of(events, slides) == expected


def test_equal_prompts_are_computed_once_by_every_decoder() -> None:
    for bitwise in (False, True):
        decoder = Watched(bitwise=bitwise)
        stepper = Stepper(decoder)
        for number in range(3):
            stepper.add(sampling(decoder, ids(30), number))
        stepper.add(sampling(decoder, ids(29)))
        assert len(stepper.step()) == 4
        assert decoder.tokens == 30 + 29
        assert decoder.calls == ["run 0+30 3+29", "copy 0 1", "copy 0 2"]


def test_beginnings_in_common_are_computed_once() -> None:
    decoder = Watched()
    stepper = Stepper(decoder)
    prompts = [[*ids(200), *ids(20, seed)] for seed in (1, 2, 3)]
    numbers = [stepper.add(sampling(decoder, prompt, max_new_tokens=1)) for prompt in prompts]
    events = everything(stepper)
    assert decoder.tokens == 220 + 2 * (220 - 192)  # three pages of 64
    for number, prompt in zip(numbers, prompts, strict=True):
        whole = alone(sampling(Watched(), prompt, max_new_tokens=1), Watched())
        assert tokens_of(events, number) == whole
    plain = Watched(bitwise=False)
    stepper = Stepper(plain)
    for prompt in prompts:
        stepper.add(sampling(plain, prompt, max_new_tokens=1))
    everything(stepper)
    assert plain.tokens == 3 * 220


def test_a_text_finds_what_ended_texts_have_left() -> None:
    decoder = Watched(slots=1)
    stepper = Stepper(decoder)
    stepper.add(sampling(decoder, ids(150), max_new_tokens=60))
    first = [event.id for event in everything(stepper) if isinstance(event, Token)]
    before = decoder.tokens
    prompt = [*ids(150), *first, 3]  # its text too: 192 of 211 tokens are there
    stepper.add(sampling(decoder, prompt, max_new_tokens=1))
    found = everything(stepper)
    assert decoder.tokens - before == 211 - 192
    assert tokens_of(found, 1) == alone(sampling(decoder, prompt, max_new_tokens=1), decoder)


def test_a_beginning_that_is_being_processed_is_waited_for() -> None:
    decoder = Watched()
    stepper = Stepper(decoder)
    stepper.add(sampling(decoder, [3], max_new_tokens=30))
    stepper.step()
    prompts = [[*ids(600), *ids(50, seed)] for seed in (1, 2)]
    for prompt in prompts:
        stepper.add(sampling(decoder, prompt, max_new_tokens=1))
    before = decoder.tokens
    steps = 0
    found: list[Event] = []
    while len(found) < 2:
        found += [event for event in stepper.step() if event.continuation > 0]
        steps += 1
    assert steps == 4  # 650 tokens, then the 74 that the other has of its own
    assert decoder.tokens - before - steps == 650 + 650 - 576


def test_kinds_run_side_by_side() -> None:
    model = peer(3, vocab_size=V, n_positions=24)
    decoder = WholeDecoder(model, 8)

    def texts() -> list[Any]:
        greedy = ask(decoder, do_sample=False, num_beams=3, num_return_sequences=2)
        contrast = ask(decoder, do_sample=False, penalty_alpha=0.5, top_k=3)
        return [
            Beams(decoder, [1, 2], greedy),
            Contrastive(decoder, [1, 2], contrast),
            sampling(decoder, [1, 2], seed=3, max_new_tokens=9),
            sampling(decoder, [4], seed=1),
        ]

    stepper = Stepper(decoder)
    numbers = [stepper.add(text) for text in texts()]
    together = list(stepper.run())
    for number, text in zip(numbers, texts(), strict=True):
        found, expected = tokens_of(together, number), alone(text, decoder)
        assert found == expected
    [*steps, end] = tokens_of(together, numbers[0])
    assert steps == [BeamStep(0)] * 4
    assert isinstance(end, Hypotheses)
    assert len(end.best) == 2


def broken(*given: Any) -> Any:
    raise ZeroDivisionError("of this text")


def faulty(decoder: Any) -> dict[str, Any]:
    """Texts with an error of their own, each in another place."""
    beams = {"do_sample": False, "num_beams": 2}
    contrast = {"do_sample": False, "penalty_alpha": 0.5, "top_k": 2}
    return {
        "rule": sampling(decoder, [1], extra=[broken]),
        "watcher": sampling(decoder, [1], watch=broken),
        "rule of beams": Beams(decoder, [1], ask(decoder, extra=[broken], **beams)),
        "predicate of beams": Beams(decoder, [1], ask(decoder, **beams), broken),
        "rule of contrastive search": Contrastive(
            decoder, [1], ask(decoder, extra=[broken], **contrast)
        ),
        "opening": Sampling(decoder, [1], ask(decoder), open_prompt=broken),
    }


@pytest.mark.parametrize("where", faulty(WholeDecoder(peer(3, vocab_size=V), 8)))
def test_an_error_of_one_text_ends_that_text_alone(where: str) -> None:
    decoder = WholeDecoder(peer(3, vocab_size=V), 8)
    expected = alone(sampling(decoder, [1], seed=5), decoder)
    stepper = Stepper(decoder)
    others = [stepper.add(sampling(decoder, [1], seed=5))]
    wrong = stepper.add(faulty(decoder)[where])
    others.append(stepper.add(sampling(decoder, [1], seed=5)))
    events = everything(stepper)
    for number in others:
        assert tokens_of(events, number) == expected
    [failed] = tokens_of(events, wrong)
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ZeroDivisionError)
    stepper.add(faulty(decoder)[where])
    with pytest.raises(ZeroDivisionError, match="of this text"):
        list(stepper.run())
    assert decoder.held == [[]] * 8
    assert stepper.idle


@pytest.mark.parametrize(
    ("prompt", "error", "match"),
    [
        ([], DecoderError, "has 0 tokens"),
        ([1, V], TokenOutOfRange, f"id {V}"),
        ([-1], TokenOutOfRange, "id -1"),
    ],
)
def test_a_wrong_prompt_ends_its_text_alone(prompt: list[int], error: Any, match: str) -> None:
    decoder = Watched()
    stepper = Stepper(decoder)
    good, bad = stepper.add(sampling(decoder, [1])), stepper.add(sampling(decoder, prompt))
    [first, second] = stepper.step()
    assert {first.continuation, second.continuation} == {good, bad}
    [failed] = [event for event in (first, second) if isinstance(event, Failed)]
    with pytest.raises(error, match=match):
        raise failed.error


def test_after_an_error_of_the_decoder_texts_can_go_on() -> None:
    class Fails(Watched):
        failing = False

        def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
            if self.failing:
                raise DecoderError("out of memory", hint="use fewer slots")
            return super().run(parts, hidden=hidden)

    decoder = Fails()
    expected = alone(sampling(decoder, ids(70), seed=5), decoder)
    stepper = Stepper(decoder)
    ends, stays = (
        stepper.add(sampling(decoder, ids(70))),
        stepper.add(sampling(decoder, ids(70), seed=5)),
    )
    events = []
    for step in range(4):
        decoder.failing = True
        with pytest.raises(DecoderError, match="out of memory"):
            stepper.step()
        if step == 2:
            stepper.cancel(ends)
        decoder.failing = False
        events += stepper.step()
    events += everything(stepper)
    assert tokens_of(events, stays) == expected
    assert len(tokens_of(events, ends)) == 2


def test_a_text_that_needs_more_slots_than_there_are_is_refused() -> None:
    decoder = Watched(slots=2)
    beams = Beams(decoder, [1], ask(decoder, do_sample=False, num_beams=3))
    with pytest.raises(DecoderError, match="has 2 slots; this text needs 3") as caught:
        Stepper(decoder).add(beams)
    assert "more slots" in caught.value.hint


def test_a_text_that_needs_many_slots_is_not_overtaken() -> None:
    decoder = Watched(slots=3)
    stepper = Stepper(decoder)
    first = stepper.add(sampling(decoder, [1], max_new_tokens=3))
    beams = stepper.add(Beams(decoder, [1], ask(decoder, do_sample=False, num_beams=3)))
    last = stepper.add(sampling(decoder, [1]))
    order = list(dict.fromkeys(event.continuation for event in everything(stepper)))
    assert order == [first, beams, last]


def test_settings_of_another_search_are_refused() -> None:
    decoder = Watched()
    with pytest.raises(SamplingError, match="num_beams is 2; allowed: 1"):
        sampling(decoder, [1], num_beams=2)


# ---- scores of prompts


class Scored(Watched):
    """Remembers the calls that score, too."""

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        self.parts.append([Part(slot, ids, "none")])
        return super().score(slot, ids, targets, top)


def scored(decoder: Any, text: Any, *others: Any, prompt_tokens: int = 7) -> tuple[Any, list[Any]]:
    """What a text reports of its prompt, and the events of all texts."""
    found: list[tuple[Sequence[int], Scores]] = []
    text.scoring = Scoring(2, lambda *each: found.append(each))
    stepper = Stepper(decoder, prompt_tokens=prompt_tokens)
    numbers = [stepper.add(each) for each in (text, *others)]
    events = everything(stepper)
    targets = [token_id for some, _ in found for token_id in some]
    fields = [np.concatenate(each) for each in zip(*(scores for _, scores in found), strict=True)]
    return (targets, *fields), [tokens_of(events, number) for number in numbers]


@pytest.mark.parametrize("beams", [1, 2])
@pytest.mark.parametrize("bitwise", [True, False])
def test_a_prompt_is_scored_as_it_is_read_and_read_once(beams: int, bitwise: bool) -> None:
    prompt, kind = ids(100), Beams if beams > 1 else Sampling
    asked = {"num_beams": beams, "do_sample": False, "max_new_tokens": 5}

    def text(decoder: Any, prompt: list[int] = prompt) -> Any:
        return kind(decoder, prompt, ask(decoder, **asked))

    decoder = Scored(bitwise=bitwise)
    (targets, *fields), [events, beside] = scored(decoder, text(decoder), text(decoder, ids(9, 1)))
    assert targets == prompt[1:]
    whole = Watched().score(0, prompt[:-1], prompt[1:], 2)
    assert all(np.array_equal(one, other) for one, other in zip(fields, whole, strict=True))
    assert events == alone(text(Watched()), Watched())
    assert beside == alone(text(Watched(), ids(9, 1)), Watched())
    assert decoder.tokens == 100 + 9 + 2 * 4 * beams
    assert max(sum(len(part.ids) for part in parts) for parts in decoder.parts) <= 7 + 2 * beams


def test_continuations_of_a_scored_prompt_copy_it() -> None:
    decoder, prompt = Scored(), ids(100)
    texts = [sampling(decoder, prompt, number, do_sample=True, seed=1) for number in range(3)]
    _, events = scored(decoder, *texts)
    for number, found in enumerate(events):
        text = sampling(Watched(), prompt, number, do_sample=True, seed=1)
        assert found == alone(text, Watched())
    assert decoder.tokens == 100 + 3 * 4


def test_a_prompt_that_is_scored_is_read_though_another_slot_holds_it() -> None:
    """And a window that moves later is not scored."""
    decoder = Scored(n_positions=104)
    stepper = Stepper(decoder)
    stepper.add(sampling(decoder, ids(100), max_new_tokens=1))
    everything(stepper)
    (targets, *_), _ = scored(decoder, sampling(decoder, ids(100), max_new_tokens=30))
    assert targets == ids(100)[1:]


class Bent(Scored):
    """A fault: a score depends a little on how many tokens a call has."""

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        found = super().score(slot, ids, targets, top)
        return found._replace(log_probs=found.log_probs + np.float32(1e-4 * len(ids)))


def test_the_planted_fault_is_seen() -> None:
    (_, log_probs, *_), _ = scored(Bent(), sampling(Bent(), ids(100)))
    whole = Watched().score(0, ids(100)[:-1], ids(100)[1:])
    assert not np.array_equal(log_probs, whole.log_probs)
    assert np.allclose(log_probs, whole.log_probs, atol=1e-2)
