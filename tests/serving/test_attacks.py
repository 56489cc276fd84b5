"""Attacks on a real server on loopback: each is refused with a status and message, and none stays.

`test_guard` and `test_connection` have those that need no model.
"""

from __future__ import annotations

import http.client
import json
import logging
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from ogpt.serving.guard import OPEN_PATHS
from tests.serving.running import running, until

PATIENCE = 20.0
KEY = "the right key"
TYPE = ("Content-Type", "application/json")
ALLOWED = [("Authorization", f"Bearer {KEY}"), TYPE]
MAX_BODY = 1 << 20
MEGABYTE = b"x" * (1 << 20)


@pytest.fixture(scope="module")
def server(small_folder: Path) -> Iterator[str]:
    """The address of a server with a key, whose clients have little time."""
    with running(
        {"small": small_folder}, api_key=KEY, max_body_bytes=MAX_BODY, receive_timeout=0.5
    ) as url:
        yield urlsplit(url).netloc


@pytest.fixture(autouse=True)
def is_well_afterwards(server: str) -> Iterator[None]:
    """After each attack the server answers, and generates."""
    yield
    assert ask(server, "/health", "GET")[0] == 200
    status, answer = complete(server, prompt="a", max_tokens=1)
    assert status == 200
    assert answer["usage"]["completion_tokens"] == 1


def ask(
    server: str,
    path: str,
    method: str = "POST",
    body: Any = None,
    headers: list[tuple[str, str]] | None = None,
) -> tuple[int, Any]:
    """Status and JSON of one request; every error has OpenAI's shape."""
    with closing(http.client.HTTPConnection(server, timeout=PATIENCE)) as client:
        client.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        names = {name.lower() for name, _ in headers or ()}
        for name, value in [*({"host"} - names and [("Host", server)]), *(headers or ())]:
            client.putheader(name, value)
        if isinstance(body, bytes):
            client.putheader("Content-Length", str(len(body)))
        client.endheaders(body if isinstance(body, bytes) else None)
        return answered(client)


def answered(client: http.client.HTTPConnection) -> tuple[int, Any]:
    response = client.getresponse()
    text = response.read()
    is_json = response.headers["content-type"] == "application/json"
    answer = json.loads(text) if is_json and text else text
    if response.status >= 400:
        assert answer["error"].keys() == {"message", "type", "param", "code"}
        assert answer["error"]["message"]
    return response.status, answer


def post(server: str, body: bytes, path: str = "/v1/completions") -> tuple[int, Any]:
    return ask(server, path, "POST", body, ALLOWED)


def complete(server: str, **fields: Any) -> tuple[int, Any]:
    return post(server, json.dumps(fields).encode())


# ---- bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"prompt": "a"',
        b'{"prompt": "a"}}',
        b"{'prompt': 'a'}",
        b"nul",
        b"\xff\xfe",
        b'{"prompt": "\xff"}',
        b'{"prompt": "a\x00"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[]",
        b'"a"',
        b"1",
        b"null",
        b"{}",
        b'{"prompt": "a", "n": ' + b"9" * 5000 + b"}",
    ],
)
def test_malformed_json(server: str, body: bytes) -> None:
    assert post(server, body)[0] == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", 1),
        ("prompt", {}),
        ("prompt", True),
        ("prompt", [1.5]),
        ("prompt", [[]]),
        ("prompt", [["a"]]),
        ("prompt", [[1], "a"]),
        ("prompt", ["a", 1]),
        ("prompt", []),
        ("prompt", [True]),
        ("prompt", [-1]),
        ("prompt", [1, -(2**31)]),
        ("prompt", [10**6]),
        ("prompt", [2**63]),
        ("prompt", [10**30]),
        ("n", "1"),
        ("n", 1.5),
        ("n", -1),
        ("n", 10**9),
        ("n", 10**30),
        ("best_of", 10**30),
        ("max_tokens", "a"),
        ("max_tokens", -1),
        ("max_tokens", 10**30),
        ("temperature", "hot"),
        ("temperature", -1),
        ("temperature", 1e308),
        ("top_p", 2),
        ("top_k", -(10**12)),
        ("seed", 2**200),
        ("seed", 1.5),
        ("logprobs", 10**9),
        ("stop", 5),
        ("stop", ["a"] * 10_000),
        ("stop_token_ids", [-1]),
        ("logit_bias", [1]),
        ("logit_bias", {"a": 1}),
        ("logit_bias", {"-1": 1}),
        ("logit_bias", {"1": 10**30}),
        ("stream", "yes"),
        ("echo", 1),
        ("model", 5),
        ("user", []),
        ("max_time", -1),
    ],
)
def test_wrong_values(server: str, field: str, value: Any) -> None:
    status, answer = complete(server, **{"prompt": "a", "max_tokens": 1, field: value})
    assert status == 400
    assert answer["error"]["param"] == field
    assert len(answer["error"]["message"]) < 2500


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("field", ["temperature", "top_p", "presence_penalty", "max_tokens"])
def test_numbers_that_are_none(server: str, field: str, number: str) -> None:
    assert post(server, f'{{"prompt": "a", "{field}": {number}}}'.encode())[0] == 400
    nested = f'{{"prompt": "a", "logit_bias": {{"1": {number}}}}}'
    assert post(server, nested.encode())[0] == 400


def test_half_surrogate_pairs(server: str) -> None:
    for body in (
        rb'{"prompt": "\ud83d"}',
        rb'{"prompt": "a", "model": "\ud83d"}',
        rb'{"prompt": "a", "max_tokens": 1, "\ud83d": 1}',
        rb'{"prompt": "a", "max_tokens": 1, "stop": "\ud83d"}',
    ):
        assert post(server, body)[0] in (200, 400, 404)


def test_long_prompts(server: str) -> None:
    for prompt in ("word " * 100_000, [1] * 100_000, ["word"] * 50_000):
        status, answer = complete(server, prompt=prompt, max_tokens=1)
        assert status == 400
        assert answer["error"]["param"] == "prompt"


def test_a_body_of_100_mb_is_not_received(server: str) -> None:
    """The test's process is also the server's."""
    before = psutil.Process().memory_info().rss
    with closing(http.client.HTTPConnection(server, timeout=PATIENCE)) as client:
        client.putrequest("POST", "/v1/completions")
        for name, value in (*ALLOWED, ("Content-Length", str(100 << 20))):
            client.putheader(name, value)
        client.endheaders()
        assert answered(client)[0] == 413
    with closing(http.client.HTTPConnection(server, timeout=PATIENCE)) as client:
        client.putrequest("POST", "/v1/completions")
        for name, value in (*ALLOWED, ("Transfer-Encoding", "chunked")):
            client.putheader(name, value)
        client.endheaders()
        sent = 0
        try:
            while sent < 100:
                client.send(b"%x\r\n%s\r\n" % (len(MEGABYTE), MEGABYTE))
                sent += 1
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert sent < 100
    assert psutil.Process().memory_info().rss - before < 50 << 20


# ---- bytes of the connection


def exchange(server: str, *pieces: bytes) -> bytes:
    """Send bytes; return all that comes until the server closes the connection."""
    host, port = server.split(":")
    found = b""
    with socket.create_connection((host, int(port)), PATIENCE) as client:
        for piece in pieces:
            client.sendall(piece)
        while part := _received(client):
            found += part
    return found


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(65536)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    "raw",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://evil.example/health HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n b\x00: c\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request(server: str, raw: bytes) -> None:
    assert exchange(server, raw)[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 408", b"")


def test_a_slow_body(server: str) -> None:
    head = f"POST /v1/completions HTTP/1.1\r\nhost: {server}\r\nauthorization: Bearer {KEY}\r\n"
    found = exchange(server, head.encode(), b"content-length: 10\r\n\r\n", b"{")
    assert found.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive in 0.5 s" in found


def test_a_head_that_is_never_whole(server: str) -> None:
    assert exchange(server, b"POST /v1/completions HTTP/1.1\r\n").startswith(b"HTTP/1.1 408 ")


def test_long_heads(server: str) -> None:
    for header in (("X", "x" * 70_000), ("Cookie", "a=b; " * 20_000)):
        assert ask(server, "/health", "GET", headers=[header])[0] == 431
    assert ask(server, f"/{'x' * 30_000}", "GET", headers=ALLOWED)[0] == 404


# ---- paths and methods


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/docs/../../etc/passwd",
        "/docs/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/static/..\\..\\etc\\passwd",
        "/v1/models/..%2f..%2fetc%2fpasswd",
        "/v1/models/%00",
        "/v1/completions%0d%0aX:%20y",
        "/%ff%fe",
        "/__init__.py",
    ],
)
def test_paths_that_lead_nowhere(server: str, path: str) -> None:
    assert ask(server, path, "GET", headers=ALLOWED)[0] == 404


@pytest.mark.parametrize("path", ["/health", "/ready", "/v1/models", "/metrics", "/docs"])
def test_head_is_get_without_a_body(
    server: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert ask(server, path, "HEAD", headers=ALLOWED) == (200, b"")
    assert ask(server, path, "GET", headers=ALLOWED)[1]
    until(lambda: f'"HEAD {path}" 200' in caplog.text)


def test_names_of_models_are_no_paths(server: str) -> None:
    for name in (
        "../../etc/passwd",
        "/etc/passwd",
        "small/../small",
        "file:///etc/passwd",
        "x" * 5000,
    ):
        status, answer = complete(server, prompt="a", model=name)
        assert status == 404
        assert answer["error"]["param"] == "model"


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND"])
def test_other_methods(server: str, method: str) -> None:
    assert ask(server, "/v1/completions", method, headers=ALLOWED)[0] == 405


# ---- pages of other sites, and keys


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (("Origin", "http://evil.example"), 403),
        (("Origin", "null"), 403),
        (("Host", "evil.example"), 421),
        (("Host", "localhost.evil.example:8000"), 421),
    ],
)
def test_pages_of_other_sites(server: str, header: tuple[str, str], status: int) -> None:
    body = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
    assert ask(server, "/v1/completions", "POST", body, [*ALLOWED, header])[0] == status
    assert ask(server, "/health", "GET", None, [header])[0] == status


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_forms_are_not_json(server: str, kind: str) -> None:
    """What a page may post to another site without asking first."""
    headers = [ALLOWED[0], ("Content-Type", kind)] if kind else ALLOWED[:1]
    body = json.dumps({"prompt": "a", "max_tokens": 1}).encode()
    assert ask(server, "/v1/completions", "POST", body, headers)[0] == 415


def test_the_page_lists_every_path(server: str) -> None:
    status, page = ask(server, "/docs", "GET")
    assert status == 200
    for path in ask(server, "/openapi.json", "GET")[1]["paths"]:
        assert f" {path}</h2>" in page.decode()


def test_every_path_needs_the_key(server: str) -> None:
    document = ask(server, "/openapi.json", "GET")[1]
    assert len(document["paths"]) > 5
    for path, operations in document["paths"].items():
        for method in operations:
            for headers in ([TYPE], [("Authorization", "Bearer the wrong key"), TYPE]):
                status, _ = ask(server, path, method.upper(), b"{}", headers)
                is_open = path in OPEN_PATHS or (method == "get" and path.startswith("/share/"))
                assert (status != 401) == is_open, path
    assert ask(server, "/metrics", "GET")[0] == 401
    assert ask(server, "/nothing", "GET")[0] == 401


def test_prompts_are_not_logged(server: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for fields in ({"max_tokens": 1}, {"n": "1"}, {"model": "none"}, {"stream": True}, {"odd": 1}):
        complete(server, prompt="a secret", user="a secret", **fields)
    post(server, b'{"prompt": "a secret"')
    post(server, b'{"prompt": "a secret"}', "/nothing")
    until(lambda: sum(each.name == "ogpt.serving.access_log" for each in caplog.records) == 7)
    assert not [each for each in caplog.records if "secret" in each.getMessage() + repr(each)]
