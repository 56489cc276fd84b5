"""Requests to an OpenAI-compatible server, from a process of its own, whose CPU time is known.

    python -m benchmarks.serving_load '{"port": 8000, "streams": true, "requests": [{...}, ...]}'

Each request is the body of one for /v1/completions, sent on a connection of its own. All
connections are open before the first byte is sent. Prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httptools

HOST = "127.0.0.1"
EVENT = b"data: {"


@dataclass(eq=False)
class Exchange(asyncio.Protocol):
    """One request on one connection, and what comes back.

    Attributes:
        port: Of the server.
        status: 0: no response.
        retry_after: The header, if there is one.
        body: Without the chunks of the transfer.
        times: When each event of a stream arrived, of `time.perf_counter`.
        begun: When the request was sent.
        ended: When the response was whole; 0: it never was.
    """

    port: int
    status: int = 0
    retry_after: str = ""
    body: bytearray = field(default_factory=bytearray)
    times: list[float] = field(default_factory=list)
    begun: float = 0.0
    ended: float = 0.0

    async def connect(self) -> Exchange:
        """Open the connection."""
        self.parser = httptools.HttpResponseParser(self)
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = loop.create_future()
        self.transport, _ = await loop.create_connection(lambda: self, HOST, self.port)
        return self

    def send(self, content: dict[str, Any], path: str = "/v1/completions") -> None:
        """Send a request; `over` is done when its response is whole, or the connection lost."""
        body = json.dumps(content).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: {HOST}:{self.port}\r\nconnection: close\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        self.begun = time.perf_counter()
        self.transport.write(head.encode() + body)

    @property
    def tokens(self) -> int:
        """New tokens that the server counted."""
        text = bytes(self.body)
        if EVENT in text:
            text = text.rpartition(EVENT)[2].partition(b"\n")[0]
            text = b"{" + text
        usage = json.loads(text).get("usage")
        if not usage:
            raise SystemExit(f"the answer ends without usage: {text[:500]!r}")
        return int(usage["completion_tokens"])

    @property
    def token_times(self) -> list[float]:
        """When each event with new tokens arrived; a first one may have the prompt alone."""
        first, _, _ = bytes(self.body).removeprefix(b"data: ").partition(b"\n")
        choice = json.loads(first)["choices"][0]
        is_prompt = bool(choice.get("prompt_token_ids")) and not choice.get("token_ids")
        return self.times[is_prompt:-1]  # the last has the usage

    # asyncio's and httptools' names
    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if not self.over.done():
            self.over.set_result(None)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        if name.lower() == b"retry-after":
            self.retry_after = value.decode()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self.body += body
        self.times += [time.perf_counter()] * body.count(EVENT)

    def on_message_complete(self) -> None:
        """See httptools."""
        self.ended = time.perf_counter()
        self.transport.close()


def completion(prompt: list[int], new: int, *, streams: bool, **more: Any) -> dict[str, Any]:
    """The body of a request for `new` greedy tokens after a prompt."""
    found = {"prompt": prompt, "max_tokens": new, "temperature": 0, **more}
    if streams:
        found |= {"stream": True, "stream_options": {"include_usage": True}}
    return found


async def load(port: int, requests: list[dict[str, Any]], streams: bool) -> dict[str, Any]:
    """Send all requests at the same moment, and wait for all responses."""
    exchanges = [await Exchange(port).connect() for _ in requests]
    cpu, begin = time.process_time(), time.perf_counter()
    for exchange, content in zip(exchanges, requests, strict=True):
        exchange.send(content)
    await asyncio.gather(*(each.over for each in exchanges))
    seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    failed = [each for each in exchanges if each.status != 200 or not each.ended]
    if failed:
        raise SystemExit(f"{len(failed)} requests failed: {failed[0].status} {failed[0].body!r}")
    tokens = sum(each.tokens for each in exchanges)
    times = [each.token_times if streams else [] for each in exchanges]
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "tokens": tokens,
        "first": [
            found[0] - each.begun for each, found in zip(exchanges, times, strict=True) if found
        ],
        "gaps": [after - before for found in times for before, after in pairwise(found)],
    }


def main() -> None:
    given = json.loads(sys.argv[1] if sys.argv[1] != "-" else sys.stdin.read())
    print(json.dumps(asyncio.run(load(**given))))


if __name__ == "__main__":
    main()
