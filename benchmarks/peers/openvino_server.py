"""OpenVINO GenAI's continuous batching behind /v1/completions, as GenAI has no HTTP server.

    python -m benchmarks.peers.openvino_server SHAPE PRECISION FOLDER PORT THREADS

The standard library's event loop does no more than a server must: it parses a request, adds it to
the pipeline, and writes an event for each token. A thread steps the pipeline.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from dataclasses import dataclass, field
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


@dataclass(eq=False)
class Job:
    """A request and its new tokens."""

    ids: list[int]
    new: int
    tokens: asyncio.Queue[int | None] = field(default_factory=asyncio.Queue)
    """None follows the last one."""


class Pipeline:
    """Steps GenAI's pipeline in a thread, as long as there are requests."""

    def __init__(self, folder: Path, threads: int, precision: str) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = CACHE_GIB
        scheduler.max_num_seqs = CONCURRENT
        scheduler.max_num_batched_tokens = TOKENS
        settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads}
        if precision == "float32":  # otherwise bfloat16 if the processor supports it
            settings["INFERENCE_PRECISION_HINT"] = "f32"
        self._pipe = genai.ContinuousBatchingPipeline(str(folder), scheduler, "CPU", settings)
        self._changed = threading.Condition()
        self._added: list[Job] = []
        self._loop = asyncio.get_running_loop()
        self._count = 0
        threading.Thread(target=self._live, daemon=True).start()

    def add(self, job: Job) -> None:
        """Queue a request."""
        with self._changed:
            self._added.append(job)
            self._changed.notify()

    def _live(self) -> None:
        running: dict[Job, Any] = {}
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._added or running)
                added, self._added = self._added, []
            for job in added:
                running[job] = self._start(job)
            self._pipe.step()
            found = []
            for job, handle in list(running.items()):
                if handle.can_read():
                    [output] = handle.read().values()
                    found += [(job, token) for token in output.generated_ids]
                if handle.get_status() != genai.GenerationStatus.RUNNING:
                    del running[job]
                    found.append((job, None))
            self._loop.call_soon_threadsafe(_deliver, found)

    def _start(self, job: Job) -> Any:
        settings = genai.GenerationConfig()
        settings.max_new_tokens = job.new
        settings.ignore_eos = True
        settings.set_eos_token_id(0)  # it asks for one
        self._count += 1
        return self._pipe.add_request(self._count, ov.Tensor(np.array([job.ids])), settings)


def _deliver(found: list[tuple[Job, int | None]]) -> None:
    for job, token in found:
        job.tokens.put_nowait(token)


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
        job = Job(body["prompt"], body["max_tokens"])
        streams = bool(body.get("stream"))
        self._pipeline.add(job)
        kind = "text/event-stream" if streams else "application/json"
        writer.write(HEAD.format(200, kind).encode())
        texts = []
        while (token := await job.tokens.get()) is not None:
            texts.append(self._words[token].replace("</w>", " "))
            if streams:
                _send(writer, _event({"choices": [{"index": 0, "text": texts[-1]}]}))
        usage = {"prompt_tokens": len(job.ids), "completion_tokens": len(texts)}
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


async def main() -> None:
    shape, precision, folder, port, threads = sys.argv[1:]
    write_model(json.loads(shape), precision, Path(folder))
    pipeline = Pipeline(Path(folder), int(threads), precision)
    server = Server(pipeline, vocabulary(json.loads(shape)["vocab_size"])[0])
    listening = await asyncio.start_server(server.answer, "127.0.0.1", int(port), backlog=1024)
    async with listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
