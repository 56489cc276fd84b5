"""The client of the serving benchmark, against a server that sends what the test says."""

from __future__ import annotations

import asyncio
import json

import pytest

from benchmarks.serving import quantiles
from benchmarks.serving_load import completion, load
from benchmarks.serving_process import vocabulary
from ogpt.tokens.fast import OpenAIGPTTokenizerFast

USAGE = '"usage": {"completion_tokens": 3}'
EVENTS = [f'data: {{"choices": [{n}]}}\n\n' for n in range(3)]
STREAM = [*EVENTS, f'data: {{"choices": [], {USAGE}}}\n\n', "data: [DONE]\n\n"]
WHOLE = ['{"choices": [1], ', USAGE, "}"]


def loaded(parts: list[str], streams: bool, status: int = 200) -> tuple[dict, list[dict]]:
    """The client's report, and the requests that the server received."""
    received, tasks = [], []

    async def answer(reader, writer):
        tasks.append(asyncio.current_task())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
        received.append(json.loads(await reader.readexactly(length)))
        writer.write(f"HTTP/1.1 {status} -\r\ntransfer-encoding: chunked\r\n\r\n".encode())
        for part in (*parts, ""):
            writer.write(f"{len(part):x}\r\n{part}\r\n".encode())
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()

    async def run():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            requests = [completion([1, n], 3, streams=streams, more=n) for n in range(4)]
            try:
                return await load(port, requests, streams)
            finally:
                await asyncio.gather(*tasks)

    return asyncio.run(run()), received


def test_a_stream_is_timed_and_counted():
    found, received = loaded(STREAM, True)
    assert sorted(each["more"] for each in received) == [0, 1, 2, 3]
    assert all(each["stream"] and each["max_tokens"] == 3 for each in received)
    assert found["tokens"] == 12
    assert len(found["first"]) == 4
    assert len(found["gaps"]) == 8  # the usage is no token
    assert 0 < min(found["gaps"]) <= found["seconds"] > max(found["first"]) > 0
    assert found["cpu_seconds"] > 0


def test_a_whole_response_is_counted():
    found, received = loaded(WHOLE, False)
    assert (found["tokens"], found["first"], found["gaps"]) == (12, [], [])
    assert not any("stream" in each for each in received)


@pytest.mark.parametrize("status", [429, 500])
def test_a_refused_request_ends_the_benchmark(status):
    with pytest.raises(SystemExit, match=f"4 requests failed: {status}"):
        loaded(WHOLE, False, status)


def test_quantiles_are_over_all_rounds():
    figures = [{"first": [1.0], "gaps": [5.0, 1.0]}, {"first": [3.0, 2.0], "gaps": [2.0]}]
    assert quantiles(figures) == [2.0, 3.0, 2.0, 5.0]


@pytest.mark.parametrize("size", [211, 40_478])
def test_the_vocabulary_has_its_size_and_makes_words(size):
    words, merges = vocabulary(size)
    assert len(set(words)) == size
    if size < 1000:
        vocab = {word: number for number, word in enumerate(words)}
        tokenizer = OpenAIGPTTokenizerFast(vocab=vocab, merges=merges)
        assert tokenizer.tokenize("ab zz") == ["ab</w>", "z", "z</w>"]
