"""A server on a port of this machine, in a thread of the test's process."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from ogpt.decoding.options import DecoderOptions
from ogpt.serving.app import create_app
from ogpt.serving.documents.document_store import DocumentStore
from ogpt.serving.http_server import HttpServer, address_of
from ogpt.serving.served_models import ServedModels
from ogpt.serving.server_settings import ServerSettings

PATIENCE = 20
"""Seconds until a test that waits has failed."""


class Running(NamedTuple):
    """A running server."""

    url: str
    models: ServedModels
    server: HttpServer
    thread: threading.Thread


def until(reached: Callable[[], Any]) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.005)


@contextmanager
def started(
    folders: Mapping[str, Path], decoder: str = "auto", **settings: Any
) -> Iterator[Running]:
    """Serve models with some settings."""
    checked = ServerSettings(**{"slots": 8, "drain_timeout": 5, "port": 0, **settings})
    models = ServedModels(
        folders,
        DecoderOptions(decoder=decoder, threads=1),
        slots=checked.slots,
        max_queued=checked.max_queued,
        max_time=checked.max_time,
        in_memory=checked.models_in_memory,
    )
    documents = DocumentStore.open(checked.documents) if checked.documents else None
    ready = threading.Event()
    with socket.create_server(("127.0.0.1", checked.port), backlog=2048) as listening:
        server = HttpServer(create_app(models, checked, documents), checked, ready.set)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            assert ready.wait(PATIENCE), "the server does not start"
            yield Running(address_of(listening), models, server, thread)
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            models.close()
            if documents is not None:
                documents.close()


@contextmanager
def running(folders: Mapping[str, Path], **settings: Any) -> Iterator[str]:
    """As `started`; yield the address, such as http://127.0.0.1:40001."""
    with started(folders, **settings) as found:
        yield found.url
