"""POST /v1/completions, whole and streamed, as OpenAI's API has it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from ogpt.errors import DeadlineExceeded, OgptError
from ogpt.notices import tell
from ogpt.serving.completion_plan import CompletionPlan, plan_completion
from ogpt.serving.completion_request import CompletionRequest
from ogpt.serving.completion_response import Completion, CompletionChoice, json_of
from ogpt.serving.completion_text import CompletionText, joined
from ogpt.serving.http_errors import error_body, error_response
from ogpt.serving.prompt_scores import PromptScores, prompt_scores, scored_into
from ogpt.serving.request_scope import Scope, listen, unless_gone
from ogpt.serving.request_stream import Piece, RequestStream, WorkStream
from ogpt.serving.schemas import ERRORS, ApiWarning, Usage
from ogpt.serving.served_models import ServedModel
from ogpt.version import __version__

router = APIRouter()

UNBUFFERED = {"cache-control": "no-store", "x-accel-buffering": "no"}
"""Headers of a stream: nothing on its way holds it back."""

DONE = b"data: [DONE]\n\n"
LOGGER = logging.getLogger(__name__)


@router.post("/v1/completions", response_model=Completion, responses=ERRORS)
async def create_completion(request: Request, body: CompletionRequest, scope: Scope) -> Response:
    """Continue prompts, or score them; with `stream`, as server-sent events."""
    state = request.app.state
    served = await scope.enter_async_context(state.models.using(body.model))
    with listen(request, body) as warnings:
        plan = await asyncio.to_thread(plan_completion, body, served, state.settings)
        if not served.engine.abilities.bitwise:
            tell("not-reproducible", decoder=served.options.decoder)
        answer = _Answer.begin(body, plan, served, warnings, scope)
    if body.stream:
        return StreamingResponse(
            answer.events(), media_type="text/event-stream", headers=UNBUFFERED
        )
    whole = await unless_gone(request, answer.whole())
    return Response(json_of(whole), media_type="application/json")


@router.post("/v1/chat/completions", status_code=404, responses=ERRORS)
async def create_chat_completion() -> Response:
    """Refused: GPT-1 knows no chat."""
    message = (
        "this server has no chat, as GPT-1 was not trained on conversations (send the text to "
        "continue as prompt to /v1/completions)"
    )
    body = error_body(message, "invalid_request_error", None, "not_found")
    return Response(body, 404, media_type="application/json")


@dataclass(slots=True)
class _Answer:
    """An answer while it is computed."""

    body: CompletionRequest
    plan: CompletionPlan
    text: CompletionText
    scores: WorkStream[PromptScores] | None
    """Of prompts that no text reads."""
    scored: deque[PromptScores]
    """Of those that texts have read."""
    pieces: RequestStream | None
    common: dict[str, Any]
    """What the answer and all of its chunks have in common."""
    warnings: list[ApiWarning]
    frame: tuple[bytes, bytes] | None = None
    """What all events but the first have before and after their choices."""

    @classmethod
    def begin(
        cls,
        body: CompletionRequest,
        plan: CompletionPlan,
        served: ServedModel,
        warnings: list[ApiWarning],
        scope: AsyncExitStack,
    ) -> _Answer:
        """Submit the work to the engine; leaving the scope cancels it."""
        scores = pieces = scoring = None
        scored: deque[PromptScores] = deque()
        if plan.prompt_top is not None and plan.reads_once(served.config.n_positions):
            scoring = scored_into(scored, plan.prompt_top)
        elif plan.prompt_top is not None:
            work = prompt_scores([prompt.ids for prompt in plan.prompts], plan.prompt_top)
            scores = scope.enter_context(served.engine.run(work, body.max_time))
        if plan.request is not None:
            pieces = scope.enter_context(served.engine.submit(plan.request, scoring))
        common = {
            "id": f"cmpl-{uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": served.name,
            "system_fingerprint": f"ogpt-{__version__}",
        }
        text = CompletionText(body, plan, served.tokenizer)
        return cls(body, plan, text, scores, scored, pieces, common, warnings)

    async def whole(self) -> Completion:
        """The answer in one piece."""
        parts = [part async for part in self._of_prompts()]
        if self.pieces is None:
            parts += self.text.ends()
        else:
            generations = await self.pieces.gather()
            parts += self._read_prompts(range(len(self.plan.prompts)))
            parts += self.text.best(generations)
        choices = joined(parts)
        return Completion(
            **self.common, choices=choices, usage=self._usage(), warnings=self.warnings
        )

    async def events(self) -> AsyncIterator[bytes]:
        """The answer as server-sent events. An error is an event too: the status was sent."""
        try:
            async for part in self._of_prompts():
                yield self._event(json_of(part))
            if self.pieces is None:
                for part in self.text.ends():
                    yield self._event(json_of(part))
            else:
                while pieces := await self.pieces.arrived():
                    if chunk := b"".join(self._of_pieces(pieces)):  # all at once is one write
                        yield chunk
            options = self.body.stream_options
            if options is not None and options.include_usage:
                yield b"".join(self._frame(self._first(), usage=self._usage()))
        except Exception as error:  # whatever it is, the client learns of it
            if not isinstance(error, OgptError):
                LOGGER.exception("a stream ended with an error")
            yield b"data: " + bytes(error_response(error).body) + b"\n\n"
        yield DONE

    def _of_pieces(self, pieces: Iterable[Piece]) -> Iterator[bytes]:
        """The events of pieces."""
        for piece in pieces:
            if self.plan.prompt_top is not None:
                ended = [piece.number // self.plan.candidates] if piece.generation else []
                yield from map(self._event, map(json_of, self._read_prompts(ended)))
            if (part := self.text.piece(piece)) is not None:
                yield self._event(part)

    def _read_prompts(self, ended: Iterable[int]) -> Iterator[CompletionChoice]:
        """What log-probabilities add of prompts that texts have read.

        Args:
            ended: Numbers of prompts that are read no further.
        """
        while self.scored:
            yield from self.text.scores(self.scored.popleft())
        if self.plan.prompt_top is not None:
            yield from self.text.unscored(ended)

    async def _of_prompts(self) -> AsyncIterator[CompletionChoice]:
        """What the prompts add; of log-probabilities, at the deadline, as far as there are any."""
        for part in self.text.starts():
            yield part
        try:
            if self.scores is not None:
                async for scores in self.scores:
                    for part in self.text.scores(scores):
                        yield part
        except DeadlineExceeded:
            for part in self.text.unscored(range(len(self.plan.prompts))):
                yield part

    def _event(self, part: bytes) -> bytes:
        """The event of a part. Only the part differs between most events of an answer."""
        if self.frame is None:
            around, self.frame = self._frame(self._first()), self._frame({})
        elif self._counts:
            around = self._frame({})
        else:
            around = self.frame
        return around[0] + part + around[1]

    def _first(self) -> dict[str, Any]:
        """What only the first event of an answer has."""
        return {"warnings": self.warnings} if self.warnings and self.frame is None else {}

    @property
    def _counts(self) -> bool:
        """Whether each event has the usage so far."""
        options = self.body.stream_options
        return options is not None and options.continuous_usage_stats

    def _frame(self, first: dict[str, Any], **more: Any) -> tuple[bytes, bytes]:
        """What an event has before and after its choices."""
        options = self.body.stream_options
        if self._counts:
            more["usage"] = self._usage()
        elif options is not None and options.include_usage:
            more.setdefault("usage", None)  # OpenAI's, in all chunks but the last
        whole = json_of(Completion(**self.common, choices=[], **first, **more))
        head, name, tail = whole.partition(b'"choices":[')  # no string has quotes like these
        return b"data: " + head + name, tail + b"\n\n"

    def _usage(self) -> Usage:
        prompt_tokens = sum(len(prompt.ids) for prompt in self.plan.prompts)
        completion_tokens = self.text.completion_tokens
        return Usage(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=prompt_tokens + completion_tokens,
        )
