"""What requests and answers have in common, in the shapes of OpenAI's API."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from ogpt.config.described import descriptions
from ogpt.config.ranges import Number, Whole
from ogpt.generation.choosing.settings import GenerationSettings

MAX_ID = 2**31 - 1
"""Upper bound of whole numbers in a request: the native core uses 32-bit integers."""


MAX_ITEMS = 2**18
"""Items of a list: far more than a request can use, and few enough to be checked at once."""

LIST = Field(fail_fast=True, max_length=MAX_ITEMS)
TokenIds = Annotated[list[Annotated[int, Field(ge=0, le=MAX_ID)]], LIST]
Strings = Annotated[list[str], LIST]
"""The first wrong item ends the check of a list: a body of a million would make as many errors."""


def entries(most: int) -> BeforeValidator:
    """Refuse an object with more entries than `most` before any of them is checked."""

    def check(value: Any) -> Any:
        if isinstance(value, dict) and len(value) > most:
            raise PydanticCustomError(
                "too_long", "at most {most} entries are allowed", {"most": most}
            )
        return value

    return BeforeValidator(check)


class ApiRequest(BaseModel):
    """A request. Fields that it does not know are kept, and reported as warnings.

    Types are strict: "1" and true are no numbers.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow", strict=True, allow_inf_nan=False, frozen=True
    )

    model: str | None = Field(None, description='Name of the model; "default" or none: the first.')
    user: str | None = Field(None, description="Name of the end user; it has no effect.")

    @property
    def unknown(self) -> list[str]:
        """Names of fields that this request does not have."""
        return sorted(self.model_extra or ())


class ApiWarning(BaseModel):
    """A decision that the client did not ask for."""

    code: str
    """A key of `ogpt.notices.KINDS`."""
    message: str


class ApiResponse(BaseModel):
    """An answer; `warnings` says what was ignored or truncated."""

    warnings: list[ApiWarning] = []


class Usage(BaseModel):
    """Number of tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of_prompt(cls, tokens: int) -> Usage:
        """The usage of a request that generates nothing."""
        return cls(prompt_tokens=tokens, completion_tokens=0, total_tokens=tokens)


class ErrorDetail(BaseModel):
    """What was wrong, in OpenAI's shape."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorBody(BaseModel):
    """The body of every answer that is not 2xx."""

    error: ErrorDetail


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in (
        (400, "A field that cannot be served."),
        (401, "No API key, or a wrong one."),
        (403, "A page of another site."),
        (404, "There is no such model, document or path."),
        (408, "The time of the request was over."),
        (409, "The document was changed meanwhile."),
        (413, "The body is too large."),
        (415, "The body is not JSON."),
        (421, "A host name that is not allowed."),
        (429, "Too many requests; Retry-After says when to try again."),
        (431, "The request line and headers are too long."),
        (500, "The request failed in the server."),
        (503, "The server cannot accept requests now; send it again later."),
        (507, "The disk of the documents is full."),
    )
}
"""Answers of every route besides its own, for the OpenAPI page."""


def setting(name: str, default: Any = None) -> Any:
    """A field of a request that is a field of GenerationSettings: its help and its range.

    Args:
        name: In GenerationSettings.
        default: None: that of GenerationSettings.
    """
    found = descriptions(GenerationSettings)[name]
    limits: dict[str, float] = {}
    if isinstance(found.allowed, Whole):
        most = found.allowed.most
        limits = {"ge": found.allowed.least, "le": MAX_ID if most is None else most}
    elif isinstance(found.allowed, Number):
        limits = {"gt" if found.allowed.above else "ge": found.allowed.least}
        if found.allowed.most is not None:
            limits["lt" if found.allowed.below else "le"] = found.allowed.most
    return Field(default, description=found.help, **limits)  # type: ignore[call-overload]  # by name
