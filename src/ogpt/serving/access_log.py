"""One line for each request: who, what, status, seconds, bytes. No query, no header, no body."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ogpt.serving.metrics import ServerMetrics

LOGGER = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""Status in log and metrics of a request whose client left before the response, as in nginx."""

_LINE = "%(asctime)s %(levelname)s %(name)s %(message)s"
_TIME = "%Y-%m-%dT%H:%M:%S%z"


class AccessLog:
    """Logs and counts each request, and numbers its response (`X-Request-Id`).

    Args:
        app: The application.
        metrics: Counts the requests.
    """

    def __init__(self, app: ASGIApp, metrics: ServerMetrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; log it when it has ended."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begin, number = time.monotonic(), uuid4().hex
        status, size, is_whole = CLIENT_LEFT, 0, False

        async def sent(message: Message) -> None:
            nonlocal status, size, is_whole
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", number.encode())]
                message = {**message, "headers": headers}
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
                is_whole = not message.get("more_body", False)
            await send(message)

        try:
            await self.app(scope, receive, sent)
        except Exception:
            if status == CLIENT_LEFT:
                status = 500
            raise
        finally:
            seconds = time.monotonic() - begin
            route = getattr(scope.get("route"), "path", "")
            self._metrics.observe_response(scope["method"], route, status, seconds)
            LOGGER.info(
                '%s "%s %s" %d %.3f s %d bytes %s%s',
                (scope.get("client") or ("-",))[0],
                scope["method"],
                quote(scope["path"]),  # a line break would begin a line of the client's
                status,
                seconds,
                size,
                number,
                "" if is_whole else " incomplete",
            )


@contextmanager
def logging_to_stderr() -> Iterator[None]:
    """Show the lines of this package, and the warnings of uvicorn, in the block.

    Where the program has set up logging, nothing changes.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(_LINE, _TIME))
    levels = {} if logging.getLogger().hasHandlers() else {"ogpt": "INFO", "uvicorn": "WARNING"}
    loggers = {name: logging.getLogger(name) for name in levels}
    before = {name: logger.level for name, logger in loggers.items()}
    for name, logger in loggers.items():
        logger.addHandler(handler)
        logger.setLevel(levels[name])
    try:
        yield
    finally:
        for name, logger in loggers.items():
            logger.removeHandler(handler)
            logger.setLevel(before[name])
