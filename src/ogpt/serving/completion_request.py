"""The body of POST /v1/completions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ogpt.config.ranges import MAX_SEED
from ogpt.serving.prompt_fields import Texts
from ogpt.serving.schemas import MAX_ID, ApiRequest, Strings, TokenIds, entries, setting

DEFAULT_TOKENS = 16
"""`max_tokens` of a request that does not say, as in OpenAI's API."""

MAX_STOPS = 64
"""Strings or ids of a request that end a text, and texts that are banned."""

MAX_BIASES = 1024
"""Entries of logit_bias: each costs time at every token, for all requests."""

Biases = Annotated[dict[str, Annotated[float, Field(ge=-100, le=100)]], entries(MAX_BIASES)]


class StreamOptions(BaseModel):
    """What a stream reports besides text."""

    model_config = ConfigDict(strict=True, extra="forbid")

    include_usage: bool = Field(False, description="End with a chunk that has the usage.")
    continuous_usage_stats: bool = Field(False, description="Report the usage in every chunk.")


class CompletionRequest(ApiRequest):
    """A prompt to continue, and how. null stands for the default of a field."""

    prompt: Texts = Field(description="A text, several, the token ids of one, or of several.")
    suffix: str | None = Field(None, description="Not supported: reported as a warning.")
    max_tokens: int | None = Field(
        None,
        ge=0,
        description="Maximum number of new tokens; 0 with echo only scores. Default: 16, or the "
        "limit of the server if that is lower.",
    )
    min_tokens: int | None = setting("min_new_tokens")
    n: int | None = Field(1, ge=1, description="Number of continuations per prompt.")
    best_of: int | None = Field(
        None,
        ge=1,
        description="Generate this number of continuations and return the n with the highest mean "
        "log-probability; with use_beam_search, the number of beams. Default: n.",
    )
    use_beam_search: bool | None = Field(False, description="Search with beams.")
    length_penalty: float | None = setting("length_penalty")
    penalty_alpha: float | None = setting("penalty_alpha")
    temperature: float | None = Field(
        1.0, ge=0, le=1e4, description="Sampling temperature; 0 always picks the top token."
    )
    top_p: float | None = setting("top_p")
    top_k: int | None = Field(
        0, ge=-1, le=MAX_ID, description="Sample from the k most probable tokens; 0 or -1: all."
    )
    min_p: float | None = setting("min_p")
    typical_p: float | None = setting("typical_p")
    seed: int | None = Field(
        None,
        ge=-(2**63),
        le=MAX_SEED,
        description="Random seed: the same request and seed give the same text. Default: random.",
    )
    presence_penalty: float | None = setting("presence_penalty")
    frequency_penalty: float | None = setting("frequency_penalty")
    repetition_penalty: float | None = Field(
        None, ge=1e-3, le=1e3, description="Penalize tokens already in the text; 1 disables."
    )
    no_repeat_ngram_size: int | None = setting("no_repeat_ngram_size")
    logit_bias: Biases | None = Field(
        None, description="Number to add to the logit of each token id."
    )
    bad_words: Strings | None = Field(
        None, max_length=MAX_STOPS, description="Texts that are never generated."
    )
    allowed_token_ids: TokenIds | None = setting("allowed_token_ids")
    stop: str | Annotated[Strings, Field(max_length=MAX_STOPS)] | None = Field(
        None, description="Text, or several, that ends a continuation, which does not include it."
    )
    stop_token_ids: TokenIds | None = Field(
        None, max_length=MAX_STOPS, description="Token ids that end a continuation."
    )
    ignore_eos: bool | None = Field(
        False, description="Continue after the end tokens of the model's configuration."
    )
    echo: bool | None = Field(False, description="Return the prompt before its continuation.")
    logprobs: int | None = Field(
        None,
        ge=0,
        le=MAX_ID,
        description="Report the log-probability of each token and this number of top tokens; with "
        "echo, of the prompt's tokens too.",
    )
    prompt_logprobs: int | None = Field(
        None,
        ge=0,
        le=MAX_ID,
        description="Report the log-probability of each prompt token and this number of top "
        "tokens, by token id.",
    )
    return_token_ids: bool | None = Field(
        False, description="Return the token ids of prompt and continuation."
    )
    return_tokens_as_token_ids: bool | None = Field(
        False, description="Name tokens in logprobs by id, as token_id:5."
    )
    stream: bool | None = Field(False, description="Send text as it is generated.")
    stream_options: Annotated[StreamOptions, entries(8)] | None = Field(
        None, description="Of a stream."
    )
    truncate_prompt_tokens: int | None = Field(
        None,
        ge=-1,
        le=MAX_ID,
        description="Use only this number of prompt tokens; -1: the context length.",
    )
    truncation_side: Literal["left", "right"] | None = Field(
        "left", description="Where prompt tokens are dropped."
    )
    surface: Literal["raw", "readable"] | None = setting("surface", "raw")
    max_time: float | None = setting("max_time")
