"""Work beside texts: its results, its turn, its slot, and how it ends."""

import asyncio
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.errors import (
    ContextTooLong,
    DeadlineExceeded,
    DecoderError,
    EngineError,
    EngineUnavailable,
    QueueFull,
)
from ogpt.generation.protocol.decoder import Computed, Decoder, Part, Scores
from ogpt.generation.protocol.likelihood import ChoiceScores, score, score_choices
from ogpt.generation.texts.continuing import continuations
from ogpt.notices import collecting, tell
from ogpt.serving.borrowed_slot import BorrowedSlot
from ogpt.serving.engine import MAX_FAILURES, Engine
from tests.native.models import native, small_model
from tests.serving.gated import PATIENCE, TOKENIZER, GatedDecoder, V, ids, request, serving, until

Made = Callable[[Decoder], Iterator[Any]]


def computing(count: int, calls: int = 1) -> Made:
    """Work that computes `count` tokens in each of some calls, and yields how many it has."""

    def work(decoder: Decoder) -> Iterator[int]:
        for _ in range(calls):
            decoder.run([Part(0, ids(count), "none")])
            yield decoder.length(0)

    return work


# ---- the same results as of a decoder of its own


def scores(decoder: Decoder) -> Iterator[Any]:
    yield from score(decoder, [ids(100)], stride=11)


def choices(decoder: Decoder) -> Iterator[Any]:
    rows: list[ChoiceScores] = score_choices(decoder, ids(30), [ids(9, 1), ids(4, 2)], top=3)
    yield from (np.array(row.log_probs) for row in rows)
    yield np.array([row.top_log_probs[0] for row in rows])


def states(decoder: Decoder) -> Iterator[Any]:
    computed = decoder.run([Part(0, ids(33))], hidden=True)
    assert computed.hidden is not None
    yield computed.hidden[0]
    yield computed.logits
    yield decoder.run([Part(0, ids(5), "all")]).logits


class Restless(NativeDecoder):
    """A fault: a result depends a little on how many tokens a call has."""

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        computed = super().run(parts, hidden=hidden)
        bend = np.float32(1e-4 * len(parts[0].ids))
        return computed._replace(logits=computed.logits + bend)

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        found = super().score(slot, ids, targets, top)
        return found._replace(log_probs=found.log_probs + np.float32(1e-4 * len(ids)))


def small(kind: type[NativeDecoder] = NativeDecoder, slots: int = 1) -> NativeDecoder:
    decoder = native(small_model(vocab_size=V, n_embd=24, n_layer=1), slots=slots)
    decoder.__class__ = kind
    return decoder


def beside_texts(kind: type[NativeDecoder]) -> list[list[Any]]:
    with serving(small(kind, slots=8), prompt_tokens=7) as engine:
        texts = [engine.submit(request(ids(20, n), seed=n)) for n in range(9)]
        found = [engine.run(work) for work in (scores, choices, states)]
        results = [stream.results() for stream in found]
        assert all(text.generations() for text in texts)
    return results


def same(found: list[list[Any]], expected: list[list[Any]]) -> bool:
    pairs = [pair for both in zip(found, expected, strict=True) for pair in zip(*both, strict=True)]
    return all(np.array_equal(one, other) for one, other in pairs)


def test_results_are_those_of_a_decoder_of_its_own() -> None:
    expected = [list(work(small())) for work in (scores, choices, states)]
    assert same(beside_texts(NativeDecoder), expected)
    assert not same(beside_texts(Restless), expected)  # the planted fault


def test_coroutines_get_the_same() -> None:
    async def all_of(engine: Engine) -> list[Any]:
        streams = [engine.run(computing(3, calls)) for calls in (1, 4)]
        with streams[0] as first:
            items = [item async for item in first]
        return [items, await streams[1].gather()]

    with serving(GatedDecoder()) as engine:
        assert asyncio.run(all_of(engine)) == [[3], [3, 6, 9, 12]]


def test_many_clients_leave_nothing_behind() -> None:
    """Texts and work come, end, are late and are left, in any order."""
    asked = [request(ids(1 + 7 * n, n), seed=n, max_new_tokens=1 + n) for n in range(6)]
    expected = [list(continuations(small(), TOKENIZER, each)) for each in asked]
    of_work = [list(work(small())) for work in (scores, choices, states)]
    wrong: list[Any] = []

    def client(engine: Engine, seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(12):
            kind, leaves = draw.randrange(9), draw.random() < 0.3
            try:
                if kind < 6:
                    stream: Any = engine.submit(asked[kind])
                else:
                    late = draw.choice([None, 0.001])
                    stream = engine.run((scores, choices, states)[kind - 6], late)
                with stream:
                    if leaves:
                        next(stream, None)
                    elif kind < 6:
                        found = stream.generations()
                        if found != [one for _, one in expected[kind]]:
                            wrong.append(kind)
                    elif not same([stream.results()], [of_work[kind - 6]]):
                        wrong.append(kind)
            except DeadlineExceeded:
                pass

    with serving(small(slots=5), prompt_tokens=9) as engine:
        threads = [threading.Thread(target=client, args=(engine, seed)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        until(lambda: engine.counters().running == 0)
        counters, stepper = engine.counters(), engine._batch._stepper
        assert wrong == []
        assert (engine.health, counters.failed_steps, counters.waiting) == ("ready", 0, 0)
        assert (stepper.idle, stepper.cache_usage, len(stepper._pool._idle)) == (True, 0, 5)


# ---- its turn


@pytest.mark.parametrize(("prompt_tokens", "kept"), [(128, True), (2000, False)])
def test_running_texts_wait_for_one_chunk_at_most(
    gated: GatedDecoder, prompt_tokens: int, kept: bool
) -> None:
    """Between two tokens there is a call for work, of at most 128 tokens; without a limit more."""
    with serving(gated, prompt_tokens=prompt_tokens) as engine:
        text = engine.submit(request(max_new_tokens=40, prompt_lookup_num_tokens=0))
        gated.is_computing()
        work = [engine.run(computing(700)), engine.run(computing(5, calls=9))]
        gated.open()
        assert [stream.results()[-1] for stream in work] == [700, 45]
        assert len(text.generations()[0].ids) == 40
    calls = gated.parts[1:]
    of_text = [place for place, parts in enumerate(calls) if parts[0].slot == calls[0][0].slot]
    between = [calls[a + 1 : b] for a, b in pairwise(of_text)]
    assert max(map(len, between)) == 1
    tokens = [sum(len(part.ids) for part in parts) for some in between for parts in some]
    assert (max(tokens) <= 128) == kept


def test_work_takes_turns() -> None:
    decoder = GatedDecoder(slots=8, is_open=False)
    seen: list[str] = []

    def named(name: str) -> Made:
        def work(decoder: Decoder) -> Iterator[None]:
            for _ in range(3):
                seen.append(name)
                decoder.run([Part(0, [1], "none")])
                yield None

        return work

    with serving(decoder) as engine:
        first = engine.run(computing(1))
        decoder.is_computing()
        streams = [engine.run(named(name)) for name in "ab"]
        decoder.open()
        assert [len(stream.results()) for stream in (first, *streams)] == [1, 3, 3]
    assert seen == ["a", "b"] * 3


def test_slots_are_given_in_order_of_arrival(gated: GatedDecoder) -> None:
    """To texts and work alike, so that neither waits for ever; work has a part of the slots."""
    with serving(gated) as engine:
        running = [engine.submit(request(max_new_tokens=2, seed=seed)) for seed in range(2)]
        gated.is_computing()
        work, second = (engine.run(computing(9, 3)) for _ in range(2))
        texts = [engine.submit(request(seed=seed)) for seed in range(2)]
        gated.open()
        assert [work.results(), second.results()] == [[9, 18, 27]] * 2
        assert all(stream.generations() for stream in (*running, *texts))
        counters = engine.counters()
    started = [stream.times.started for stream in (running[0], work, texts[1])]
    assert started == sorted(started)
    assert work.times.ended <= second.times.started  # one of two slots serves work
    assert second.times.first_token <= second.times.ended
    assert (counters.work_tokens, second.times.prompt_tokens, second.times.n) == (54, 27, 0)
    assert (counters.running, counters.waiting, counters.cache_usage) == (0, 0, 0)


# ---- how it ends


def test_an_error_ends_the_work_alone(gated: GatedDecoder) -> None:
    def broken(decoder: Decoder) -> Iterator[int]:
        decoder.run([Part(0, [1])])
        yield 1
        raise LookupError("no such row")

    def too_long(decoder: Decoder) -> Iterator[int]:
        yield len(decoder.run([Part(0, [1] * 2001)]).logits)

    def at_once(decoder: Decoder) -> Iterator[int]:
        raise KeyError("before the first result")

    with serving(gated) as engine:
        text = engine.submit(request())
        streams = [engine.run(work) for work in (broken, too_long, at_once)]
        gated.open()
        assert next(streams[0]) == 1
        with pytest.raises(EngineError, match="LookupError: no such row"):
            next(streams[0])
        with pytest.raises(ContextTooLong):
            asyncio.run(streams[1].gather())
        with pytest.raises(EngineError, match="KeyError"):
            streams[2].results()
        assert text.generations()
        assert (engine.health, engine.counters().failed) == ("ready", 3)


def test_a_slot_is_unchanged_by_a_call_that_fails(gated: GatedDecoder) -> None:
    lengths = []

    def careful(decoder: Decoder) -> Iterator[int]:
        decoder.run([Part(0, ids(5), "none")])
        gated.error = RuntimeError("once")
        for call in (lambda: decoder.run([Part(0, ids(9))]), lambda: decoder.score(0, [1], [2])):
            with pytest.raises(RuntimeError):
                call()
            lengths.append(decoder.length(0))
        gated.error = None
        yield 0

    gated.open()
    with serving(gated) as engine:
        assert engine.run(careful).results() == [0]
    assert lengths == [5, 5]


def test_a_deadline_ends_work(gated: GatedDecoder) -> None:
    """While it waits, and before its next call; the time in the queue counts."""
    now, closed = 0.0, []

    def slow(decoder: Decoder) -> Iterator[int]:
        try:
            while True:
                decoder.run([Part(0, [1], "none")])
                yield decoder.length(0)
        finally:
            closed.append(decoder.length(0))
            decoder.free(0)

    with serving(gated, clock=lambda: now, max_time=9) as engine:
        stream = engine.run(slow, max_time=60)
        gated.is_computing()
        waiting = engine.run(slow, max_time=3)
        gated.permits.release()
        gated.is_computing()
        now = 9.5
        gated.open()
        assert next(stream) == 1
        with pytest.raises(DeadlineExceeded, match="did not end in 9 s, the time allowed") as late:
            stream.results()
        assert "max_time" in late.value.hint
        with pytest.raises(DeadlineExceeded, match="3 s"):
            waiting.results()
        assert engine.run(computing(2)).results() == [2]
    assert closed == [2]


def test_a_deadline_ends_work_between_two_calls(gated: GatedDecoder) -> None:
    now = 0.0
    with serving(gated, clock=lambda: now, prompt_tokens=10) as engine:
        stream = engine.run(computing(1000), max_time=5)
        gated.is_computing()
        now = 6.0
        gated.open()
        with pytest.raises(DeadlineExceeded):
            stream.results()
    assert len(gated.parts) == 1


def test_work_whose_reader_leaves_ends_before_its_next_call(gated: GatedDecoder) -> None:
    """Also if it waits, and if it catches what ends it."""
    errors: list[str] = []

    def stubborn(decoder: Decoder) -> Iterator[int]:
        for _ in range(3):
            try:
                decoder.run([Part(0, ids(500), "none")])
            except EngineError as error:
                errors.append(str(error))
        yield 1

    with serving(gated) as engine:
        with engine.run(stubborn), engine.run(computing(10)):
            gated.is_computing()
        gated.open()
        until(lambda: engine.counters().cancelled == 2)
        until(lambda: engine.counters().running == 0)
        assert engine.submit(request()).generations()
    assert errors == ["the reader of the work has left; allowed: a reader"] * 3
    assert [len(part.ids) for part in gated.parts[0]] == [128]
    assert len(gated.parts[1]) == 1
    assert gated.parts[1][0].ids == request().prompts[0].ids


def test_work_whose_event_loop_is_closed_is_cancelled(gated: GatedDecoder) -> None:
    with serving(gated) as engine:
        stream = engine.run(computing(1, calls=1900))
        loop = asyncio.new_event_loop()
        task = loop.create_task(stream.gather())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        gated.open()
        until(lambda: engine.counters().cancelled == 1)
        until(lambda: engine.counters().running == 0)
        assert not task.done()


def test_the_slot_is_lost_with_the_end_of_the_work() -> None:
    kept: list[Decoder] = []

    def keeps(decoder: Decoder) -> Iterator[int]:
        kept.append(decoder)
        decoder.copy(0, 0)
        decoder.close()
        yield 1

    with serving(GatedDecoder()) as engine:
        assert engine.run(keeps).results() == [1]
        assert engine.health == "ready"
        for call in (lambda: kept[0].length(0), lambda: kept[0].run([Part(0, [1])])):
            with pytest.raises(DecoderError, match="after close"):
                call()


def test_the_arguments_of_a_borrowed_slot_are_checked() -> None:
    decoder = BorrowedSlot(GatedDecoder(), 1, 4, lambda: None)
    for call in (
        lambda: decoder.length(1),
        lambda: decoder.run([Part(1, [1])]),
        lambda: decoder.run([Part(0, [1]), Part(0, [1])]),
        lambda: decoder.score(0, [1], []),
        lambda: decoder.truncate(0, 3),
    ):
        with pytest.raises(DecoderError):
            call()
    assert decoder.tokens == 0


def test_work_counts_in_the_queue(gated: GatedDecoder) -> None:
    with serving(gated, max_queued=1) as engine:
        streams = [engine.run(computing(1)) for _ in range(3)]
        with pytest.raises(QueueFull, match="3 texts run or wait; allowed: 3"):
            engine.run(computing(1))
        with pytest.raises(QueueFull):
            engine.submit(request())
        gated.open()
        assert [stream.results() for stream in streams] == [[1]] * 3
        counters = engine.counters()
    assert (counters.requests, counters.refused) == (3, 2)


def test_notices_of_work_reach_its_caller() -> None:
    def noticing(decoder: Decoder) -> Iterator[int]:
        tell("prompt-unknown", count=1, total=2)
        yield 1

    with serving(GatedDecoder()) as engine, collecting() as notices:
        assert engine.run(noticing).results() == [1]
    assert [notice.kind for notice in notices] == ["prompt-unknown"]


# ---- the engine


def test_a_decoder_that_fails_for_work_is_opened_again() -> None:
    bad, good = GatedDecoder(), GatedDecoder()
    bad.error = RuntimeError("device lost")
    opened = iter([bad, good])
    engine = Engine(lambda: next(opened), TOKENIZER)
    try:
        for _ in range(MAX_FAILURES):
            with pytest.raises(EngineError, match="device lost"):
                engine.run(computing(1)).results()
        until(lambda: engine.counters().restarts == 1)
        assert engine.run(computing(1)).results() == [1]
    finally:
        engine.close()
    assert bad.closed


def test_a_call_that_the_decoder_refuses_is_no_failure_of_it(gated: GatedDecoder) -> None:
    gated.open()
    gated.error = DecoderError("no hidden states", hint="-")
    with serving(gated) as engine:
        for _ in range(MAX_FAILURES + 1):
            with pytest.raises(DecoderError, match="no hidden states"):
                engine.run(computing(1)).results()
        gated.error = None
        assert engine.run(computing(1)).results() == [1]
        assert engine.counters().restarts == 0


@pytest.mark.parametrize("waits", [False, True])
def test_a_closed_engine_ends_work(gated: GatedDecoder, waits: bool) -> None:
    ended = threading.Event()

    def endless(decoder: Decoder) -> Iterator[int]:
        try:
            while True:
                decoder.run([Part(0, [1], "none")])
                if waits:
                    yield 1
        finally:
            ended.set()

    with serving(gated) as engine:
        stream = engine.run(endless)
        gated.is_computing()
        closing = threading.Thread(target=engine.close)
        closing.start()
        until(lambda: engine.health == "closed")
        with pytest.raises(EngineUnavailable, match="the engine is closed"):
            engine.run(endless)
        gated.open()
        with pytest.raises(EngineUnavailable):
            stream.results()
        closing.join(PATIENCE)
    assert ended.is_set()
    assert gated.closed
