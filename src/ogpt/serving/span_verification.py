"""Verification of machine text: it is generated again from its provenance, and compared."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field, ValidationError

from ogpt.errors import RequestError
from ogpt.notices import tell
from ogpt.serving.completion_plan import plan_completion
from ogpt.serving.completion_request import CompletionRequest
from ogpt.serving.completion_text import CompletionText, joined
from ogpt.serving.document_routes import Documents, EditKey
from ogpt.serving.documents.document_content import (
    DocumentSpan,
    Provenance,
    whole_span,
)
from ogpt.serving.documents.document_store import StoredDocument
from ogpt.serving.request_scope import Scope, listen, unless_gone
from ogpt.serving.schemas import ERRORS, MAX_ID, ApiRequest, ApiResponse
from ogpt.serving.served_models import ServedModel

router = APIRouter()

_NOT_OF_THE_TEXT = {"stream", "stream_options", "max_time"}
"""Fields of a request that say when its text comes, and not what it is."""


class VerifyRequest(ApiRequest):
    """Which model generates again."""

    model: str | None = Field(
        None, description="Name of the model; none: one with the hash in the provenance."
    )


class VerifySpanRequest(VerifyRequest):
    """Which span of a document to generate again."""

    span: int = Field(ge=0, le=MAX_ID, description="Index of a span of the document.")


class VerifyTextRequest(VerifyRequest):
    """A span that is in no document of this server."""

    span: DocumentSpan


class Verification(ApiResponse):
    """Whether a span is what the model generates from its provenance."""

    result: Literal["equal", "part", "different", "other_model", "chosen"]
    """equal: byte for byte; part: the span is a part of the text, such as its first words;
    different: it is not, or the decoder or processor computes other bits; other_model: no model of
    this server has the hash in the provenance; chosen: a human picked it from the model's
    alternatives, and no request generates it. No text was generated for the last two."""
    text: str | None
    """What was generated; null by a share link, as it may hold words that were deleted."""
    model: str
    model_hash: str


@router.post("/v1/verify", responses=ERRORS)
async def verify_text(request: Request, body: VerifyTextRequest, scope: Scope) -> Verification:
    """Generate a span again, and compare."""
    return await verification(request, body.span, body, scope)


@router.post("/documents/{document_id}/verify", responses=ERRORS)
async def verify_span(
    request: Request,
    document_id: str,
    body: VerifySpanRequest,
    store: Documents,
    scope: Scope,
    edit_key: EditKey = "",
) -> Verification:
    """Generate a span of a document again, and compare."""
    document = await asyncio.to_thread(store.get, document_id, edit_key)
    span = await asyncio.to_thread(_span, document, body.span)
    return await verification(request, span, body, scope, f"span {body.span}")


@router.post("/share/{share_id}/verify", responses=ERRORS)
async def verify_shared_span(
    request: Request, share_id: str, body: VerifySpanRequest, store: Documents, scope: Scope
) -> Verification:
    """Generate a span of a shared document again, and compare."""
    document = await asyncio.to_thread(store.shared, share_id)
    span = await asyncio.to_thread(_span, document, body.span)
    found = await verification(request, span, body, scope, f"span {body.span}")
    return found.model_copy(update={"text": None})


async def verification(
    request: Request,
    span: DocumentSpan,
    body: VerifyRequest,
    scope: AsyncExitStack,
    named: str = "the span",
) -> Verification:
    """Generate a span again, and compare.

    Args:
        request: Of the client that waits for it.
        span: Of the document.
        body: Which model to use.
        scope: Holds the model until it is closed.
        named: The span, for errors.

    Raises:
        RequestError: no machine span, or one whose provenance generates nothing.
        UnknownModel: the name in `body` is of no model.
    """
    provenance = _provenance(span, named)
    with listen(request, body) as warnings:
        name, found = await _model(request, provenance, body.model)
        if found != provenance.model_hash:
            text, result = None, "other_model"
        elif provenance.alternative is not None:
            text, result = None, "chosen"
        else:
            served = await scope.enter_async_context(request.app.state.models.using(name))
            if not served.engine.abilities.bitwise:
                tell("not-reproducible", decoder=served.options.decoder)
            text = await _regenerated(request, provenance, served, scope)
            result = "equal" if text == span.text else "part" if span.text in text else "different"
    return Verification.model_validate(
        {
            "result": result,
            "text": text,
            "model": name,
            "model_hash": found,
            "warnings": warnings,
        }
    )


def _span(document: StoredDocument, index: int) -> DocumentSpan:
    """A span of a document."""
    content = json.loads(document.content)
    if index >= (count := len(content["spans"])):
        raise RequestError.of_field(
            f"span is {index}; allowed: below {count}, the number of spans",
            hint="read the document again: it may have been changed",
            param="span",
        )
    return whole_span(content, index)


def _provenance(span: DocumentSpan, named: str) -> Provenance:
    """How a span was generated."""
    if span.by == "human" or span.provenance is None:
        raise RequestError.of_field(
            f"{named} is {'human text' if span.by == 'human' else 'without provenance'}; "
            "allowed: a machine span with provenance",
            hint="choose another span",
            param="span",
        )
    return span.provenance


async def _model(request: Request, provenance: Provenance, asked: str | None) -> tuple[str, str]:
    """Name and hash of the model to use; if none has the right hash, of the first one."""
    models, hashes = request.app.state.models, request.app.state.hashes
    if asked is None:
        # the one of the same name first: reading the weights of all models takes time
        names = sorted(models.names, key=lambda name: name != provenance.model)
    else:
        names = [models.name_of(asked)]
    for name in names:
        if await hashes.of(name) == provenance.model_hash:
            return name, provenance.model_hash
    return names[0], await hashes.of(names[0])


async def _regenerated(
    request: Request, provenance: Provenance, served: ServedModel, scope: AsyncExitStack
) -> str:
    """The text of the choice that was accepted."""
    body = _completion_request(provenance)
    plan = await asyncio.to_thread(plan_completion, body, served, request.app.state.settings)
    if plan.request is None or provenance.index >= len(plan.prompts) * plan.n:
        raise RequestError.of_field(
            f"the provenance names the choice {provenance.index}, which its settings do not "
            "generate; allowed: a choice of the request",
            hint="the provenance is wrong: choose another span",
            param="span",
        )
    stream = scope.enter_context(served.engine.submit(plan.request))
    generations = await unless_gone(request, stream.gather())
    text = CompletionText(body, plan, served.tokenizer)
    return joined([*text.starts(), *text.best(generations)])[provenance.index].text


def _completion_request(provenance: Provenance) -> CompletionRequest:
    """The request that generated a span."""
    settings = {
        name: value for name, value in provenance.settings.items() if name not in _NOT_OF_THE_TEXT
    }
    fields = {**settings, "prompt": provenance.prompt, "seed": provenance.seed}
    try:
        return CompletionRequest.model_validate(fields)
    except ValidationError as error:
        wrong = error.errors()[0]
        place = ".".join(map(str, wrong["loc"]))
        raise RequestError.of_field(
            f"the provenance is no request: {place!r}: {wrong['msg']}",
            hint="it is wrong: choose another span",
            param="span",
        ) from error
