"""What a document holds: spans of text, each written by a human or by a model.

Fields that are not named here are kept as they are, so that a page can keep more with a document.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Literal, Self, TypeGuard

from pydantic import BaseModel, ConfigDict, Field

from ogpt.errors import RequestError

MAX_SPANS = 100_000

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


class Provenance(Origin, _Kept):
    """How a span was generated, so that it can be generated again."""

    prompt: str | Annotated[list[int], Field(fail_fast=True)] = Field(
        description="As it was sent to /v1/completions."
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


class OwnDocument(_Revised, DocumentContent):
    """A document as it is shown to those who have its edit key."""

    id: str
    tag: str
    """Hash of the content; with the revision it names this version (`ETag`)."""
    share_id: str | None
    """None: it has no share link."""


class NewDocument(OwnDocument):
    """A document that was just made."""

    edit_key: str
    """Needed for everything but reading by a share link. It is not shown again."""
