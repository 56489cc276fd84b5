"""/autocomplete/MODEL/SIZE: the wire protocol of the original Write With Transformer.

Source: huggingface.co/spaces/banana-projects/transformer-autocomplete: front/js-src/Api.ts has the
fields, backend/README.md the defaults. Clones of the page speak it.
"""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.texts import request as text_request
from ogpt.notices import tell
from ogpt.serving.completion_plan import new_seed
from ogpt.serving.prompt_fields import at_most, prompts_of
from ogpt.serving.request_scope import Scope, listen, unless_gone
from ogpt.serving.request_stream import RequestStream
from ogpt.serving.schemas import ERRORS, ApiRequest, ApiResponse, setting
from ogpt.serving.served_models import ServedModel
from ogpt.serving.server_settings import ServerSettings

router = APIRouter(tags=["autocomplete"], responses=ERRORS)

CONTEXT_TOKENS = 256
"""Number of tokens at the end of the context that are used, as many as in the original."""

SENTENCES = 3


class AutocompleteRequest(ApiRequest):
    """A text, and how to continue it."""

    context: str = Field(description="The text before the caret, of one token or more.")
    model_size: str | None = Field(None, description="Has no effect: the path names the model.")
    top_p: float = setting("top_p", 0.9)
    top_k: int = setting("top_k", 256)
    temperature: float = setting("temperature", 1.0)
    max_time: float | None = setting("max_time")
    length: int = setting("max_new_tokens", 100)
    n_samples: int = Field(SENTENCES, ge=1, le=SENTENCES, description="Number of sentences.")


class Sentence(BaseModel):
    """A continuation."""

    value: str = Field(description="The text, with the spaces and capitals of English.")
    time: float = Field(description="Seconds until it was complete.")


class AutocompleteResponse(ApiResponse):
    """Continuations of a text."""

    sentences: list[Sentence]
    time: float = Field(description="Seconds until all of them were complete.")


@router.post("/autocomplete/{model}/{size}")
async def autocomplete(
    model: str, size: str, body: AutocompleteRequest, request: Request, scope: Scope
) -> AutocompleteResponse:
    """Continuations of a text, three by default, which differ from call to call.

    The model is MODEL/SIZE if there is one of that name, or else MODEL.
    """
    start = time.monotonic()
    models = request.app.state.models
    named = f"{model}/{size}"
    with listen(request, body) as warnings:
        if body.model is not None:
            tell("setting-without-effect", setting="model", reason="the path names the model")
        served = await scope.enter_async_context(
            models.using(named if named in models.names else model)
        )
        asked = await asyncio.to_thread(_asked, served, body, request.app.state.settings)
        stream = scope.enter_context(served.engine.submit(asked))
        sentences = await unless_gone(request, _sentences(stream, start))
    return AutocompleteResponse(
        sentences=sentences, time=time.monotonic() - start, warnings=warnings
    )


def _asked(
    served: ServedModel, body: AutocompleteRequest, limits: ServerSettings
) -> text_request.Request:
    """What the engine is asked for."""
    length, n_samples = body.length, body.n_samples
    if "length" not in body.model_fields_set:
        length = min(length, limits.max_tokens)
    if "n_samples" not in body.model_fields_set:
        n_samples = min(n_samples, limits.max_n)
    at_most("length", length, limits.max_tokens, "ask for fewer tokens")
    at_most("n_samples", n_samples, limits.max_n, "ask for fewer sentences")
    prompts = prompts_of(body.context, served, limits, param="context", truncate=CONTEXT_TOKENS)
    settings = GenerationSettings(
        max_new_tokens=length,
        num_return_sequences=n_samples,
        top_p=body.top_p,
        top_k=body.top_k,
        temperature=body.temperature,
        max_time=body.max_time,
        seed=new_seed(),
        surface="readable",
    )
    config = served.config
    return text_request.request_of(
        served.tokenizer,
        config.n_positions,
        config.vocab_size,
        prompts,
        text_request.with_end_tokens(settings, config),
    )


async def _sentences(stream: RequestStream, start: float) -> list[Sentence]:
    """The continuations of a request in their order, each with the time when it ended."""
    found: dict[int, Sentence] = {}
    async for piece in stream:
        if piece.generation is not None:
            seconds = time.monotonic() - start
            found[piece.number] = Sentence(value=piece.generation.text, time=seconds)
    return [found[number] for number in sorted(found)]
