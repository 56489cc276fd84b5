"""The models of the server, and whether it can serve: for clients, and for what runs the server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse

from ogpt.serving.schemas import ERRORS
from ogpt.serving.served_models import ServedModels
from ogpt.version import __version__

router = APIRouter()


class ModelCard(BaseModel):
    """A model, in OpenAI's shape."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "ogpt"
    root: str
    parent: str | None = None
    max_model_len: int
    """Context length in tokens."""
    model_hash: str | None
    """Of configuration, tokenizer and weights; the list has those that were computed already."""
    state: str
    """unloaded, loading, ready, or why it does not serve."""


class ModelList(BaseModel):
    """All models of the server; the first one is the default."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class Version(BaseModel):
    """Version of the server."""

    version: str


class ServerHealth(BaseModel):
    """Whether the server works."""

    status: str
    models: dict[str, str]
    """State of each model."""


@router.get("/v1/models", responses=ERRORS)
async def list_models(request: Request) -> ModelList:
    """List the models; requests pass the `id` of one as `model`."""
    models: ServedModels = request.app.state.models
    return ModelList(data=[_card(request, name) for name in models.names])


@router.get("/v1/models/{name:path}", responses=ERRORS)
async def get_model(request: Request, name: str) -> ModelCard:
    """Describe one model, with its hash, which the first time reads all weights."""
    models: ServedModels = request.app.state.models
    found = models.name_of(name)
    await request.app.state.hashes.of(found)
    return _card(request, found)


@router.get("/health", response_model=ServerHealth, responses=ERRORS)
async def health(request: Request) -> JSONResponse:
    """Whether all engines work; 503 while one has failed and is being restarted."""
    states = request.app.state.models.states()
    dead = "dead" in states.values()
    return _status(503 if dead else 200, "dead" if dead else "ok", states)


@router.get("/ready", response_model=ServerHealth, responses=ERRORS)
async def ready(request: Request) -> JSONResponse:
    """Whether requests to the default model are accepted: for load balancers."""
    models: ServedModels = request.app.state.models
    states = models.states()
    state = states[models.default]
    return _status(200 if state == "ready" else 503, state, states)


@router.get("/version")
async def version() -> Version:
    """The version of ogpt."""
    return Version(version=__version__)


def _card(request: Request, name: str) -> ModelCard:
    models: ServedModels = request.app.state.models
    return ModelCard(
        id=name,
        created=models.created[name],
        root=name,
        max_model_len=models.folders[name].config.n_positions,
        state=models.states()[name],
        model_hash=request.app.state.hashes.known(name),
    )


def _status(code: int, status: str, states: Mapping[str, str]) -> JSONResponse:
    found = ServerHealth(status=status, models=dict(states))
    return JSONResponse(found.model_dump(), code, {"cache-control": "no-store"})
