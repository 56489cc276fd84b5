"""What a request must pass before a route sees it: head, host, origin, key, rate, body.

Each class is a pure ASGI middleware, so that streams pass unchanged and a client who leaves is
noticed. `guards` puts them in order.

- DNS rebinding: a page may not reach the server under a name of its own (`Host`)
- cross-site posts: a page of another site may not use the server (`Origin`)
- key guessing: keys are compared in constant time, and wrong ones count against their address
- large or slow bodies: the body is received whole, within limits, before the route is called
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from hashlib import sha256
from ipaddress import ip_address
from math import ceil
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ogpt.errors import (
    BodyRefused,
    BodyTimeout,
    HeadRefused,
    HostInvalid,
    HostRefused,
    KeyRefused,
    OriginRefused,
    RateExceeded,
    RequestRefused,
)
from ogpt.serving.access_log import AccessLog
from ogpt.serving.http_errors import error_response, route_path
from ogpt.serving.metrics import ServerMetrics
from ogpt.serving.server_settings import ServerSettings

MAX_HEAD_BYTES = 65536
"""Request line and headers together."""

OPEN_PATHS = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json"})
"""Need no key and have no rate: they are for browsers, and for what runs the server."""

OPEN_FOLDER = "/static/"
"""Likewise for reading all paths below."""

SHARED_FOLDER = "/share/"
"""Reading all paths below needs no key: whoever has a share link may read its document. It has a
rate, as each of them reads the database."""

LOGGER = logging.getLogger(__name__)

_WINDOW = 60.0  # seconds that a rate refers to


def guards(settings: ServerSettings, metrics: ServerMetrics) -> list[Middleware]:
    """All middlewares, the outermost first, for `FastAPI(middleware=...)`."""
    origins = settings.allowed_origins
    cors = Middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=("GET", "POST", "PUT", "DELETE"),
        allow_headers=("Authorization", "Edit-Key", "If-Match", "If-None-Match"),
        expose_headers=("ETag",),
    )
    keys = [settings.api_key] if settings.api_key else []
    return [
        Middleware(AccessLog, metrics),
        Middleware(HeadGuard),
        Middleware(HeadMethod),
        Middleware(HostGuard, (*settings.allowed_hosts, settings.host), origins),
        *([cors] if origins else []),
        Middleware(CallerGuard, keys, settings.requests_per_minute),
        Middleware(
            BodyGuard,
            settings.max_body_bytes,
            settings.receive_timeout,
            settings.log_prompts,
            settings.max_document_bytes,
        ),
    ]


class Guard(ABC):
    """Base of the middlewares that refuse a request by its head."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        error = self.refusal(scope) if scope["type"] == "http" else None
        if error is None:
            await self.app(scope, receive, send)
        else:
            await _refuse(error, scope, receive, send)

    @abstractmethod
    def refusal(self, scope: Scope) -> RequestRefused | None:
        """Why this request is refused; None: it is not."""


async def _refuse(error: RequestRefused, scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(error)
    response.headers["Connection"] = "close"  # what the client still sends is not read
    if isinstance(error, KeyRefused):
        response.headers["WWW-Authenticate"] = "Bearer"
    await response(scope, receive, send)


class HeadMethod:
    """Answers HEAD as GET; the server leaves the body out (RFC 9110, section 9.3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            inner = {**scope, "method": "GET"}
            await self.app(inner, receive, send)
            scope["route"] = inner.get("route")  # for the access log
        else:
            await self.app(scope, receive, send)


class HeadGuard(Guard):
    """Refuses long request heads; one that never ends is refused in `connection`."""

    def refusal(self, scope: Scope) -> RequestRefused | None:
        """See Guard."""
        size = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        size += sum(len(name) + len(value) for name, value in scope["headers"])
        if size <= MAX_HEAD_BYTES:
            return None
        return HeadRefused(
            f"the request line and headers have {size} bytes; allowed: {MAX_HEAD_BYTES}",
            hint="send fewer or shorter headers",
        )


class HostGuard(Guard):
    """Refuses hosts and origins that are not allowed.

    Allowed hosts are IP addresses, localhost, and the names that are passed: DNS rebinding needs
    a name. Allowed origins are that of the request itself, and those that are passed.

    Args:
        app: The application.
        allowed_hosts: Names of the server; "*" allows any host.
        allowed_origins: Such as "https://example.org"; "*" allows any origin.
    """

    def __init__(
        self,
        app: ASGIApp,
        allowed_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
    ) -> None:
        super().__init__(app)
        self._hosts = {"localhost", *map(str.lower, allowed_hosts)}
        self._origins = set(map(str.lower, allowed_origins))

    def refusal(self, scope: Scope) -> RequestRefused | None:
        """See Guard."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) > 1 or (not hosts and scope["http_version"] == "1.1"):
            return HostInvalid(
                f"the request has {len(hosts)} headers Host; allowed: 1", hint="send one of them"
            )
        if not all(map(self._allows_host, hosts)):
            return HostRefused(
                f"the host is {', '.join(hosts)!r}; allowed: IP addresses, "
                f"{', '.join(sorted(self._hosts))}",
                hint="start the server with --allow-host NAME to allow another",
            )
        if not all(self._allows_origin(origin, hosts) for origin in origins):
            return OriginRefused(
                f"the origin is {', '.join(origins)!r}; allowed: "
                f"{', '.join(['pages of this server', *sorted(self._origins)])}",
                hint="start the server with --allow-origin URL to allow another",
            )
        return None

    def _allows_host(self, host: str) -> bool:
        name = _name_of(host)
        return "*" in self._hosts or name in self._hosts or _is_address(name)

    def _allows_origin(self, origin: str, hosts: list[str]) -> bool:
        scheme, _, host = origin.partition("://")
        same = scheme in ("http", "https") and [host] == hosts
        return same or not self._origins.isdisjoint({"*", origin.lower()})


def _name_of(host: str) -> str:
    """A host in lower case, without its port; empty if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # an error if it is no number
    except ValueError:
        return ""
    return parts.hostname or "" if parts.netloc == host and "@" not in host else ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


class CallerGuard(Guard):
    """Refuses requests without a key, and callers with too many requests.

    A caller is a key or, without keys, an address. Requests with a wrong key count against their
    address, so that they use up nobody's rate.

    Args:
        app: The application.
        api_keys: Any of them is accepted, as `Authorization: Bearer KEY`; none: no key is needed.
        requests_per_minute: Of each caller on average, and the most at once; 0: no limit.
        clock: In seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        api_keys: Iterable[str] = (),
        requests_per_minute: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(app)
        self._digests = [sha256(key.encode()).digest() for key in api_keys]
        self._rate = RequestRate(requests_per_minute, clock)

    def refusal(self, scope: Scope) -> RequestRefused | None:
        """See Guard."""
        path = route_path(scope)
        reads = scope["method"] in ("GET", "HEAD")
        if path in OPEN_PATHS or (reads and path.startswith(OPEN_FOLDER)):
            return None
        key = self._key(scope)
        address = (scope.get("client") or ("",))[0]
        if wait := self._rate.wait(address if key is None else f"key {key}"):
            error = RateExceeded(
                f"more than {self._rate.per_minute} requests in a minute",
                hint=f"send the request again in {wait} s",
            )
            error.retry_after = wait
            return error
        needs_key = self._digests and not (reads and path.startswith(SHARED_FOLDER))
        if needs_key and key is None:
            return KeyRefused(
                "the API key is missing or wrong", hint="send the header Authorization: Bearer KEY"
            )
        return None

    def _key(self, scope: Scope) -> int | None:
        """Number of the key that the request has."""
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        digest = sha256(key.strip().encode("latin-1")).digest()
        # of all keys and of whole digests, so that the time says nothing of a key
        equal = [hmac.compare_digest(digest, each) for each in self._digests]
        return equal.index(True) if any(equal) and scheme.lower() == "bearer" else None


class RequestRate:
    """How long callers must wait to keep a rate (the generic cell rate algorithm).

    Args:
        per_minute: Requests of one caller on average, and the most at once; 0: no limit.
        clock: In seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float]) -> None:
        self.per_minute = per_minute
        self._clock = clock
        self._due: dict[str, float] = {}  # when all that a caller has sent would be due
        self._most = 1000  # callers after which those that are not ahead are forgotten

    def __len__(self) -> int:
        """Callers that are remembered."""
        return len(self._due)

    def wait(self, caller: str) -> int:
        """Count a request of the caller and return 0; or the seconds to wait, uncounted."""
        if not self.per_minute:
            return 0
        now, period = self._clock(), _WINDOW / self.per_minute
        due = max(now, self._due.get(caller, now)) + period
        if due - now > _WINDOW:
            return max(1, ceil(due - now - _WINDOW))
        self._due[caller] = due
        if len(self._due) > self._most:
            self._due = {name: each for name, each in self._due.items() if each > now}
            self._most = max(1000, 2 * len(self._due))
        return 0


class BodyGuard:
    """Receives the whole body before the application runs; large and slow ones are refused.

    Args:
        app: The application.
        max_bytes: Of a body.
        seconds: Deadline for the body, from its head on.
        is_logged: Whether bodies below /v1/, and so prompts, are logged.
        document_bytes: Maximum of a document; None: `max_bytes`.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        seconds: float,
        is_logged: bool = False,
        document_bytes: int | None = None,
    ) -> None:
        self.app = app
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._is_logged = is_logged
        self._document_bytes = max_bytes if document_bytes is None else document_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = await self._body(scope, receive)
        if isinstance(body, RequestRefused):
            await _refuse(body, scope, receive, send)
        elif body is not None:
            # other bodies hold edit keys and documents
            if self._is_logged and body and route_path(scope).startswith("/v1/"):
                LOGGER.info("body %s", ascii(body.decode("utf-8", "replace")))
            messages: list[Message] = [
                {"type": "http.request", "body": bytes(body), "more_body": False}
            ]

            async def received() -> Message:
                return messages.pop() if messages else await receive()

            await self.app(scope, received, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytearray | RequestRefused | None:
        """The body, or why it is refused; None if the client has left."""
        is_document = route_path(scope).startswith("/documents")
        most = self._document_bytes if is_document else self._max_bytes
        declared = Headers(scope=scope).get("content-length", "")
        body, size = bytearray(), int(declared[:20]) if declared.isdecimal() else 0
        try:
            async with asyncio.timeout(self._seconds):
                more = True
                while more and size <= most:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    size = max(size, len(body))
                    more = message.get("more_body", False)
        except TimeoutError:
            return BodyTimeout(
                f"the body did not arrive in {self._seconds:g} s",
                hint="send it faster, or start the server with a higher --receive-timeout",
            )
        if size <= most:
            return body
        return BodyRefused(
            f"the body has more than {most} bytes",
            hint="send less, or start the server with a higher "
            f"--max-{'document' if is_document else 'body'}-bytes",
        )
