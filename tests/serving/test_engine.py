"""The engine: what it promises to requests that share a decoder, and what a failure ends."""

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.errors import (
    ConfigError,
    DecoderError,
    EngineError,
    EngineUnavailable,
    QueueFull,
    SamplingError,
)
from ogpt.generation.protocol.decoder import Computed, Decoder, Part
from ogpt.generation.texts.continuing import Generation, continuations
from ogpt.generation.texts.request import Request
from ogpt.serving.engine import MAX_FAILURES, Engine
from ogpt.serving.request_stream import Piece, RequestStream, RequestTimes, ResultStream, wake
from ogpt.serving.running_batch import EngineCounters
from tests.markov import StandInTokenizer
from tests.native.models import native, small_model
from tests.serving.gated import PATIENCE, TOKENIZER, GatedDecoder, V, ids, request, serving, until


class CompanyDecoder(NativeDecoder):
    """A fault: logits depend a little on how many texts share the call."""

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        computed = super().run(parts, hidden=hidden)
        bend = np.linspace(0, 1e-4 * (len(parts) - 1), V, dtype=np.float32)
        return computed._replace(logits=computed.logits + bend)


def alone(decoder: Decoder, asked: Request) -> list[Generation]:
    return [one for _, one in sorted(continuations(decoder, TOKENIZER, asked), key=lambda o: o[0])]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.name.startswith("ogpt")]


# ---- the same tokens, alone and in company


def crowd() -> list[Request]:
    """64 requests of every kind."""
    kinds: list[dict[str, Any]] = [
        {"top_logprobs": 2},
        {"num_return_sequences": 2, "temperature": 0.7},
        {"top_k": 5, "stop": ["b"], "repetition_penalty": 1.3},
    ]
    beams = {"num_beams": 2, "do_sample": False}
    return [
        request(ids(1 + n % 23, n), **(beams if n % 4 == 3 else {**kinds[n % 3], "seed": n}))
        for n in range(64)
    ]


def native_decoder(kind: type[NativeDecoder] = NativeDecoder, slots: int = 16) -> NativeDecoder:
    decoder = native(small_model(vocab_size=V, n_embd=24, n_layer=1), slots=slots)
    decoder.__class__ = kind
    return decoder


def together(decoder: Decoder, asked: list[Request]) -> list[list[Piece]]:
    with serving(decoder) as engine:
        return [list(stream) for stream in [engine.submit(one) for one in asked]]


def generations(pieces: list[Piece]) -> list[Generation]:
    ended = [piece for piece in pieces if piece.generation]
    return [one.generation for one in sorted(ended, key=lambda e: e.number) if one.generation]


def test_same_tokens_alone_and_among_64_others() -> None:
    asked = crowd()
    single = native_decoder(slots=2)
    expected = [alone(single, one) for one in asked]
    streamed = together(native_decoder(), asked)
    assert [generations(pieces) for pieces in streamed] == expected
    for pieces, whole in zip(streamed, expected, strict=True):
        for number, generation in enumerate(whole):
            of = [piece for piece in pieces if piece.number == number]
            assert "".join(piece.text for piece in of) == generation.text
    bent = together(native_decoder(CompanyDecoder), asked[:8])  # the planted fault
    assert [generations(pieces) for pieces in bent] != expected[:8]


def test_coroutines_get_the_same() -> None:
    asked = crowd()[:12]

    async def all_of(engine: Engine) -> list[list[Generation]]:
        return await asyncio.gather(*(engine.submit(one).gather() for one in asked))

    with serving(native_decoder()) as engine:
        assert asyncio.run(all_of(engine)) == [engine.submit(one).generations() for one in asked]


def test_what_has_arrived_comes_together_and_an_error_after_it() -> None:
    async def read() -> list[Any]:
        stream = ResultStream[int](lambda: None, RequestTimes(0.0))
        stream.put(1)
        stream.put(2)
        found: list[Any] = [await stream.arrived()]
        waiting = asyncio.ensure_future(stream.arrived())
        await asyncio.sleep(0)
        assert not waiting.done()
        stream.put(3)
        stream.end(EngineUnavailable("it has failed", hint="send it again"))
        assert wake([stream]) == []
        found.append(await waiting)
        with pytest.raises(EngineUnavailable, match="it has failed"):
            await stream.arrived()
        return [*found, await stream.arrived()]

    assert asyncio.run(read()) == [[1, 2], [3], []]


def test_who_wants_the_whole_answer_is_woken_once() -> None:
    """A reader of pieces is woken at each step, which costs the event loop much more."""
    loop = asyncio.new_event_loop()
    wakings: list[Any] = []
    wake = loop.call_soon_threadsafe

    def counted(*given: Any) -> Any:
        wakings.append(given)
        return wake(*given)

    async def pieces(stream: RequestStream) -> list[Piece]:
        return [piece async for piece in stream]

    loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
    counts = []
    for read in (pieces, RequestStream.gather):
        gated = GatedDecoder(is_open=False)
        with serving(gated) as engine:
            task = loop.create_task(read(engine.submit(request(max_new_tokens=9))))
            loop.run_until_complete(asyncio.sleep(0))
            del wakings[:]
            for _ in range(8):
                gated.is_computing()
                gated.permits.release()
                loop.run_until_complete(asyncio.sleep(0.001))
            gated.open()
            loop.run_until_complete(task)
        counts.append(len(wakings))
    loop.close()
    assert counts[0] > 5
    assert counts[1] == 1


# ---- one batch


@pytest.mark.parametrize(("prompt_tokens", "kept"), [(128, True), (0, False)])
def test_running_streams_never_wait_for_prompts(
    gated: GatedDecoder, prompt_tokens: int, kept: bool
) -> None:
    """Each has a token in every step, of at most 128 prompt tokens; without a limit it breaks."""
    with serving(gated, prompt_tokens=prompt_tokens) as engine:
        running = engine.submit(request(max_new_tokens=20, prompt_lookup_num_tokens=0))
        gated.is_computing()
        long = engine.submit(request(ids(700)))
        gated.open()
        assert len(running.generations()[0].ids) == 20
        assert long.generations() == alone(GatedDecoder(), request(ids(700)))
    beside = gated.parts[1:20]
    assert all(len(parts[0].ids) == 1 for parts in beside)
    assert all(sum(len(part.ids) for part in parts[1:]) <= 128 for parts in beside) == kept


def test_beginnings_in_common_are_computed_once(gated: GatedDecoder) -> None:
    with serving(gated) as engine:
        first = engine.submit(request(max_new_tokens=1))
        gated.is_computing()
        prompt = ids(200)
        streams = [engine.submit(request([*prompt, n], max_new_tokens=1)) for n in (1, 2, 3)]
        gated.open()
        assert [len(stream.generations()) for stream in [first, *streams]] == [1] * 4
    assert sum(len(part.ids) for parts in gated.parts[1:] for part in parts) < 201 + 2 * 20


def test_a_slow_reader_holds_up_nobody() -> None:
    with serving(GatedDecoder(slots=1)) as engine:
        slow = engine.submit(request(max_new_tokens=30))
        next(slow)
        assert engine.submit(request(seed=1)).generations()
        assert len(list(slow)) == 29


def test_without_requests_it_uses_no_processor() -> None:
    with serving(GatedDecoder()) as engine:
        assert engine.abilities.bitwise
        clock = time.pthread_getcpuclockid(engine._thread.ident or 0)
        engine.submit(request()).generations()

        def sleeps() -> bool:
            before = time.clock_gettime(clock)
            time.sleep(0.2)
            return time.clock_gettime(clock) == before

        until(sleeps)  # it may still be on its way there
        before = time.clock_gettime(clock)
        engine.submit(request()).generations()
        assert time.clock_gettime(clock) > before  # work is seen by this clock


def test_counters_and_times(gated: GatedDecoder) -> None:
    now = 5.0
    with serving(gated, clock=lambda: now) as engine:
        streams = [engine.submit(request(seed=seed)) for seed in range(3)]
        gated.is_computing()
        until(lambda: engine.counters().running > 0)
        now = 6.0
        gated.open()
        assert [len(stream.generations()) for stream in streams] == [1] * 3
        counters = engine.counters()
    assert (counters.requests, counters.failed, counters.refused) == (3, 0, 0)
    assert counters.generation_tokens == 15
    assert counters.prompt_tokens == 3 * len(request().prompts[0].ids)
    assert counters.finished == {"stop": 0, "length": 3, "max_time": 0, "abort": 0}
    assert (counters.running, counters.waiting) == (0, 0)
    assert counters.steps == len(gated.parts)
    times = streams[0].times
    assert (times.submitted, times.started, times.first_token, times.ended) == (5.0, 6.0, 6.0, 6.0)


def test_counters_outlive_the_engine_and_its_load_does_not(gated: GatedDecoder) -> None:
    kept = EngineCounters()
    with serving(gated, counters=kept) as engine:
        streams = [engine.submit(request(seed=seed)) for seed in range(3)]
        gated.is_computing()
        until(lambda: engine.counters().running == 2)
        assert engine.counters().waiting == 1
        gated.open()
        assert [len(stream.generations()) for stream in streams] == [1] * 3
    assert (kept.requests, kept.running, kept.waiting) == (3, 0, 0)


def test_times_of_tokens_and_what_was_found_in_the_cache(gated: GatedDecoder) -> None:
    """The clock counts calls of the decoder; a prompt of two continuations is computed once."""
    ended: list[RequestTimes] = []
    gated.open()
    asked = request(ids(120), num_return_sequences=2, max_new_tokens=4, seed=1)
    with serving(gated, clock=lambda: float(len(gated.parts)), on_end=ended.append) as engine:
        engine.submit(asked).generations()
        engine.submit(request(ids(120), num_beams=2, do_sample=False)).generations()
        counters = engine.counters()
    sampled, beams = ended
    assert (sampled.first_token, sampled.ended) == (1.0, 4.0)
    assert sampled.gaps == [1.0] * 6
    assert (sampled.prompt_tokens, sampled.generation_tokens, sampled.n) == (120, 8, 2)
    assert (beams.generation_tokens, beams.n, beams.gaps) == (5, 1, [1.0] * 4)
    assert (counters.prefix_cache_queries, counters.prefix_cache_hits) == (3 * 120, 120 + 64)
    assert counters.cache_usage == 0


def test_the_cache_in_use_is_that_of_running_texts(gated: GatedDecoder) -> None:
    with serving(gated) as engine:
        stream = engine.submit(request(ids(100), max_new_tokens=50))
        gated.permits.release(2)
        for _ in range(3):
            gated.is_computing()
        assert engine.counters().cache_usage == 101 / (2 * 2000)
        stream.cancel()
        gated.open()


# ---- refused


def test_a_full_queue_refuses(gated: GatedDecoder) -> None:
    now = 0.0
    with serving(gated, max_queued=2, clock=lambda: now) as engine:
        now = 500.0  # idle until now: this time does not count
        streams = [engine.submit(request(seed=seed)) for seed in range(4)]
        now = 507.2
        with pytest.raises(QueueFull, match="4 texts run or wait; allowed: 4") as caught:
            engine.submit(request())
        assert caught.value.retry_after == 8
        assert "later" in caught.value.hint
        gated.open()
        assert [len(stream.generations()) for stream in streams] == [1] * 4
        assert engine.submit(request()).generations()
        assert engine.counters().refused == 1


def test_a_request_of_many_texts_needs_as_many_places(gated: GatedDecoder) -> None:
    """One that needs more than there are is accepted when it is alone."""
    with serving(gated, max_queued=2) as engine:
        large = engine.submit(request(num_return_sequences=9, seed=1))
        with pytest.raises(QueueFull, match="9 texts run or wait; allowed: 4, with the 1 of this"):
            engine.submit(request())
        gated.open()
        assert len(large.generations()) == 9
    other = GatedDecoder(is_open=False)
    with serving(other, max_queued=2) as engine:
        one = engine.submit(request(seed=2))
        with pytest.raises(QueueFull, match="1 texts run or wait; allowed: 4, with the 4 of this"):
            engine.submit(request(num_return_sequences=4, seed=1))
        several = engine.submit(request(num_return_sequences=3, seed=1))
        other.open()
        assert (len(one.generations()), len(several.generations())) == (1, 3)


def test_who_has_left_has_no_place_in_the_queue(gated: GatedDecoder) -> None:
    """At once, not when the step has ended that is being computed; and nobody is counted twice."""
    with serving(gated, max_queued=1) as engine:
        leave = [engine.submit(request(seed=seed, max_new_tokens=90)) for seed in range(2)]
        gated.is_computing()
        work = engine.run(lambda decoder: iter([decoder.length(0)]))
        for stream in (*leave, work):
            stream.cancel()
        streams = [engine.submit(request(seed=seed)) for seed in range(3)]
        with pytest.raises(QueueFull, match="3 texts run or wait"):
            engine.submit(request())
        gated.open()
        assert [len(stream.generations()) for stream in streams] == [1] * 3
        for stream in streams:
            stream.cancel()
        assert sum(engine._load()) == 0
        assert engine.counters().cancelled == 3


def test_values_outside_their_range() -> None:
    with pytest.raises(ConfigError, match="max_queued is -1; allowed: 0 or more") as caught:
        Engine(GatedDecoder, TOKENIZER, max_queued=-1)
    assert "pass 0" in caught.value.hint
    with pytest.raises(ConfigError, match="step_timeout is 0; allowed: above 0") as caught:
        Engine(GatedDecoder, TOKENIZER, step_timeout=0)
    assert "pass inf" in caught.value.hint
    with serving(GatedDecoder()) as engine:
        with pytest.raises(DecoderError, match="has 2 slots; this text needs 3"):
            engine.submit(request(num_beams=3, do_sample=False))
        assert engine.counters().requests == 0


# ---- deadlines and cancellation


@pytest.mark.parametrize("asked", [{}, {"num_beams": 2, "do_sample": False}])
def test_a_deadline_returns_what_there_is(gated: GatedDecoder, asked: dict[str, Any]) -> None:
    """Also for a text that still waits. The time in the queue counts."""
    now = 0.0
    with serving(gated, clock=lambda: now, max_time=9) as engine:
        slots = 1 if asked else 2
        running = [
            engine.submit(request(max_new_tokens=50, max_time=60, **asked)) for _ in range(slots)
        ]
        waiting = engine.submit(request(max_time=8, num_return_sequences=2))
        gated.permits.release(3)
        for _ in range(4):
            gated.is_computing()
        now = 8.5
        gated.permits.release()
        assert [(one.text, one.finish_reason) for one in waiting.generations()] == [
            ("", "max_time")
        ] * 2
        now = 9.5
        gated.open()
        for stream in running:
            [one] = stream.generations()
            assert one.finish_reason == "max_time"
            whole = alone(GatedDecoder(), request(max_new_tokens=50, **asked))
            assert 4 <= len(one.ids) <= 7
            assert asked or one.ids == whole[0].ids[: len(one.ids)]
        assert engine.counters().finished["max_time"] == slots + 2


def test_a_cancelled_request_leaves_before_the_next_step(gated: GatedDecoder) -> None:
    with serving(gated) as engine:
        leaves = engine.submit(request(max_new_tokens=900, num_return_sequences=2))
        gated.is_computing()
        waits = engine.submit(request(seed=4))
        with leaves:
            pass
        assert list(leaves) == []
        gated.open()
        assert waits.generations() == alone(GatedDecoder(), request(seed=4))
        leaves.cancel()
        waits.cancel()
        counters = engine.counters()
    assert (counters.cancelled, counters.running) == (1, 0)
    assert len(gated.parts[0]) == 1  # a prompt for both
    assert all(len(parts) == 1 for parts in gated.parts[1:])


def test_a_cancelled_prompt_ends_with_its_chunk(gated: GatedDecoder) -> None:
    """Also when nothing else runs: a step has a chunk of all prompts, not all of them."""
    with serving(gated) as engine:
        streams = [engine.submit(request(ids(1500, seed))) for seed in range(2)]
        gated.is_computing()
        for stream in streams:
            stream.cancel()
        gated.open()
        until(lambda: engine.counters().cancelled == 2)
        assert engine.submit(request()).generations()
    assert [len(part.ids) for part in gated.parts[0]] == [128]
    assert sum(len(part.ids) for part in gated.parts[1]) == len(request().prompts[0].ids)


def test_a_coroutine_that_is_cancelled_cancels_its_request(gated: GatedDecoder) -> None:
    async def leave(stream: RequestStream) -> None:
        with stream:
            await asyncio.wait_for(stream.gather(), 0.01)

    with serving(gated) as engine:
        stream = engine.submit(request(max_new_tokens=900))
        with pytest.raises(TimeoutError):
            asyncio.run(leave(stream))
        gated.open()
        until(lambda: engine.counters().cancelled == 1)
        until(lambda: engine.counters().running == 0)


def test_readers_whose_event_loop_is_closed_are_cancelled(gated: GatedDecoder) -> None:
    with serving(gated) as engine:
        stream = engine.submit(request(max_new_tokens=900))
        loop = asyncio.new_event_loop()
        task = loop.create_task(stream.gather())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        gated.open()
        until(lambda: engine.counters().cancelled == 1)
        assert not task.done()


# ---- failures


def test_a_step_that_fails_ends_only_its_requests(
    gated: GatedDecoder, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(gated) as engine:
        failing = [engine.submit(request(seed=seed, max_new_tokens=90)) for seed in range(2)]
        gated.is_computing()
        waiting = engine.submit(request(seed=7))
        gated.permits.release()
        gated.is_computing()
        gated.error = DecoderError("no memory", hint="close something")
        gated.permits.release()
        for stream in failing:
            with pytest.raises(EngineError, match="DecoderError: no memory") as caught:
                stream.generations()
            assert "again" in caught.value.hint
        gated.is_computing()
        gated.error = None
        gated.open()
        assert waiting.generations() == alone(GatedDecoder(), request(seed=7))
        counters = engine.counters()
        assert (engine.health, counters.failed, counters.failed_steps) == ("ready", 2, 1)
    assert logged(caplog) == ["a step of the decoder has failed"]
    assert "DecoderError: no memory" in caplog.text


def test_a_text_that_fails_ends_only_its_request(gated: GatedDecoder) -> None:
    def broken(number: int, so_far: Any) -> list[int]:
        raise ValueError("no such token")

    with serving(gated) as engine:
        other = engine.submit(request(max_new_tokens=9))
        unknown = engine.submit(request(prefix_allowed_tokens_fn=broken))
        known = engine.submit(request(suppress_tokens=list(range(V))))
        gated.open()
        with pytest.raises(EngineError, match="ValueError: no such token"):
            unknown.generations()
        with pytest.raises(SamplingError):
            asyncio.run(known.gather())
        assert other.generations() == alone(GatedDecoder(), request(max_new_tokens=9))
        assert engine.counters().failed == 2


class BrokenTokenizer(StandInTokenizer):
    """Has no text for the token 5."""

    def decode(self, ids: Sequence[int], **options: Any) -> str:
        if 5 in ids:
            raise LookupError("no text for 5")
        return super().decode(ids, **options)


def test_a_tokenizer_that_fails_ends_only_that_request(caplog: pytest.LogCaptureFixture) -> None:
    only = [token for token in range(V) if token != 5]
    with closing(Engine(GatedDecoder, BrokenTokenizer())) as engine:
        other = engine.submit(request(suppress_tokens=[5]))
        with pytest.raises(EngineError, match="LookupError: no text for 5"):
            engine.submit(request(suppress_tokens=only)).generations()
        assert len(other.generations()) == 1
        assert (engine.health, engine.counters().failed) == ("ready", 1)
        until(lambda: sum(engine._load()) == 0)
    assert logged(caplog) == ["a request has failed"]
    assert "LookupError: no text for 5" in caplog.text


@pytest.mark.parametrize("fatal", [False, True])
def test_a_dead_engine_is_seen_and_restarts(fatal: bool, caplog: pytest.LogCaptureFixture) -> None:
    """After some failures in a row, or at once where an error ends the thread's work.

    The log has all reasons: of the failures, and of the decoder that cannot be opened.
    """
    bad, good = GatedDecoder(), GatedDecoder()
    bad.error = SystemExit("of the thread") if fatal else DecoderError("gone", hint="-")
    attempts = iter([bad, None, good])
    reopening = threading.Event()

    def open_decoder() -> Decoder:
        decoder = next(attempts)
        if decoder is None:
            raise DecoderError("not yet", hint="-")
        if decoder is good:
            assert reopening.wait(PATIENCE)
        return decoder

    with closing(Engine(open_decoder, TOKENIZER)) as engine:
        for _ in range(1 if fatal else MAX_FAILURES):
            with pytest.raises(EngineError):
                engine.submit(request()).generations()
        until(lambda: engine.health == "dead")
        with pytest.raises(EngineUnavailable, match="the engine is dead; allowed: ready") as caught:
            engine.submit(request())
        assert "later" in caught.value.hint
        reopening.set()
        until(lambda: engine.health == "ready")
        assert bad.closed
        assert engine.submit(request()).generations() == alone(GatedDecoder(), request())
        assert engine.counters().restarts == 1
    *failures, reopening_failed = logged(caplog)
    failed = ["the engine has failed"] if fatal else ["a step of the decoder has failed"] * 3
    assert failures == failed
    assert reopening_failed == "the decoder cannot be opened again; next attempt in 0.1 s"
    assert ("SystemExit: of the thread" if fatal else "DecoderError: gone") in caplog.text
    assert "DecoderError: not yet" in caplog.text


def test_a_call_that_does_not_return_is_seen(gated: GatedDecoder) -> None:
    now = 0.0
    with serving(gated, clock=lambda: now, step_timeout=30) as engine:
        stream = engine.submit(request())
        gated.is_computing()
        now = 30.0
        assert engine.health == "ready"
        now = 30.5
        assert engine.health == "dead"
        with pytest.raises(EngineUnavailable, match="the engine is dead; allowed: ready"):
            engine.submit(request())
        gated.open()
        assert stream.generations()
        until(lambda: engine.health == "ready")
        now = 300.0  # idle for long
        assert engine.submit(request()).generations()


def test_an_engine_that_hangs_can_be_closed(gated: GatedDecoder) -> None:
    now = 0.0
    with serving(gated, clock=lambda: now) as engine:
        stream = engine.submit(request())
        gated.is_computing()
        work = engine.run(lambda decoder: iter([decoder.length(0)]))
        now = 100.0
        engine.close()
        with pytest.raises(EngineUnavailable, match="the engine is closed"):
            stream.generations()
        gated.open()
        until(lambda: gated.closed)
        with pytest.raises(EngineUnavailable):
            work.results()


def test_a_drained_engine_finishes_what_it_has(gated: GatedDecoder) -> None:
    with serving(gated) as engine:
        streams = [engine.submit(request(seed=seed)) for seed in range(4)]
        gated.is_computing()
        done: list[bool] = []
        thread = threading.Thread(target=lambda: done.append(engine.drain()))
        thread.start()
        until(lambda: engine.health == "draining")
        with pytest.raises(EngineUnavailable, match="the engine is draining"):
            engine.submit(request())
        gated.open()
        thread.join(PATIENCE)
        assert done == [True]
        assert [len(stream.generations()) for stream in streams] == [1] * 4
        assert (engine.health, gated.closed) == ("closed", True)


@pytest.mark.parametrize("asked", [{}, {"num_beams": 2, "do_sample": False}])
def test_texts_that_are_not_drained_in_time_end_as_they_are(
    gated: GatedDecoder, asked: dict[str, Any]
) -> None:
    """Also one that waits. Who asked for less time than the server had has its own reason."""
    now = 0.0
    with serving(gated, clock=lambda: now) as engine:
        running = [
            engine.submit(request(max_new_tokens=1900, max_time=most, **asked))
            for most in (None, 5)[: 1 if asked else 2]
        ]
        waiting = engine.submit(request(ids(3)))
        gated.permits.release(3)
        for _ in range(4):
            gated.is_computing()
        now = 6.0
        thread = threading.Timer(0.05, gated.open)
        thread.start()
        assert not engine.drain(timeout=0)
        reasons = []
        for stream in running:
            [one] = stream.generations()
            reasons.append(one.finish_reason)
            assert 3 <= len(one.ids) <= 5
            whole = alone(GatedDecoder(), request(max_new_tokens=50, **asked))
            assert asked or one.ids == whole[0].ids[: len(one.ids)]
        assert reasons == ["abort", "max_time"][: len(running)]
        assert [one.finish_reason for one in waiting.generations()] == ["abort"]
        assert engine.counters().finished["abort"] == 2
        assert gated.closed
