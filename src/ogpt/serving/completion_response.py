"""The answer of POST /v1/completions, and the chunks of a stream, which have the same shape."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from ogpt.generation.searching.text import FinishReason
from ogpt.serving.schemas import ApiResponse, Usage


class CompletionLogprobs(BaseModel):
    """Log-probabilities of tokens under the model itself, whatever the settings."""

    tokens: list[str]
    """Vocabulary entries."""
    token_logprobs: list[float | None]
    """None for the first token of a text, which has no context."""
    top_logprobs: list[dict[str, float] | None]
    """The most probable tokens, and the token itself."""
    text_offset: list[int]
    """Where each token begins in the raw text."""


class TokenLogprob(BaseModel):
    """A candidate at one position of the prompt."""

    logprob: float
    rank: int | None
    """1 for the most probable token; None beyond the number of top tokens."""
    decoded_token: str


PromptLogprobs = list[dict[str, TokenLogprob] | None]
"""For each token of a prompt the candidates by token id; None for the first."""


class CompletionChoice(BaseModel):
    """A continuation, or what a chunk adds to it."""

    index: int
    """Those of the first prompt come first."""
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: int | str | None = None
    """The stop string or the id of stop_token_ids that ended it."""
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    prompt_logprobs: PromptLogprobs | None = None


class Completion(ApiResponse):
    """Continuations of the prompts."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None
    system_fingerprint: str


def json_of(answer: Completion | CompletionChoice) -> bytes:
    """The JSON of an answer, or of a part. Fields that were not asked for are left out."""
    return answer.model_dump_json(exclude_unset=True).encode()
