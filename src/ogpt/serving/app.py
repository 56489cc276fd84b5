"""The application: all routes, and errors in one shape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from ogpt.serving import (
    api_page,
    autocomplete,
    classify,
    completions,
    document_routes,
    embeddings,
    scoring,
    server_status,
    share_page,
    span_verification,
    token_attention,
    tokenization,
    writing_page,
)
from ogpt.serving.documents.document_store import DocumentStore
from ogpt.serving.guard import guards
from ogpt.serving.http_errors import add_handlers
from ogpt.serving.metrics import ServerMetrics
from ogpt.serving.model_hashes import ModelHashes
from ogpt.serving.schemas import ERRORS
from ogpt.serving.served_models import ServedModels
from ogpt.serving.server_settings import ServerSettings
from ogpt.version import __version__

ROUTERS = (
    completions.router,
    scoring.router,
    classify.router,
    embeddings.router,
    token_attention.router,
    tokenization.router,
    autocomplete.router,
    document_routes.router,
    share_page.router,
    span_verification.router,
    server_status.router,
    api_page.router,
    writing_page.router,
)

DESCRIPTION = """
Models of OpenAI GPT over HTTP, in the shapes of OpenAI's API.

A server with an API key needs the header `Authorization: Bearer KEY` on all paths but those of the
writing page (/ and /static), /health, /ready, /docs, /openapi.json and, for reading, /share.
"""


def create_app(
    models: ServedModels, settings: ServerSettings, documents: DocumentStore | None = None
) -> FastAPI:
    """Make the application.

    When it is shut down, running requests have `drain_timeout` seconds; then the models are closed.

    Args:
        models: What it serves.
        settings: Limits and access.
        documents: Where documents are kept; None: nowhere.
    """
    metrics = ServerMetrics(models.counters)
    models.on_end = metrics.observe_request
    app = FastAPI(
        title="ogpt",
        description=DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        middleware=guards(settings, metrics),
    )
    app.state.models = models
    app.state.settings = settings
    app.state.documents = documents
    app.state.hashes = ModelHashes(models.folders)
    for router in ROUTERS:
        app.include_router(router)
    app.add_api_route(
        "/metrics", metrics.endpoint, response_class=PlainTextResponse, responses=ERRORS
    )
    add_handlers(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    await app.state.models.drain(app.state.settings.drain_timeout)
