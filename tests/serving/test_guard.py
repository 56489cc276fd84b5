"""The middlewares: what passes, what is refused, and how."""

from __future__ import annotations

import hmac
import logging
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ogpt.serving.guard import (
    MAX_HEAD_BYTES,
    OPEN_PATHS,
    BodyGuard,
    CallerGuard,
    HeadGuard,
    HeadMethod,
    HostGuard,
    RequestRate,
)
from tests.serving.asgi import LEAVES, Answer, ask, echo, parts

# ---- head


def test_long_heads_are_refused() -> None:
    guard = HeadGuard(echo)
    most = MAX_HEAD_BYTES - len("/v1/models") - len("a")
    assert ask(guard, headers=[("a", "x" * most)]).status == 200
    for head in ({"headers": [("a", "x" * (most + 1))]}, {"query_string": b"x" * MAX_HEAD_BYTES}):
        answer = ask(guard, **head)  # type: ignore[arg-type]
        assert answer.status == 431
        assert f"allowed: {MAX_HEAD_BYTES}" in answer.error["message"]
        assert answer.headers["connection"] == "close"
    assert ask(guard, headers=[("a", "x")] * MAX_HEAD_BYTES).status == 431


# ---- host and origin

GUARD = HostGuard(echo, ["GPT.example"], ["https://Page.example"])


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:8000", "127.0.0.1:8000", "[::1]:8000", "10.0.0.7", "gpt.Example:443"],
)
def test_hosts_that_no_foreign_page_can_have_pass(host: str) -> None:
    assert ask(GUARD, headers=[("Host", host)]).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "gpt.example.evil.example",
        "xgpt.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "localhost:x",
        "localhost:99999",
        "localhost/",
        "evil.example/localhost",
        "evil.example#localhost",
        "[::1",
        "0x7f.1",
        "*",
        "",
    ],
)
def test_dns_rebinding_is_refused(host: str) -> None:
    answer = ask(GUARD, headers=[("Host", host)])
    assert answer.status == 421
    assert answer.error["code"] == "host_not_allowed"
    assert repr(host) in answer.error["message"]
    assert "gpt.example, localhost" in answer.error["message"]


def test_a_request_has_one_host() -> None:
    for headers in ([], [("Host", "localhost"), ("Host", "localhost")]):
        answer = ask(GUARD, headers=headers)
        assert (answer.status, answer.error["code"]) == (400, "host_invalid")
        assert f"has {len(headers)} headers Host; allowed: 1" in answer.error["message"]
    assert ask(GUARD, http_version="1.0").status == 200  # as balancers check health


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("gpt.example", "https://gpt.example"),
        ("127.0.0.1:8000", "https://page.example"),
    ],
)
def test_pages_of_the_server_and_those_allowed_pass(host: str, origin: str) -> None:
    assert ask(GUARD, headers=[("Host", host), ("Origin", origin)]).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://evil.example",
        "http://localhost:3000",
        "http://127.0.0.1:8000",
        "http://localhost:8000@evil.example",
        "http://localhost:8000.evil.example",
        "ftp://localhost:8000",
        "https://gpt.example",
        "http://*",
        "",
    ],
)
@pytest.mark.parametrize("names", [["gpt.example"], ["*"]])
def test_cross_site_requests_are_refused(origin: str, names: list[str]) -> None:
    guard = HostGuard(echo, names, ["https://page.example"])
    answer = ask(guard, headers=[("Host", "localhost:8000"), ("Origin", origin)])
    assert answer.status == 403
    assert answer.error["code"] == "origin_not_allowed"
    assert repr(origin) in answer.error["message"]
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_star_allows_all() -> None:
    evil = [("Host", "evil.example"), ("Origin", "null")]
    assert ask(HostGuard(echo, ["*"]), headers=evil[:1]).status == 200
    assert ask(HostGuard(echo, ["*"], ["*"]), headers=evil).status == 200


# ---- key and rate

KEYS = ["first key", "zweiter-schlüssel"]


def bearer(key: str, scheme: str = "Bearer") -> list[tuple[str, str]]:
    return [("Authorization", f"{scheme} {key}".encode().decode("latin-1"))]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_each_key_is_accepted(key: str, scheme: str) -> None:
    assert ask(CallerGuard(echo, KEYS), headers=bearer(key, scheme)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        bearer(""),
        bearer("first"),
        bearer("first keys"),
        bearer("FIRST KEY"),
        bearer("first key", "Basic"),
        [("X-API-Key", "first key")],
    ],
)
def test_without_a_key_nothing_is_served(headers: list[tuple[str, str]]) -> None:
    guard = CallerGuard(echo, KEYS)
    for path in ("/v1/models", "/metrics", "/nothing", "/health/", "/docs/..//metrics", "//health"):
        answer = ask(guard, path, headers)
        assert answer.status == 401
        assert answer.error["code"] == "invalid_api_key"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert not any(key in answer.error["message"] for key in KEYS)


def test_open_paths_need_no_key() -> None:
    guard = CallerGuard(echo, KEYS, requests_per_minute=1)
    for path in sorted(OPEN_PATHS) * 2:
        assert ask(guard, path).status == 200
        assert ask(guard, f"/gpt{path}", root_path="/gpt").status == 200
    assert ask(guard, "/gpt/metrics", root_path="/gpt").status == 401


def test_shared_documents_need_no_key_and_have_a_rate() -> None:
    guard = CallerGuard(echo, KEYS, 2, Clock())
    assert [ask(guard, "/share/a", method=each).status for each in ("GET", "HEAD", "GET")] == [
        200,
        200,
        429,
    ]
    assert ask(guard, "/static/a.js").status == 200  # files have none
    assert ask(guard, "/share/a", bearer(KEYS[0])).status == 200
    other: dict[str, Any] = {"client": ("192.0.2.2", 1)}
    assert ask(guard, "/gpt/share/a", root_path="/gpt", **other).status == 200
    assert ask(guard, "/share/a", method="POST", **other).status == 401


def test_keys_are_compared_whole_and_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a time that depends on the key would help to guess it."""
    lengths: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for key in ("", "first key", "x" * 1000):
        ask(CallerGuard(echo, KEYS), headers=bearer(key))
    assert lengths == [(32, 32)] * 6


class Clock:
    """Seconds that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_of_each_caller_is_limited() -> None:
    clock = Clock()
    guard = CallerGuard(echo, KEYS, 2, clock)

    def asked(key: str, address: str = "192.0.2.1") -> Answer:
        return ask(guard, headers=bearer(key), client=(address, 1))

    assert [asked(KEYS[0]).status for _ in range(3)] == [200, 200, 429]
    refused = asked(KEYS[0], "192.0.2.2")  # the key counts, not the address
    assert refused.error["code"] == "rate_limit_exceeded"
    assert refused.headers["retry-after"] == "30"
    assert "more than 2 requests in a minute" in refused.error["message"]
    assert asked(KEYS[1]).status == 200
    clock.now = 29.0
    assert asked(KEYS[0]).headers["retry-after"] == "1"
    clock.now = 30.0
    assert [asked(KEYS[0]).status for _ in range(2)] == [200, 429]


def test_guessing_keys_is_limited_and_uses_up_the_rate_of_no_key() -> None:
    guard = CallerGuard(echo, KEYS, 2, Clock())
    assert [ask(guard, headers=bearer(f"{n}")).status for n in range(4)] == [401, 401, 429, 429]
    assert ask(guard, headers=bearer(KEYS[0])).status == 200
    assert ask(guard, client=("192.0.2.2", 1)).status == 401


def test_without_keys_addresses_are_limited() -> None:
    guard = CallerGuard(echo, (), 1, Clock())
    assert [ask(guard).status for _ in range(2)] == [200, 429]
    assert ask(guard, client=None).status == 200  # a Unix socket


def test_callers_are_forgotten() -> None:
    clock = Clock()
    rate = RequestRate(60, clock)
    for number in range(5000):
        clock.now += 0.1
        assert rate.wait(f"{number}") == 0
    assert len(rate) <= 1000


# ---- body


def test_a_body_arrives_whole_and_once() -> None:
    guard = BodyGuard(echo, max_bytes=6, seconds=5)
    answer = ask(guard, headers=[("Content-Length", "6")], messages=parts(b"abc", b"", b"def"))
    assert (answer.status, answer.body, answer.received) == (200, b"abcdef", 3)


@pytest.mark.parametrize("declared", ["7", "104857600", "9" * 5000])
def test_a_body_that_says_it_is_too_large_is_not_received(declared: str) -> None:
    guard = BodyGuard(echo, max_bytes=6, seconds=5)
    answer = ask(guard, headers=[("Content-Length", declared)])
    assert (answer.status, answer.received) == (413, 0)
    assert "more than 6 bytes" in answer.error["message"]
    assert answer.headers["connection"] == "close"


def test_a_body_is_received_up_to_the_limit() -> None:
    guard = BodyGuard(echo, max_bytes=6, seconds=5)
    for headers in ([], [("Content-Length", "-1")], [("Content-Length", "3")]):
        answer = ask(guard, headers=headers, messages=parts(*[b"abc"] * 100))
        assert (answer.status, answer.received) == (413, 3)


def test_a_slow_body_is_refused() -> None:
    guard = BodyGuard(echo, max_bytes=6, seconds=0.05)
    answer = ask(guard, messages=parts(b"a", b"b")[:1])
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert "in 0.05 s" in answer.error["message"]


def test_a_client_that_leaves_before_its_body_ends_gets_nothing() -> None:
    guard = BodyGuard(echo, max_bytes=6, seconds=5)
    assert ask(guard, messages=[*parts(b"a", b"b")[:1], LEAVES]) == Answer(received=2)


def test_the_application_sees_the_client_leave() -> None:
    seen: list[Message] = []

    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        seen.extend([await receive(), await receive()])

    ask(BodyGuard(watching, max_bytes=6, seconds=5), messages=[*parts(b"a"), LEAVES])
    assert seen == [{"type": "http.request", "body": b"a", "more_body": False}, LEAVES]


@pytest.mark.parametrize("is_logged", [False, True])
def test_bodies_are_logged_on_request_only(
    is_logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    guard = BodyGuard(echo, 100, 5, is_logged)
    for path in ("/documents/a/edit-key", "/v1/completions"):
        ask(guard, path=path, messages=parts("a secret\nlínea".encode()))
    lines = [record.getMessage() for record in caplog.records if "secret" in record.getMessage()]
    assert lines == [r"body 'a secret\nl\xednea'"] * is_logged


def test_what_is_no_request_passes() -> None:
    for guard in (
        HeadGuard(echo),
        HeadMethod(echo),
        GUARD,
        CallerGuard(echo, KEYS),
        BodyGuard(echo, 0, 0),
    ):
        assert ask(guard, type="lifespan").status == 0
