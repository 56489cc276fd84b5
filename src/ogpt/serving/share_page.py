"""/share/ID: a shared document as a page to read, which marks what a model wrote.

A button verifies it: each machine span is generated again and compared. The page runs no script and
loads no other file. Whatever a document holds is shown as text.
"""

from __future__ import annotations

import asyncio
import json
import re
import unicodedata
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import cache
from html import escape
from importlib import resources
from itertools import accumulate
from string import Template
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from ogpt.errors import ContextTooLong, EngineError, RequestError, StrictNotice, UnknownDocument
from ogpt.serving.document_routes import Documents
from ogpt.serving.documents.document_content import whole_span
from ogpt.serving.documents.document_store import DocumentStore
from ogpt.serving.span_verification import VerifyRequest, verification
from ogpt.serving.style_policy import style_policy

router = APIRouter(include_in_schema=False)

SHOWN_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top-p",
    "top_k": "top-k",
    "typical_p": "typical-p",
    "penalty_alpha": "penalty alpha",
    "best_of": "beams",
    "no_repeat_ngram_size": "no-repeat n-gram size",
}
"""Of a request, beside model, hash and seed, with their names on the writing page."""

_WITHOUT_EFFECT = {"top_p": 1, "top_k": 0}

_MARKED = re.compile(r"(\S+(?:[^\S\n\t]\S+)*)")
"""As on the writing page: other spaces would be underlined beyond the words."""

_EXCERPT = 60
"""Characters of a passage in the footer."""


MAX_VERIFIED = 50
"""Spans that a click on the button generates again, the first ones of the document."""

_OUTCOMES = {
    "equal": (
        "verified",
        "verified: byte for byte what the model writes from its recorded prompt, settings and seed",
    ),
    "part": ("part", "found in part (dashed line): the model writes these words, and others too"),
    "different": (
        "differs",
        "different (wavy line): changed, or written by another decoder or processor",
    ),
    "other_model": ("unchecked", "not checked (dotted line): this server does not have the model"),
    "chosen": ("unchecked", "not checked (dotted line): picked from the model's alternatives"),
    "unknown": ("unchecked", "not checked (dotted line): no generation record"),
    "refused": ("unchecked", "not checked (dotted line): the record is not a valid request"),
    "failed": ("unchecked", "not checked (dotted line): the server could not; try again later"),
    "too_many": (
        "unchecked",
        f"not checked (dotted line): only the first {MAX_VERIFIED} with a record are",
    ),
}
"""Class of a passage and its name, for each result: those of a Verification, and four more."""

_ANY_MODEL = VerifyRequest.model_validate({})

_BUTTON = '<form method="post"><button>Verify: generate the underlined words again</button></form>'


@router.api_route("/share/{share_id}", methods=["GET", "HEAD"])
def share_page(request: Request, share_id: str, store: Documents) -> HTMLResponse:
    """A shared document; 404 if the link was revoked."""
    found = _shared(store, share_id)
    if isinstance(found, HTMLResponse):
        return found
    # a form cannot send a key
    has_key = request.app.state.settings.api_key is not None
    can_verify = not has_key and any(map(_is_verifiable, found["spans"]))
    return _page(found, {}, _BUTTON if can_verify else "")


@router.post("/share/{share_id}")
async def verified_share_page(request: Request, share_id: str, store: Documents) -> HTMLResponse:
    """The page, with the machine spans verified."""
    found = await asyncio.to_thread(_shared, store, share_id)
    if isinstance(found, HTMLResponse):
        return found
    spans = found["spans"]
    results = {index: "unknown" for index, span in enumerate(spans) if span["by"] == "machine"}
    wanted = [index for index in results if _is_verifiable(spans[index])]
    results.update(dict.fromkeys(wanted[MAX_VERIFIED:], "too_many"))
    for place, index in enumerate(wanted[:MAX_VERIFIED]):
        span = whole_span(found, index)
        try:
            # each span gives its model back: the next one may need the place
            async with AsyncExitStack() as scope:
                verified = await verification(request, span, _ANY_MODEL, scope)
            results[index] = verified.result
        except (RequestError, ContextTooLong, StrictNotice):
            results[index] = "refused"
        except EngineError:  # the next ones would wait for the same
            results.update(dict.fromkeys(wanted[place:MAX_VERIFIED], "failed"))
            break
    return await asyncio.to_thread(_page, found, results, _summary(results))


def _shared(store: DocumentStore, share_id: str) -> dict[str, Any] | HTMLResponse:
    """Title and spans of the document, or a page that says that there is none."""
    try:
        content: dict[str, Any] = json.loads(store.shared(share_id).content)
    except UnknownDocument as error:
        return _answer("Not shared", escape(f"{str(error).capitalize()}."), "", 404)
    return content


def _page(content: Mapping[str, Any], results: Mapping[int, str], more: str) -> HTMLResponse:
    spans = content["spans"]
    title = str(content["title"]).strip() or "Untitled"
    text = "".join(_span(span, results.get(index)) for index, span in enumerate(spans))
    return _answer(title, text, "".join(_footer(spans)) + more)


def _is_verifiable(span: Mapping[str, Any]) -> bool:
    return span["by"] == "machine" and span.get("provenance") is not None


def _answer(title: str, text: str, footer: str, status: int = 200) -> HTMLResponse:
    template, policy = _template()
    page = template.substitute(title=escape(title), text=text, footer=footer)
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",  # a revoked link is revoked everywhere
        # The address is the right to read: other sites never see it. With no-referrer, browsers
        # would send the form with the origin null, which the server refuses.
        "Referrer-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
    # half a surrogate pair, which UTF-8 does not have, is shown as a replacement character
    return HTMLResponse(page.encode(errors="xmlcharrefreplace"), status, headers)


@cache
def _template() -> tuple[Template, str]:
    """The page, and its content security policy."""
    page = resources.files("ogpt.serving").joinpath("share_page.html").read_text("utf-8")
    return Template(page), style_policy(page, has_form=True)


def _span(span: Mapping[str, Any], result: str | None) -> str:
    if span["by"] == "human":
        return escape(span["text"])
    kind, title = "", _origin(span)
    if result is not None:
        look, named = _OUTCOMES[result]
        kind, title = f' class="{look}"', f"{named}; {title}"
    start = f'<mark{kind} title="{escape(title)}">'
    parts = map(escape, _MARKED.split(span["text"]))
    return "".join(f"{start}{part}</mark>" if at % 2 else part for at, part in enumerate(parts))


def _summary(results: Mapping[int, str]) -> str:
    """How many passages were verified, and what was found of the others."""
    counts = Counter(results.values())
    lines = "".join(
        f"<li>{counts[result]} {named}</li>"
        for result, (_, named) in _OUTCOMES.items()
        if counts[result]
    )
    said = f"Generated again now: {counts['equal']} of {len(results)} underlined passages verified."
    return f'<div role="status"><p>{said}</p><ul>{lines}</ul></div>'


def _origin(span: Mapping[str, Any]) -> str:
    """One line on how a machine span was generated."""
    provenance = span.get("provenance")
    if provenance is None:
        return "model unknown"
    first = (f"model “{provenance['model']}”", f"hash {provenance['model_hash'][:12]}")
    settings = provenance.get("settings", {})
    if (rank := provenance.get("alternative")) is not None:
        return ", ".join([*first, f"alternative {rank}, picked by hand"])
    named = [
        f"{shown} {settings[name]}"
        for name, shown in SHOWN_SETTINGS.items()
        if name in settings and settings[name] != _WITHOUT_EFFECT.get(name)
    ]
    return ", ".join([*first, *named, f"seed {provenance['seed']}"])


def _footer(spans: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How much of the text models wrote, and which."""
    words = _words(spans)
    if not words["machine"]:
        yield "<p>All words were written by a human.</p>"
        return
    share = words["machine"] / sum(words.values())
    yield f"<p>Underlined words were written by a model: {share:.0%} of all.</p>"
    origins = dict.fromkeys(
        f"{span['provenance']['model']}, hash {span['provenance']['model_hash']}"
        for span in spans
        if _is_verifiable(span)
    )
    if origins:
        yield "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in origins) + "</ul>"
    yield "<details><summary>How each passage was generated</summary><ol>"
    for span in spans:
        if span["by"] == "machine":
            shown = escape(_excerpt(span["text"]))
            yield f'<li><q dir="auto">{shown}</q> {escape(_origin(span))}</li>'
    yield "</ol></details>"


def _words(spans: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """Words by who wrote their first letter, as the writing page counts them."""
    text = "".join(span["text"] for span in spans)
    starts = list(accumulate((len(span["text"]) for span in spans), initial=0))
    found: Counter[str] = Counter()
    end = 0
    for run in re.finditer(r"[^\W_]+", text):
        first = run.start()
        # a word has letters and digits, and between them signs such as in don't, and accents
        inside = all(
            sign in "'’-" or unicodedata.category(sign)[0] == "M" for sign in text[end:first]
        )
        if end == 0 or not inside:
            found[spans[bisect_right(starts, first) - 1]["by"]] += 1
        end = run.end()
    return found


def _excerpt(text: str) -> str:
    shown = text.strip()
    return shown if len(shown) <= _EXCERPT else f"{shown[:_EXCERPT]}…"
