"""Documents over HTTP: made, changed and deleted with an edit key, and read by share links.

The edit key is the header `Edit-Key`, and not a part of the path, which servers and proxies log. A
change names the revision that it changes (`If-Match`; "0": none, the document is new). If there is
a newer one, the answer is 409 and holds that one, so that nobody's words are lost.

A client may choose id and key of a new document, so that it can repeat a save whose answer was
lost. Readers are shown no prompts: they may hold words that were deleted.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from ogpt.errors import RequestError, RevisionConflict, UnknownDocument
from ogpt.serving.documents.document_content import (
    DocumentContent,
    NewDocument,
    OwnDocument,
    SavedDocument,
    ShownDocument,
)
from ogpt.serving.documents.document_store import DocumentStore, StoredDocument
from ogpt.serving.http_errors import error_response
from ogpt.serving.schemas import ERRORS

router = APIRouter()


async def _store(request: Request) -> DocumentStore:
    store: DocumentStore | None = request.app.state.documents
    if store is None:
        raise UnknownDocument(
            "this server keeps no documents", hint="start it without --no-documents"
        )
    return store


Documents = Annotated[DocumentStore, Depends(_store)]
EditKey = Annotated[str, Header(alias="Edit-Key", description="Of the document.")]
IfMatch = Annotated[
    str,
    Header(
        alias="If-Match",
        description='The ETag or revision that was changed, such as "3"; "0": none.',
    ),
]
IfNoneMatch = Annotated[
    str, Header(alias="If-None-Match", description="The ETag or revision that the client has.")
]

_NOT_CHANGED: dict[int | str, dict[str, Any]] = {304: {"description": "It has this revision."}}

# proxies may make a weak one of it
_REVISION = re.compile(r'(?:W/)?"?([0-9]{1,9})(?:-([0-9a-f]{1,64}))?"?', re.ASCII)


class KeptDocuments(BaseModel):
    """Whether the server keeps documents."""

    kept: bool


class EditKeyChange(BaseModel):
    """Another edit key for a document."""

    edit_key: str = Field(description="Random: 32 to 64 letters, digits, - and _.")


class ShareLink(BaseModel):
    """Where everybody can read a document."""

    share_id: str
    path: str
    """Of the page, from the root of the server's host."""


@router.get("/documents", responses=ERRORS)
async def documents(request: Request) -> KeptDocuments:
    """Whether this server keeps documents; their list is known to nobody but their owners."""
    return KeptDocuments(kept=request.app.state.documents is not None)


@router.post("/documents", status_code=201, response_model=NewDocument, responses=ERRORS)
def create_document(body: DocumentContent, store: Documents) -> Response:
    """Keep a new document."""
    document, edit_key = store.create(body.counted(None, 0).as_json())
    return _answer({**_own(document), "edit_key": edit_key}, document, 201)


@router.get(
    "/documents/{document_id}", response_model=OwnDocument, responses={**ERRORS, **_NOT_CHANGED}
)
def get_document(
    document_id: str, store: Documents, edit_key: EditKey = "", if_none_match: IfNoneMatch = ""
) -> Response:
    """Read a document."""
    document = store.get(document_id, edit_key)
    known = _REVISION.fullmatch(if_none_match.strip())
    same = (document.revision, document.tag)
    if known and (int(known[1]), known[2] or document.tag) == same:
        return Response(status_code=304, headers=_headers(document))
    return _answer(_own(document), document)


@router.put("/documents/{document_id}", response_model=SavedDocument, responses=ERRORS)
def save_document(
    document_id: str,
    body: DocumentContent,
    store: Documents,
    edit_key: EditKey = "",
    if_match: IfMatch = "",
) -> Response:
    """Change or make a document; 409, with the newer `document`, if it was changed meanwhile."""
    revision, tag = _version(if_match)
    if not body.is_counted(revision):
        before = store.get(document_id, edit_key).content if revision else None
        body = body.counted(before, revision)
    try:
        document = store.save(document_id, edit_key, revision, body.as_json(), tag)
    except RevisionConflict as error:
        now = cast("StoredDocument", error.current)
        refused: dict[str, Any] = json.loads(bytes(error_response(error).body))
        refused["document"] = _own(now)
        return _answer(refused, now, 409)
    return _answer(_saved(document), document)


@router.delete("/documents/{document_id}", status_code=204, responses=ERRORS)
def delete_document(document_id: str, store: Documents, edit_key: EditKey = "") -> None:
    """Delete a document and its share link, for ever."""
    store.delete(document_id, edit_key)


@router.put("/documents/{document_id}/edit-key", status_code=204, responses=ERRORS)
def change_edit_key(
    document_id: str, body: EditKeyChange, store: Documents, edit_key: EditKey = ""
) -> None:
    """Make the edit key so far invalid, and another one valid."""
    store.change_edit_key(document_id, edit_key, body.edit_key)


@router.post("/documents/{document_id}/share", responses=ERRORS)
def share_document(
    request: Request, document_id: str, store: Documents, edit_key: EditKey = ""
) -> ShareLink:
    """Make a link by which everybody can read the document, or return the one there is."""
    share_id = store.share(document_id, edit_key)
    root: str = request.scope.get("root_path", "")
    return ShareLink(share_id=share_id, path=f"{root}/share/{share_id}")


@router.delete("/documents/{document_id}/share", status_code=204, responses=ERRORS)
def revoke_share(document_id: str, store: Documents, edit_key: EditKey = "") -> None:
    """Make the share link invalid."""
    store.revoke(document_id, edit_key)


@router.get("/share/{share_id}/document", response_model=ShownDocument, responses=ERRORS)
def get_shared_document(share_id: str, store: Documents) -> Response:
    """Read a document by its share link; no key is needed."""
    document = store.shared(share_id)
    shown = ShownDocument.model_validate(_own(document))
    return _answer(shown.model_dump(exclude_unset=True), document)


def _own(document: StoredDocument) -> dict[str, Any]:
    return {
        **json.loads(document.content),
        **_saved(document),
        "id": document.id,
        "share_id": document.share_id,
    }


def _saved(document: StoredDocument) -> dict[str, Any]:
    return {name: getattr(document, name) for name in SavedDocument.model_fields}


def _answer(fields: dict[str, Any], document: StoredDocument, status: int = 200) -> Response:
    return Response(json.dumps(fields), status, _headers(document), "application/json")


def _headers(document: StoredDocument) -> dict[str, str]:
    return {"etag": f'"{document.revision}-{document.tag}"', "cache-control": "no-store"}


def _version(if_match: str) -> tuple[int, str | None]:
    """The revision of an If-Match header, and the tag, if it has one."""
    found = _REVISION.fullmatch(if_match.strip())
    if found is None:
        raise RequestError.of_field(
            f"the header If-Match is {if_match[:40]!r}; allowed: the revision that was changed",
            hint='pass for example If-Match: "3"',
            param="If-Match",
        )
    return int(found[1]), found[2]
