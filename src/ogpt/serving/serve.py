"""`ogpt serve`: models over HTTP, until the process is asked to stop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ogpt.config.described import check_names, whole_or_named
from ogpt.decoding.options import DecoderOptions
from ogpt.errors import ConfigError, EngineUnavailable
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import tell
from ogpt.reporting import Reporter, silent
from ogpt.serving.access_log import logging_to_stderr
from ogpt.serving.app import create_app
from ogpt.serving.documents.document_store import DocumentStore
from ogpt.serving.http_server import HttpServer, address_of, listen_on
from ogpt.serving.served_models import ServedModels
from ogpt.serving.server_settings import LOOPBACK, ServerSettings

_GARBAGE = 10_000
"""New objects after which Python looks for garbage: those of a few requests."""


def serve(
    model: str | Path | ModelFolder,
    *,
    models: Mapping[str, str | Path | ModelFolder] | None = None,
    settings: ServerSettings | None = None,
    options: DecoderOptions | None = None,
    on_start: Callable[[str], None] = lambda url: None,
    reporter: Reporter = silent,
    **named: Any,
) -> None:
    """Serve models over HTTP, in the shapes of OpenAI's API, until SIGTERM or Ctrl-C.

    Then it accepts no more requests, and those that run have `drain_timeout` seconds to finish.

    Args:
        model: The default model: a model folder, a run, or an id of the Hub.
        models: Further models by name. They are loaded when a request names them.
        settings: Address, access and limits.
        options: Which decoder runs the models, and how.
        on_start: Receives the URL of the server when it accepts connections.
        reporter: Receives a message that says where documents are kept.
        **named: Fields of ServerSettings and DecoderOptions, in place of those in `settings` and
            `options`.

    Raises:
        ConfigError: a setting outside its range, or an address that cannot be listened on.
        UnknownArgument: a name that is no setting and no option.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        StorageError, DamagedData: the documents cannot be opened.
        BackendMissing: the package of the decoder, or of PostgreSQL, is not installed.
    """
    check_names(serve, named, ServerSettings, DecoderOptions)
    settings = whole_or_named(ServerSettings, settings, named)
    options = whole_or_named(DecoderOptions, options, named)
    if settings.api_key is None and settings.host not in LOOPBACK:
        tell("open-without-key", host=settings.host)
    served = ServedModels(
        _by_name(model, models or {}),
        options,
        slots=settings.slots,
        max_queued=settings.max_queued,
        max_time=settings.max_time,
        in_memory=settings.models_in_memory,
    )
    with (
        closing(served),
        listen_on(settings) as listening,
        logging_to_stderr(),
    ):
        asyncio.run(_load_default(served))
        with _documents(settings, reporter) as documents:  # last: a failed start makes no file
            app = create_app(served, settings, documents)
            server = HttpServer(app, settings, lambda: on_start(address_of(listening)))
            with _short_collections():
                server.run([listening])


def name_of(model: str | Path | ModelFolder) -> str:
    """The name by which requests call a model: that of its folder, or its id on the Hub."""
    path = Path(model)
    return path.resolve().name if path.exists() else str(model)


def _by_name(
    model: str | Path | ModelFolder, more: Mapping[str, str | Path | ModelFolder]
) -> dict[str, str | Path | ModelFolder]:
    """All models, the default one first."""
    name = name_of(model)
    if name in more:
        raise ConfigError(
            f"two models are named {name!r}; allowed: different names",
            hint="give the second one another name",
        )
    return {name: model, **more}


def _documents(
    settings: ServerSettings, reporter: Reporter
) -> AbstractContextManager[DocumentStore | None]:
    """The documents, open for the block; None: none are kept."""
    if not settings.keep_documents:
        reporter("message", text="documents are not kept (--no-documents)")
        return nullcontext()
    store = DocumentStore.open(settings.documents)
    reporter("message", text=f"documents are kept in {store.place}")
    return closing(store)


@contextmanager
def _short_collections() -> Iterator[None]:
    """Leave what has been loaded out of garbage collections, which hold up all texts.

    One over all objects of a server takes as long as several steps of the decoder.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


async def _load_default(models: ServedModels) -> None:
    """Load the default model, so that its faults are found before the server starts."""
    try:
        async with models.using():
            pass
    except EngineUnavailable as error:
        raise error.__cause__ or error from None
