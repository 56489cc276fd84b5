"""/v1/attention: how the last token of a prompt attends to its tokens, by layer and head."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Literal, cast

import numpy as np
from fastapi import APIRouter, Request
from pydantic import Field

from ogpt.errors import DecoderError, RequestError
from ogpt.generation.protocol.decoder import AttentionDecoder, Attentions, Decoder, Part
from ogpt.serving.completion_plan import MOST_REPORTED
from ogpt.serving.prompt_fields import LastTokens, at_most, check_context, prompts_of
from ogpt.serving.request_scope import Scope, listen, unless_gone
from ogpt.serving.schemas import ERRORS, MAX_ID, ApiRequest, ApiResponse, TokenIds, Usage
from ogpt.serving.served_models import ServedModel
from ogpt.serving.server_settings import ServerSettings

router = APIRouter(tags=["attention"], responses=ERRORS)


class AttentionRequest(ApiRequest):
    """A prompt, whose last token attends."""

    prompt: str | TokenIds = Field(description="A text, or its token ids.")
    layer: int | None = Field(
        None, ge=0, le=MAX_ID, description="Return this layer only, from 0. Default: all."
    )
    truncate_prompt_tokens: LastTokens = None


class AttentionResponse(ApiResponse):
    """Attention probabilities of the last token."""

    object: Literal["attention"] = "attention"
    model: str
    tokens: list[str] = Field(description="Tokens of the prompt: entries of the vocabulary.")
    attentions: list[list[list[float]]] = Field(
        description="For each layer and head, the probability of each token; they sum to 1."
    )
    usage: Usage


@router.post("/v1/attention")
async def attention(body: AttentionRequest, request: Request, scope: Scope) -> AttentionResponse:
    """How the last token of a prompt attends to its tokens, in each layer and head."""
    with listen(request, body) as warnings:
        served = await scope.enter_async_context(request.app.state.models.using(body.model))
        ids = await asyncio.to_thread(_ids, served, body, request.app.state.settings)
        stream = scope.enter_context(served.engine.run(lambda decoder: attended(decoder, ids)))
        [layers] = await unless_gone(request, stream.gather())
    wanted = layers if body.layer is None else layers[body.layer : body.layer + 1]
    return AttentionResponse(
        model=served.name,
        tokens=served.tokenizer.convert_ids_to_tokens(ids),
        attentions=[layer.tolist() for layer in wanted],
        usage=Usage.of_prompt(len(ids)),
        warnings=warnings,
    )


def attended(decoder: Decoder, ids: Sequence[int]) -> Iterator[Attentions]:
    """The attention of the last token, one result.

    Args:
        decoder: An AttentionDecoder. Its first slot is used.
        ids: One token or more; they fit the context.

    Raises:
        DecoderError: probabilities that are not finite.
    """
    *before, last = ids
    decoder.free(0)
    if before:
        decoder.run([Part(0, before, "none")])
    layers = cast(AttentionDecoder, decoder).attend(0, last)
    total = sum(float(layer.sum(dtype=np.float64)) for layer in layers)
    if not np.isfinite(total):
        raise DecoderError(
            f"the attention probabilities of a token sum to {total}; allowed: finite numbers",
            hint="the weights hold NaN or infinite values: use another checkpoint",
        )
    yield layers


def _ids(served: ServedModel, body: AttentionRequest, limits: ServerSettings) -> list[int]:
    """The token ids of the prompt.

    Raises:
        RequestError: a field that cannot be served, or a decoder without attention.
        ContextTooLong: a prompt beyond the context length.
    """
    if not served.engine.abilities.attentions:
        raise RequestError.of_field(
            f"the decoder of {served.name!r} does not return attention; allowed: one that does",
            hint="start the server with --decoder torch on a CPU, without --deterministic",
            param="model",
        )
    config = served.config
    at_most("layer", body.layer or 0, config.n_layer - 1, "count the layers from 0")
    [prompt] = prompts_of(body.prompt, served, limits, truncate=body.truncate_prompt_tokens)
    check_context(prompt, config.n_positions)
    layers = config.n_layer if body.layer is None else 1
    count = layers * config.n_head * len(prompt.ids)
    if count > MOST_REPORTED:
        raise RequestError.of_field(
            f"the attention is {count} numbers; allowed: at most {MOST_REPORTED}",
            hint="pass layer or truncate_prompt_tokens",
            param="layer",
        )
    return prompt.ids
