"""/v1/score: log-probabilities of choices that follow a context, as `ogpt score --choices`."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ogpt.generation.protocol.likelihood import Choices, score_choices
from ogpt.generation.texts.text_scores import Score, encode_scored, fit_choices, score_of
from ogpt.serving.prompt_fields import (
    MAX_TEXTS,
    check_characters,
    check_count,
    check_total,
    naming_fields,
)
from ogpt.serving.request_scope import Scope, listen, unless_gone
from ogpt.serving.schemas import ERRORS, ApiRequest, ApiResponse, Strings, Usage
from ogpt.serving.served_models import ServedModel
from ogpt.serving.server_settings import ServerSettings

router = APIRouter(tags=["scores"], responses=ERRORS)


class ScoreRequest(ApiRequest):
    """A context and the choices that may follow it."""

    prompt: str = Field(description="The context, of one token or more.")
    choices: Strings = Field(
        min_length=1, description="Continuations of the context; each is tokenized by itself."
    )


class ScoredChoice(BaseModel):
    """Log-probability of a choice, in nats."""

    object: Literal["score"] = "score"
    index: int = Field(description="Number of the choice, from 0.")
    text: str = Field(description="The choice.")
    log_prob: float = Field(description="Sum over the tokens of the choice.")
    mean: float = Field(description="log_prob per token.")
    per_byte: float = Field(description="log_prob per UTF-8 byte of the choice.")
    tokens: list[str] = Field(description="Tokens of the choice.")
    log_probs: list[float] = Field(description="Log-probability of each token.")


class BestChoice(BaseModel):
    """Index of the most probable choice, by three measures; of equal ones, the first."""

    log_prob: int
    mean: int
    per_byte: int


class ScoreResponse(ApiResponse):
    """Scores of choices."""

    object: Literal["list"] = "list"
    model: str
    data: list[ScoredChoice] = Field(description="The choices, in the order of the request.")
    best: BestChoice
    usage: Usage


@router.post("/v1/score")
async def score(body: ScoreRequest, request: Request, scope: Scope) -> ScoreResponse:
    """Log-probabilities of choices that follow a context: sum, mean and per byte."""
    with listen(request, body) as warnings:
        served = await scope.enter_async_context(request.app.state.models.using(body.model))
        settings = request.app.state.settings
        context, endings = await asyncio.to_thread(_encoded, served, body, settings)
        stream = scope.enter_context(
            served.engine.run(lambda decoder: iter(score_choices(decoder, context, endings)))
        )
        found = await unless_gone(request, stream.gather())
    parts = zip(body.choices, endings, found, strict=True)
    scores = [score_of(served.tokenizer, text, ids, each.log_probs) for text, ids, each in parts]
    return ScoreResponse(
        model=served.name,
        data=[_shown(index, one) for index, one in enumerate(scores)],
        best=BestChoice(
            log_prob=_best([one.log_prob for one in scores]),
            mean=_best([one.mean for one in scores]),
            per_byte=_best([one.per_byte for one in scores]),
        ),
        usage=Usage.of_prompt(len(context) + sum(map(len, endings))),
        warnings=warnings,
    )


def _encoded(served: ServedModel, body: ScoreRequest, limits: ServerSettings) -> Choices:
    """The token ids of a request."""
    check_count("choices", len(body.choices), MAX_TEXTS)
    for param, texts in (("prompt", [body.prompt]), ("choices", body.choices)):
        check_characters(param, texts, served.tokenizer, limits)
    with naming_fields("prompt"):
        context = encode_scored(served.tokenizer, body.prompt, 1)
    with naming_fields("choices"):
        endings = [encode_scored(served.tokenizer, choice, 1) for choice in body.choices]
    check_total("choices", len(context) + sum(map(len, endings)), limits)
    with naming_fields("choices"):
        return fit_choices(context, endings, served.config.n_positions)


def _shown(index: int, one: Score) -> ScoredChoice:
    return ScoredChoice(
        index=index,
        text=one.text,
        log_prob=one.log_prob,
        mean=one.mean,
        per_byte=one.per_byte,
        tokens=one.tokens,
        log_probs=one.log_probs,
    )


def _best(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
