"""uvicorn, as this server runs it: quiet, and drained by SIGTERM."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from math import ceil
from types import FrameType

import uvicorn
from fastapi import FastAPI

from ogpt.errors import ConfigError
from ogpt.serving.connection import limited_protocol
from ogpt.serving.served_models import ServedModels
from ogpt.serving.server_settings import ServerSettings

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: more than the 60 of nginx, which must close first."""

ANSWER_TIME = 5
"""Seconds that answers have to be sent when the models are drained; then they are cut off."""


class HttpServer(uvicorn.Server):
    """Serves an application until `should_exit`; then running requests may finish.

    Args:
        app: From `create_app`.
        settings: Of the server.
        on_start: Called when it accepts connections.
    """

    def __init__(
        self, app: FastAPI, settings: ServerSettings, on_start: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=limited_protocol(settings.receive_timeout),
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies),
                root_path=settings.root_path,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=ceil(settings.drain_timeout) + ANSWER_TIME,
            )
        )
        self._on_start = on_start
        self._models: ServedModels = app.state.models
        self._drain_timeout = settings.drain_timeout

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain the models at once; what has not ended in time is answered with an error."""
        draining = asyncio.create_task(self._models.drain(self._drain_timeout))
        await super().shutdown(sockets)
        if self.force_exit:
            await asyncio.to_thread(self._models.close)
        await draining

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain at the first signal, and stop at once at the second.

        uvicorn would raise the signal again at the end: the process would not exit with 0.
        """
        self.force_exit = self.should_exit
        self.should_exit = True


def listen_on(settings: ServerSettings) -> socket.socket:
    """A socket at the address of the settings.

    Raises:
        ConfigError: the address is not of this machine, or in use.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror or error}",
            hint="pass another host or port (0 for any port that is free)",
        ) from error


def address_of(listening: socket.socket) -> str:
    """The URL of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
