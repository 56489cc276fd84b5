"""Connections that only hold a place: uvicorn waits for them without limit."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ogpt.errors import HeadRefused
from ogpt.serving.guard import MAX_HEAD_BYTES


def limited_protocol(seconds: float) -> type[asyncio.Protocol]:
    """The HTTP protocol for uvicorn, with limits.

    A connection is closed with status 408 if a request head is not complete in time, with 431 if
    it has more than MAX_HEAD_BYTES without an end, and without a word if the client does not read
    what was sent to it (on Linux). Bodies have their limits in `guard`.

    Args:
        seconds: Deadline for a head, from the connection or from its first byte, and for reading.

    Returns:
        A class for `uvicorn.Config(http=...)`.
    """

    class LimitedProtocol(HttpToolsProtocol):
        deadline: asyncio.TimerHandle | None = None
        head_bytes = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                transport.get_extra_info("socket").setsockopt(
                    socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * seconds)
                )
            self.begin_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self.end_head()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.deadline is not None:
                self.head_bytes += len(data)
                if self.head_bytes > MAX_HEAD_BYTES:
                    self.refuse(b"431 Request Header Fields Too Large")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self.deadline is None:
                self.begin_head()

        def on_headers_complete(self) -> None:
            self.end_head()
            if not self.url.startswith(b"/"):  # it may name another host than the header does
                raise HeadRefused("the target is no path", hint="send a path")
            super().on_headers_complete()

        def begin_head(self) -> None:
            self.deadline = self.loop.call_later(seconds, self.refuse, b"408 Request Timeout")

        def end_head(self) -> None:
            self.head_bytes = 0
            if self.deadline is not None:
                self.deadline.cancel()
                self.deadline = None

        def refuse(self, status: bytes) -> None:
            self.end_head()
            if not self.transport.is_closing():
                head = b"HTTP/1.1 %s\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status
                self.transport.write(head)
                self.transport.close()

    return LimitedProtocol
