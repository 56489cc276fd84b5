"""Calls of an ASGI application without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LEAVES: Message = {"type": "http.disconnect"}


def parts(*bodies: bytes) -> list[Message]:
    """A body in parts, as a server hands it on."""
    last = len(bodies) - 1
    return [
        {"type": "http.request", "body": body, "more_body": place < last}
        for place, body in enumerate(bodies)
    ]


@dataclass
class Answer:
    """What an application sent, and how many messages it took from the client."""

    status: int = 0
    """0: nothing."""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    received: int = 0

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error object."""
        found: dict[str, Any] = json.loads(self.body)["error"]
        return found


def ask(
    app: ASGIApp,
    path: str = "/v1/models",
    headers: Iterable[tuple[str, str]] = (),
    messages: Iterable[Message] | None = None,
    client: tuple[str, int] | None = ("192.0.2.1", 50000),
    **scope: Any,
) -> Answer:
    """Send one request. After its messages the client waits for ever."""
    answer = Answer()
    waiting = iter(parts(b"") if messages is None else messages)

    async def receive() -> Message:
        message = next(waiting, None)
        if message is None:
            await asyncio.Event().wait()
        answer.received += 1
        assert message is not None
        return message

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert not answer.status
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    sent = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
    whole: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "http_version": "1.1",
        "root_path": "",
        "headers": sent,
        "client": client,
        **scope,
    }
    asyncio.run(app(whole, receive, send))
    return answer


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that returns the body, and whether the client has left after it."""
    if scope["type"] != "http":
        return
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body, "more_body": False})
