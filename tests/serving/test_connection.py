"""Connections that never send a whole request head, against a uvicorn on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from ogpt.serving.connection import limited_protocol
from ogpt.serving.guard import MAX_HEAD_BYTES
from tests.serving.running import PATIENCE, until

DEADLINE = 0.4  # seconds for a head in these tests

LARGE = 64 << 20
"""Bytes of a response that no buffer of the system holds."""
WHOLE = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once, perhaps with much."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await receive()
    for _ in range(LARGE >> 20 if scope["path"] == "/large" else 0):
        await send({"type": "http.response.body", "body": b"x" * (1 << 20), "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


@contextmanager
def uvicorn_with(deadline: float) -> Iterator[uvicorn.Server]:
    """A server of `application` on a free port."""
    config = uvicorn.Config(
        application,
        port=0,
        http=limited_protocol(deadline),
        ws="none",
        lifespan="off",
        log_config=None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    yield server
    server.should_exit = True
    thread.join(PATIENCE)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def server() -> Iterator[uvicorn.Server]:
    with uvicorn_with(DEADLINE) as found:
        yield found


@contextmanager
def connected(server: uvicorn.Server) -> Iterator[socket.socket]:
    address = server.servers[0].sockets[0].getsockname()
    with socket.create_connection(address, PATIENCE) as client:
        yield client


def rest(client: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    found = b""
    while True:
        try:
            part = client.recv(65536)
        except ConnectionResetError:
            return found
        if not part:
            return found
        found += part


def response(client: socket.socket, count: int = 1) -> bytes:
    """Responses of `application`, in chunks."""
    found = b""
    while found.count(b"\r\n0\r\n\r\n") < count:
        part = client.recv(65536)
        assert part
        found += part
    return found


@pytest.mark.parametrize("head", [b"", b"G", b"GET / HTTP/1.1\r\nhost: localhost\r\n"])
def test_a_connection_without_a_whole_head_is_closed(server: uvicorn.Server, head: bytes) -> None:
    with connected(server) as client:
        client.sendall(head)
        assert rest(client).startswith(b"HTTP/1.1 408 ")


def test_a_head_in_drops_is_late_too(server: uvicorn.Server) -> None:
    with connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        client.settimeout(DEADLINE / 4)
        end = time.monotonic() + PATIENCE
        found = b""
        while not found:
            assert time.monotonic() < end
            try:
                found = client.recv(100)
            except TimeoutError:
                client.sendall(b"a: b\r\n")
        assert found.startswith(b"HTTP/1.1 408 ")


def test_later_heads_of_a_connection_have_a_deadline_too(server: uvicorn.Server) -> None:
    with connected(server) as client:
        for _ in range(2):
            client.sendall(WHOLE)
            assert response(client).startswith(b"HTTP/1.1 200 ")
        client.sendall(WHOLE[:9])
        assert rest(client).startswith(b"HTTP/1.1 408 ")


def test_whole_requests_have_time(server: uvicorn.Server) -> None:
    """A request whose head is whole, and a connection between two requests, are not closed."""
    with connected(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\n")
        time.sleep(1.5 * DEADLINE)
        client.sendall(b"x" + WHOLE)
        assert response(client, 2).count(b"HTTP/1.1 200 ") == 2
        time.sleep(1.5 * DEADLINE)
        client.sendall(WHOLE)
        assert response(client).startswith(b"HTTP/1.1 200 ")


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="an option of Linux")
def test_a_client_that_does_not_read_is_left(server: uvicorn.Server) -> None:
    with connected(server) as client:
        client.sendall(WHOLE.replace(b"/v1/models", b"/large"))
        until(lambda: server.server_state.connections)
        until(lambda: not server.server_state.connections)
        assert len(rest(client)) < LARGE


def test_a_flood_of_headers_is_refused() -> None:
    with uvicorn_with(PATIENCE) as server, connected(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        sent, found = 0, b""
        client.settimeout(0.01)
        while not found and sent < 64 * MAX_HEAD_BYTES:
            try:
                client.sendall(b"a: b\r\n" * 1000)
                sent += 6000
                found = client.recv(100)
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        assert sent < 3 * MAX_HEAD_BYTES
        assert found.startswith(b"HTTP/1.1 431 ") or not found
