"""Fields of a request that hold text, checked and tokenized, and errors that name the field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Literal
from weakref import WeakKeyDictionary

from pydantic import Field

from ogpt.errors import ContextTooLong, RequestError, SamplingError, TokenizerError, TokenOutOfRange
from ogpt.generation.texts.request import (
    Prompt,
    ids_prompt,
    prompt_names,
    tell_unknown,
    text_prompt,
    truncated,
)
from ogpt.generation.texts.writer import TokenizerLike
from ogpt.serving.schemas import LIST, MAX_ID, Strings, TokenIds
from ogpt.serving.served_models import ServedModel
from ogpt.serving.server_settings import ServerSettings

NAMES = {
    "max_new_tokens": "max_tokens",
    "min_new_tokens": "min_tokens",
    "num_return_sequences": "n",
    "num_beams": "best_of",
    "top_logprobs": "logprobs",
    "sequence_bias": "logit_bias",
    "ban": "bad_words",
}
"""Fields of requests, by the settings that they become."""

MAX_TEXTS = 2048
"""Texts of a request that generates nothing; the limit of OpenAI's embeddings."""

Texts = str | Strings | TokenIds | Annotated[list[TokenIds], LIST]
"""A text, several, the token ids of one, or of several."""
LastTokens = Annotated[
    int | None,
    Field(
        ge=-1,
        le=MAX_ID,
        description="Use only this number of tokens at the end of each text; -1: the context "
        "length. By default a text beyond it is refused.",
    ),
]
"""`truncate_prompt_tokens` where texts are not continued."""


_LONGEST: WeakKeyDictionary[TokenizerLike, int] = WeakKeyDictionary()
"""Characters of the longest entry of a vocabulary."""


@contextmanager
def naming_fields(param: str | None = None) -> Iterator[None]:
    """Turn an error of a setting or text into one of the field that it comes from.

    Args:
        param: The field; None: the message names the setting.

    Raises:
        RequestError: in place of SamplingError, TokenizerError and TokenOutOfRange.
        ContextTooLong: as it was, with the names of fields.
    """
    try:
        yield
    except (SamplingError, TokenizerError, TokenOutOfRange) as error:
        message = _by_fields(str(error))
        named = param or message.partition(" ")[0]
        raise RequestError.of_field(message, hint=error.hint, param=named) from error
    except ContextTooLong as error:
        raise ContextTooLong(_by_fields(str(error)), hint=_by_fields(error.hint)) from error


def _by_fields(message: str) -> str:
    """A message with the names of fields in place of those of settings."""
    return re.sub(r"\w+", lambda word: NAMES.get(word[0], word[0]), message)


def at_most(name: str, value: int, most: int, hint: str) -> None:
    """Check a number against a limit of the server.

    Raises:
        RequestError: it is above the limit.
    """
    if value > most:
        raise RequestError.of_field(
            f"{name} is {value}; allowed: at most {most}", hint=hint, param=name
        )


def check_total(param: str, total: int, limits: ServerSettings, about: str = "") -> None:
    """Check the number of tokens of a request, which the message calls exact unless `about` is set.

    Raises:
        RequestError: it is above the limit of the server; the message names the field `param`.
    """
    if total > limits.max_prompt_tokens:
        raise RequestError.of_field(
            f"{param} has {about}{total} tokens; allowed: at most {limits.max_prompt_tokens}",
            hint="send less",
            param=param,
        )


def check_characters(
    param: str, texts: Sequence[str], tokenizer: TokenizerLike, limits: ServerSettings
) -> None:
    """Check the length of texts before they are tokenized, which takes seconds for megabytes.

    Raises:
        RequestError: they have too many tokens even if all are the longest of the vocabulary; the
            message names the field `param`.
    """
    longest = _LONGEST.get(tokenizer)
    if longest is None:
        longest = _LONGEST[tokenizer] = max(map(len, tokenizer.get_vocab()))
    most = limits.max_prompt_tokens * longest
    if sum(map(len, texts)) > most:
        count = sum(len(word) for text in texts for word in text.split())
        check_total(param, -(-count // longest), limits, "at least ")


def check_count(param: str, count: int, most: int) -> None:
    """Check the number of texts of a request, before they are tokenized.

    Raises:
        RequestError: it is above the limit; the message names the field `param`.
    """
    if count > most:
        raise RequestError.of_field(
            f"{param} has {count} texts; allowed: at most {most}",
            hint="divide them among several requests",
            param=param,
        )


def prompts_of(
    given: Texts,
    served: ServedModel,
    limits: ServerSettings,
    *,
    param: str = "prompt",
    most: int = MAX_TEXTS,
    truncate: int | None = None,
    side: Literal["left", "right"] = "left",
) -> list[Prompt]:
    """Tokenize the texts of a request, and truncate them if it asks for that.

    Args:
        given: The value of the field.
        served: The model.
        limits: Of the server.
        param: Name of the field.
        most: Number of texts that are allowed.
        truncate: Number of tokens to keep of each; -1: the context length; None: all.
        side: Where tokens are dropped.

    Raises:
        RequestError: no text or too many, one without tokens, ids outside the vocabulary, or too
            many tokens.
    """
    every: Sequence[str | list[int]] = _every(given)
    if not every:
        raise RequestError.of_field(
            f"{param} is an empty list; allowed: one text or more, or their token ids",
            hint="pass a text",
            param=param,
        )
    check_count(param, len(every), most)
    check_total(param, sum(len(one) for one in every if isinstance(one, list)), limits)
    tokenizer, config = served.tokenizer, served.config
    check_characters(param, [one for one in every if isinstance(one, str)], tokenizer, limits)
    with naming_fields(param):
        prompts = [
            text_prompt(tokenizer, one, name)
            if isinstance(one, str)
            else ids_prompt(tokenizer, one, config.vocab_size, name)
            for one, name in zip(every, prompt_names(len(every)), strict=True)
        ]
    if truncate == 0:
        raise RequestError.of_field(
            "truncate_prompt_tokens is 0; allowed: -1, or 1 or more",
            hint="pass the number of tokens to keep",
            param="truncate_prompt_tokens",
        )
    if truncate is not None:
        length = config.n_positions if truncate == -1 else truncate
        prompts = truncated(tokenizer, prompts, length, side)
    check_total(param, sum(len(one.ids) for one in prompts), limits)
    tell_unknown(tokenizer, [token_id for one in prompts if one.typed for token_id in one.ids])
    return prompts


def check_context(prompt: Prompt, n_positions: int) -> None:
    """Check that a text which is not continued fits the context.

    Raises:
        ContextTooLong: it does not.
    """
    count = len(prompt.ids)
    if count > n_positions:
        raise ContextTooLong(
            f"{prompt.name} has {count} tokens; the context length is {n_positions}",
            hint="pass truncate_prompt_tokens: -1 to use its last tokens",
        )


def _every(given: Texts) -> Sequence[str | list[int]]:
    """The texts, or token ids of texts, of a field that may hold one or several."""
    if isinstance(given, str):
        return [given]
    ids = [each for each in given if isinstance(each, int)]
    return [ids] if ids else [each for each in given if not isinstance(each, int)]
