"""What a document holds: spans of text, each written by a human or by a model.

Fields that are not named here are kept as they are, so that a page can keep more with a document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, TypeGuard

from pydantic import BaseModel, ConfigDict, Field

from ogpt.errors import RequestError

MAX_SPANS = 100_000

MAX_PROMPT = 2**20
"""UTF-16 units of a prompt that is kept in parts: they may name one part many times."""

_OF_THE_STORE = ("id", "edit_key", "revision", "tag", "created", "updated", "share_id")
# a page may send a document back as it received it


_PROGRAMS = "programs"  # the writer in `seen` that stands for clients that do not count


class _Kept(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow", strict=True, allow_inf_nan=False, frozen=True
    )


class Origin(BaseModel):
    """How a span was generated, for readers: without the prompt, which may hold deleted words."""

    model: str = Field(description="Name of the model on the server.")
    model_hash: str = Field(description="From GET /v1/models/NAME.")
    seed: int = Field(description="As it was sent to /v1/completions.")
    settings: dict[str, Any] = Field({}, description="Other fields of that request.")
    index: int = Field(0, ge=0, description="Of the choice that was accepted.")
    alternative: int | None = Field(
        None,
        ge=1,
        description="Rank among the model's alternatives for a token, of which a human picked the "
        "text: no request generates it again, and the seed has no effect.",
    )
    created: float | None = Field(None, description="Unix time in seconds.")


class PromptParts(_Kept):
    """A prompt as parts of the document's `prompts`: prompts of neighbours overlap."""

    parts: list[Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]] = (
        Field(description="Start and length of each, in UTF-16 units.")
    )


class Provenance(Origin, _Kept):
    """How a span was generated, so that it can be generated again."""

    prompt: str | Annotated[list[int], Field(fail_fast=True)] | PromptParts = Field(
        description="As it was sent to /v1/completions; in a document, in parts too."
    )


class DocumentSpan(_Kept):
    """Text of one author."""

    text: str
    by: Literal["human", "machine"]
    provenance: Provenance | None = None


class DocumentContent(_Kept):
    """A document as the page sends it."""

    title: str = ""
    spans: Annotated[list[DocumentSpan], Field(fail_fast=True, max_length=MAX_SPANS)] = []
    prompts: str = Field("", description="The text that prompts of spans are parts of.")

    def is_counted(self, revision: int) -> bool:
        """Whether a page has counted this change of a revision in `seen`.

        `seen` has the number of saves of each writer that are part of the version. Pages count
        their own, and say in `changes` which revision they change; other clients may send both
        back as they received them.
        """
        fields = self.model_extra or {}
        return _is_version(fields.get("seen")) and fields.get("changes") == revision

    def counted(self, before: str | None, revision: int) -> Self:
        """The same with the change counted, for a client that does not count.

        Args:
            before: The content that is changed, as JSON; None: the document is new.
            revision: Of that content; 0: the document is new.
        """
        seen: dict[str, int] = {}
        for known in (json.loads(before or "{}").get("seen"), (self.model_extra or {}).get("seen")):
            if _is_version(known):
                seen |= {name: max(count, seen.get(name, 0)) for name, count in known.items()}
        seen[_PROGRAMS] = revision + 1
        return self.model_copy(update={"seen": seen, "changes": revision})

    def as_json(self) -> str:
        """The form in which it is kept: JSON in ASCII.

        Raises:
            RequestError: a value that JSON does not have (NaN), or deep nesting.
        """
        try:
            fields = {"title": "", "spans": [], **self.model_dump(exclude_unset=True)}
            kept = {name: value for name, value in fields.items() if name not in _OF_THE_STORE}
            return json.dumps(kept, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise RequestError.of_field(
                f"the document cannot be kept as JSON: {error}",
                hint="send finite numbers, and fields that are not deeply nested",
                param="spans",
            ) from error


def _is_version(seen: Any) -> TypeGuard[dict[str, int]]:
    return isinstance(seen, dict) and bool(seen) and all(type(n) is int for n in seen.values())


def whole_span(content: Mapping[str, Any], index: int) -> DocumentSpan:
    """A span of a kept document, with its whole prompt.

    Args:
        content: Of the document, from `as_json`.
        index: Of the span.

    Returns:
        The span; a prompt with a part that is not there stays in parts.
    """
    span = DocumentSpan.model_validate(content["spans"][index])
    provenance = span.provenance
    if provenance is None or not isinstance(provenance.prompt, PromptParts):
        return span
    units = content.get("prompts", "").encode("utf-16-le", "surrogatepass")
    parts = provenance.prompt.parts
    lengths = sum(length for _, length in parts)
    if lengths > MAX_PROMPT or any(2 * (start + length) > len(units) for start, length in parts):
        return span
    prompt = b"".join(units[2 * start : 2 * (start + length)] for start, length in parts)
    text = prompt.decode("utf-16-le", "surrogatepass")
    whole = provenance.model_copy(update={"prompt": text})
    return span.model_copy(update={"provenance": whole})


class _Revised(BaseModel):
    revision: int
    """1, and one more with each change."""
    created: int
    """Unix time in seconds."""
    updated: int


class ShownSpan(BaseModel):
    """Text of one author, for readers."""

    text: str
    by: Literal["human", "machine"]
    provenance: Origin | None = None


class ShownDocument(_Revised):
    """A document as it is shown to everybody who has its share link: the named fields alone."""

    title: str
    spans: list[ShownSpan]


class SavedDocument(_Revised):
    """The answer to a change."""

    tag: str
    """Hash of the content; with the revision it names this version (`ETag`)."""


class OwnDocument(SavedDocument, DocumentContent):
    """A document as it is shown to those who have its edit key."""

    id: str
    share_id: str | None
    """None: it has no share link."""


class NewDocument(OwnDocument):
    """A document that was just made."""

    edit_key: str
    """Needed for everything but reading by a share link. It is not shown again."""
