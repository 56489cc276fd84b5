"""/v1/embeddings: one vector for each text, from the last hidden states of its tokens."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from fastapi import APIRouter, Request
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from ogpt.errors import DecoderError, RequestError
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.serving.prompt_fields import LastTokens, Texts, check_context, prompts_of
from ogpt.serving.request_scope import Scope, listen, unless_gone
from ogpt.serving.schemas import ERRORS, ApiRequest, ApiResponse, Usage
from ogpt.serving.served_models import ServedModel
from ogpt.serving.server_settings import ServerSettings

router = APIRouter(tags=["embeddings"], responses=ERRORS)

Pooling = Literal["mean", "last"]
Vector = NDArray[np.float32]
"""(C,)."""


class EmbeddingRequest(ApiRequest):
    """Texts to embed."""

    input: Texts = Field(description="A text, its token ids, or several of either.")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="Numbers, or little-endian float32 in base64."
    )
    dimensions: int | None = Field(
        None, description="Only the size of the model's hidden states is allowed."
    )
    pooling: Pooling = Field(
        "mean",
        description="The mean of the last hidden states, or the hidden state of the last token.",
    )
    normalize: bool = Field(True, description="Scale each vector to length 1.")
    truncate_prompt_tokens: LastTokens = None


class Embedding(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"] = "embedding"
    index: int = Field(description="Number of the text, from 0.")
    embedding: list[float] | str = Field(description="(C,), in the requested format.")


class EmbeddingResponse(ApiResponse):
    """Vectors of texts, in the order of the request."""

    object: Literal["list"] = "list"
    model: str
    data: list[Embedding]
    usage: Usage


@router.post("/v1/embeddings")
async def embeddings(body: EmbeddingRequest, request: Request, scope: Scope) -> EmbeddingResponse:
    """One vector for each text: the mean of its last hidden states, or the last of them."""
    with listen(request, body) as warnings:
        served = await scope.enter_async_context(request.app.state.models.using(body.model))
        rows = await asyncio.to_thread(_rows, served, body, request.app.state.settings)
        stream = scope.enter_context(
            served.engine.run(lambda decoder: pooled(decoder, rows, body.pooling))
        )
        found = await unless_gone(request, stream.gather())
    shown = [_shown(vector, body) for vector in found]
    return EmbeddingResponse(
        model=served.name,
        data=[Embedding(index=index, embedding=one) for index, one in enumerate(shown)],
        usage=Usage.of_prompt(sum(map(len, rows))),
        warnings=warnings,
    )


def pooled(decoder: Decoder, rows: Sequence[Sequence[int]], pooling: Pooling) -> Iterator[Vector]:
    """The vector (C,) of each row of token ids, one after the other.

    Args:
        decoder: Its first slot is used.
        rows: Of one token or more each; each fits the context.
        pooling: mean: of all last hidden states; last: the one of the last token.

    Raises:
        RequestError: the decoder has no hidden states.
        DecoderError: hidden states that are not finite.
    """
    if not decoder.abilities.hidden_states:
        raise RequestError.of_field(
            "the decoder of this model has no hidden states; allowed: one that has them",
            hint="start the server with --decoder native or torch",
            param="model",
        )
    for ids in rows:
        decoder.free(0)
        hidden = decoder.run([Part(0, ids, "none")], hidden=True).hidden
        assert hidden is not None
        [states] = hidden  # (T, C)
        found = states[-1] if pooling == "last" else states.mean(0, dtype=np.float64)
        if not np.isfinite(found).all():
            raise DecoderError(
                f"the hidden states of {len(ids)} tokens have a mean of {found.mean()}; allowed: "
                "finite numbers",
                hint="the weights hold NaN or infinite values: use another checkpoint",
            )
        yield found.astype(np.float32)


def _rows(served: ServedModel, body: EmbeddingRequest, limits: ServerSettings) -> list[list[int]]:
    """The token ids of each text.

    Raises:
        RequestError: a field that cannot be served.
        ContextTooLong: a text beyond the context length.
    """
    size, n_positions = served.config.n_embd, served.config.n_positions
    if body.dimensions not in (None, size):
        raise RequestError.of_field(
            f"dimensions is {body.dimensions}; allowed: {size}, the size of the hidden states",
            hint="omit it",
            param="dimensions",
        )
    prompts = prompts_of(
        body.input, served, limits, param="input", truncate=body.truncate_prompt_tokens
    )
    for prompt in prompts:
        check_context(prompt, n_positions)
    return [prompt.ids for prompt in prompts]


def _shown(vector: Vector, body: EmbeddingRequest) -> list[float] | str:
    """A vector as the request asks for it."""
    if body.normalize:
        smallest = float(np.finfo(np.float32).tiny)
        vector = vector / np.float32(max(smallest, float(np.linalg.norm(vector))))
    if body.encoding_format == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    found: list[float] = vector.tolist()
    return found
