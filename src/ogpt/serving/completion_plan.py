"""From the body of a completion request to what the engine is asked for, checked and tokenized."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ogpt.config.ranges import MAX_SEED
from ogpt.errors import RequestError
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.texts.request import Prompt, Request, request_of, with_end_tokens
from ogpt.notices import tell
from ogpt.serving.completion_request import DEFAULT_TOKENS, CompletionRequest
from ogpt.serving.prompt_fields import at_most, naming_fields, prompts_of
from ogpt.serving.served_models import ServedModel
from ogpt.serving.server_settings import ServerSettings

MOST_REPORTED = 1 << 17
"""Log-probabilities in one answer: it is written in a fraction of a second."""


@dataclass(frozen=True, slots=True)
class CompletionPlan:
    """A completion request that can be served."""

    prompts: list[Prompt]
    request: Request | None
    """What to generate; None: the prompts are only scored or returned."""
    n: int
    """Continuations of a prompt that are returned."""
    prompt_top: int | None
    """Number of top tokens to report at each position of the prompts; None: they are not scored."""

    @property
    def candidates(self) -> int:
        """Continuations of a prompt that are generated."""
        return 1 if self.request is None else self.request.settings.num_return_sequences

    def reads_once(self, n_positions: int) -> bool:
        """Whether texts can score the prompts that they read.

        Args:
            n_positions: Context length; beyond it prompts are scored with a sliding window.
        """
        longest = max(len(prompt.ids) for prompt in self.prompts)
        request = self.request
        return request is not None and not request.settings.penalty_alpha and longest <= n_positions


def plan_completion(
    body: CompletionRequest, served: ServedModel, limits: ServerSettings
) -> CompletionPlan:
    """Check a request against the model and the limits, and tokenize its prompts.

    Args:
        body: The request.
        served: The model.
        limits: Of the server.

    Raises:
        RequestError: a field, or two together, that cannot be served.
        ContextTooLong: with beams, prompt and continuation exceed the context length.
    """
    n = body.n or 1
    best_of = body.best_of or n
    _check_fields(body, n, best_of, limits)
    prompts = prompts_of(
        body.prompt,
        served,
        limits,
        most=limits.max_n,
        truncate=body.truncate_prompt_tokens,
        side=body.truncation_side or "left",
    )
    continuations = len(prompts) * best_of
    if continuations > limits.max_n:
        raise RequestError.of_field(
            f"the request asks for {continuations} continuations; allowed: at most {limits.max_n}",
            hint="lower n, best_of or the number of prompts",
            param="n",
        )
    if body.suffix:
        tell("setting-without-effect", setting="suffix", reason="the model only continues texts")
    wanted = [body.prompt_logprobs, body.logprobs if body.echo else None]
    scored = [top for top in wanted if top is not None]
    reported = n * sum(len(one.ids) for one in prompts) * sum(1 + top for top in scored)
    if body.logprobs is not None and not body.stream:  # a stream reports them one by one
        reported += n * len(prompts) * _max_tokens(body, limits) * (1 + body.logprobs)
    if reported > MOST_REPORTED:
        raise RequestError.of_field(
            f"logprobs are {reported} numbers; allowed: at most {MOST_REPORTED}",
            hint="lower n, logprobs, max_tokens or the number of prompt tokens; with stream, new "
            "tokens do not count",
            param="prompt_logprobs" if body.prompt_logprobs is not None else "logprobs",
        )
    request = None
    if body.max_tokens != 0:
        config = served.config
        settings = _settings(body, n, best_of, served, limits)
        if not body.ignore_eos:
            settings = with_end_tokens(settings, config)
        with naming_fields():
            size = (config.n_positions, config.vocab_size)
            request = request_of(served.tokenizer, *size, prompts, settings)
    return CompletionPlan(prompts, request, n, max(scored) if scored else None)


def _check_fields(body: CompletionRequest, n: int, best_of: int, limits: ServerSettings) -> None:
    """Check fields that limit each other."""
    beams = bool(body.use_beam_search)
    greedy = body.temperature == 0 or bool(body.penalty_alpha)
    scores_only = body.max_tokens == 0
    for wrong, param, message, hint in (
        (best_of < n, "best_of", f"is {best_of}; allowed: at least n ({n})", "raise best_of"),
        (
            greedy and best_of > 1 and not beams,
            "n",
            f"and best_of are {n} and {best_of}; allowed without sampling: 1, as all continuations "
            "are equal",
            "raise temperature, or pass use_beam_search",
        ),
        (
            best_of > n and body.stream and not beams,
            "best_of",
            f"is {best_of}; allowed with stream: n ({n}), as the best are known at the end",
            "omit best_of or stream",
        ),
        (
            beams and best_of < 2,
            "best_of",
            f"is {best_of}; allowed with use_beam_search: 2 or more beams",
            "pass the number of beams as best_of",
        ),
        (
            body.stream_options is not None and not body.stream,
            "stream_options",
            "is given; allowed: with stream only",
            "omit it, or pass stream: true",
        ),
        (
            scores_only and not body.echo and body.prompt_logprobs is None,
            "max_tokens",
            "is 0; allowed: 1 or more without echo and prompt_logprobs",
            "to score a prompt, pass echo: true and logprobs: 0",
        ),
        (
            scores_only and best_of > n,
            "best_of",
            f"is {best_of}; allowed with max_tokens 0: n ({n})",
            "omit best_of",
        ),
    ):
        if wrong:
            raise RequestError.of_field(f"{param} {message}", hint=hint, param=param)
    for name, count in (("n", n), ("best_of", best_of)):
        at_most(name, count, limits.max_n, "ask for fewer continuations")
    at_most("best_of", best_of if beams else 1, limits.slots, "use fewer beams")
    candidates = body.top_k or 0 if body.penalty_alpha else 0
    at_most("top_k", candidates, limits.slots, "use fewer candidates with penalty_alpha")
    at_most("max_tokens", body.max_tokens or 0, limits.max_tokens, "ask for fewer tokens")
    for name in ("logprobs", "prompt_logprobs"):
        at_most(name, getattr(body, name) or 0, limits.max_logprobs, "ask for fewer top tokens")


def _settings(
    body: CompletionRequest, n: int, best_of: int, served: ServedModel, limits: ServerSettings
) -> GenerationSettings:
    """The settings of a request; fields that are not given have the defaults of the settings."""
    vocab_size = served.config.vocab_size
    beams = bool(body.use_beam_search)
    greedy = beams or body.temperature == 0 or bool(body.penalty_alpha)
    values: dict[str, Any] = {
        "max_new_tokens": _max_tokens(body, limits),
        "min_new_tokens": body.min_tokens,
        "do_sample": not greedy,
        "num_return_sequences": n if beams else best_of,
        "num_beams": best_of if beams else None,
        "length_penalty": body.length_penalty,
        "penalty_alpha": body.penalty_alpha,
        "temperature": body.temperature or None,
        "top_p": body.top_p,
        "top_k": None if body.top_k is None else max(0, body.top_k),
        "min_p": body.min_p,
        "typical_p": body.typical_p,
        "seed": None if greedy else new_seed() if body.seed is None else body.seed & MAX_SEED,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "repetition_penalty": body.repetition_penalty,
        "no_repeat_ngram_size": body.no_repeat_ngram_size,
        "sequence_bias": _biases(body.logit_bias or {}, vocab_size),
        "ban": body.bad_words,
        "allowed_token_ids": _inside("allowed_token_ids", body.allowed_token_ids, vocab_size),
        "stop": body.stop,
        "eos_token_id": body.stop_token_ids,
        "top_logprobs": body.logprobs,
        "surface": body.surface,
        "max_time": body.max_time,
    }
    given = {name: value for name, value in values.items() if value is not None}
    with naming_fields():
        return GenerationSettings(**given)


def _max_tokens(body: CompletionRequest, limits: ServerSettings) -> int:
    """The most tokens of a continuation."""
    return min(DEFAULT_TOKENS, limits.max_tokens) if body.max_tokens is None else body.max_tokens


def new_seed() -> int:
    """A seed that nobody can predict."""
    return secrets.randbits(63)


def _inside(name: str, ids: list[int] | None, vocab_size: int) -> list[int] | None:
    if ids == []:
        raise RequestError.of_field(
            f"{name} is an empty list; allowed: one id or more",
            hint="omit it to allow all tokens",
            param=name,
        )
    if ids and max(ids) >= vocab_size:
        raise RequestError.of_field(
            f"{name} has the id {max(ids)}; allowed: 0 to {vocab_size - 1}",
            hint="use ids of this model's tokenizer",
            param=name,
        )
    return ids


def _biases(biases: Mapping[str, float], vocab_size: int) -> dict[tuple[int, ...], float]:
    """What to add to the logits, by the sequence of one token that it concerns."""
    found: dict[tuple[int, ...], float] = {}
    for key, bias in biases.items():
        if not (key.isascii() and key.isdecimal() and len(key) < 20):
            raise RequestError.of_field(
                f"logit_bias has the key {key[:40]!r}; allowed: token ids in decimal",
                hint='pass for example {"17": 2.0}',
                param="logit_bias",
            )
        found[(int(key),)] = bias
    _inside("logit_bias", [token_id for (token_id,) in found] or None, vocab_size)
    return found
