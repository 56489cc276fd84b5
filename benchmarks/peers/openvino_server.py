"""OpenVINO GenAI's continuous batching behind /v1/completions, as GenAI has no HTTP server.

    python -m benchmarks.peers.openvino_server SHAPE PRECISION FOLDER PORT THREADS

A process of its own steps the pipeline, as `step` holds the interpreter's lock: beside a thread the
event loop would send tokens only now and then. The standard library's event loop does no more than
a server must: it parses a request, hands it over, and writes an event for each token.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import sys
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_genai as genai

from benchmarks.peers.openvino_peer import Graph
from benchmarks.peers.vocabulary import vocabulary

CACHE_GIB = 2
CONCURRENT = 64
TOKENS = 512
"""Tokens of a step, prompts included."""

HEAD = "HTTP/1.1 {} OK\r\ncontent-type: {}\r\ntransfer-encoding: chunked\r\n\r\n"


def step(folder: str, threads: int, precision: str, server: Connection) -> None:
    """Step GenAI's pipeline as long as there are requests, until the server's process ends.

    Args:
        folder: Of the model.
        threads: CPU threads.
        precision: Of the weights.
        server: Gives requests (number, ids, new tokens); gets a list for each step: (number,
            token), or (number, None) at the end. An empty list says that all is ready.
    """
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size = CACHE_GIB
    scheduler.max_num_seqs = CONCURRENT
    scheduler.max_num_batched_tokens = TOKENS
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads}
    if precision == "float32":  # otherwise bfloat16 if the processor supports it
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    pipeline = genai.ContinuousBatchingPipeline(folder, scheduler, "CPU", settings)
    server.send([])
    running: dict[int, Any] = {}
    while True:
        while not running or server.poll():
            number, ids, new = server.recv()
            config = genai.GenerationConfig()
            config.max_new_tokens = new
            config.ignore_eos = True
            config.set_eos_token_id(0)  # it asks for one
            running[number] = pipeline.add_request(number, ov.Tensor(np.array([ids])), config)
        pipeline.step()
        found: list[tuple[int, int | None]] = []
        for number, handle in list(running.items()):
            if handle.can_read():
                [output] = handle.read().values()
                found += [(number, token) for token in output.generated_ids]
            if handle.get_status() != genai.GenerationStatus.RUNNING:
                del running[number]
                found.append((number, None))
        server.send(found)


class Pipeline:
    """Hands requests to the process of `step`, and its tokens to their readers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = count()
        self._queues: dict[int, asyncio.Queue[int | None]] = {}
        asyncio.get_running_loop().add_reader(connection.fileno(), self._receive)

    def add(self, ids: list[int], new: int) -> asyncio.Queue[int | None]:
        """Queue a request; return the queue of its new tokens. None follows the last one."""
        number = next(self._numbers)
        self._queues[number] = queue = asyncio.Queue()
        self._connection.send((number, ids, new))
        return queue

    def _receive(self) -> None:
        for number, token in self._connection.recv():
            self._queues[number].put_nowait(token)
            if token is None:
                del self._queues[number]


class Server:
    """Answers requests of a connection, one each."""

    def __init__(self, pipeline: Pipeline, words: list[str]) -> None:
        self._pipeline = pipeline
        self._words = words

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request and close the connection."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
            body = await reader.readexactly(length)
            if body:
                await self._complete(json.loads(body), writer)
            else:
                writer.write(HEAD.format(200, "text/plain").encode() + b"0\r\n\r\n")
            await writer.drain()
        finally:
            writer.close()

    async def _complete(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        ids, streams = body["prompt"], bool(body.get("stream"))
        tokens = self._pipeline.add(ids, body["max_tokens"])
        kind = "text/event-stream" if streams else "application/json"
        writer.write(HEAD.format(200, kind).encode())
        texts = []
        while (token := await tokens.get()) is not None:
            texts.append(self._words[token].replace("</w>", " "))
            if streams:
                _send(writer, _event({"choices": [{"index": 0, "text": texts[-1]}]}))
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(texts)}
        if streams:
            _send(writer, _event({"choices": [], "usage": usage}))
            _send(writer, "data: [DONE]\n\n")
        else:
            choices = [{"index": 0, "text": "".join(texts)}]
            _send(writer, json.dumps({"choices": choices, "usage": usage}))
        writer.write(b"0\r\n\r\n")


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"


def _send(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(f"{len(text):x}\r\n{text}\r\n".encode())  # ASCII


def write_model(shape: dict[str, int], precision: str, folder: Path) -> None:
    """Write the graph of `openvino_peer`, unless it is there."""
    file = folder / "openvino_model.xml"
    if not file.exists():
        model = Graph(shape, precision).model()
        for place, name in enumerate(("input_ids", "position_ids", "beam_idx")):
            model.input(place).get_tensor().set_names({name})
            model.input(place).get_node().friendly_name = name
        model.output(0).get_tensor().set_names({"logits"})
        ov.save_model(model, file, compress_to_fp16=False)


async def serve(connection: Connection, words: list[str], port: int) -> None:
    """Answer requests for ever."""
    server = Server(Pipeline(connection), words)
    async with await asyncio.start_server(server.answer, "127.0.0.1", port, backlog=1024) as each:
        await each.serve_forever()


def main() -> None:
    given, precision, folder, port, threads = sys.argv[1:]
    shape = json.loads(given)
    write_model(shape, precision, Path(folder))
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    spawn.Process(target=step, args=(folder, int(threads), precision, there), daemon=True).start()
    there.close()  # so that each side sees when the other one ends
    here.recv()
    asyncio.run(serve(here, vocabulary(shape["vocab_size"])[0], int(port)))


if __name__ == "__main__":
    main()
