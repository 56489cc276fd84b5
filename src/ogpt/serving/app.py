"""The application: all routes, and errors in one shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from ogpt.serving import completions, server_status
from ogpt.serving.http_errors import add_handlers
from ogpt.serving.served_models import ServedModels
from ogpt.serving.server_settings import ServerSettings
from ogpt.version import __version__

ROUTERS = (completions.router, server_status.router)


def create_app(models: ServedModels, settings: ServerSettings) -> FastAPI:
    """Make the application.

    When it is shut down, running requests have `drain_timeout` seconds; then the models are closed.

    Args:
        models: What it serves.
        settings: Limits and access.
    """
    app = FastAPI(
        title="ogpt",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.models = models
    app.state.settings = settings
    for router in ROUTERS:
        app.include_router(router)
    add_handlers(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.models.drain(app.state.settings.drain_timeout)
