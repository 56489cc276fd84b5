"""GET /share/ID: a shared document as a page to read, which marks what a model wrote.

The page runs no script and loads no other file. Whatever a document holds is shown as text.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from hashlib import sha256
from html import escape
from importlib import resources
from string import Template
from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from ogpt.errors import UnknownDocument
from ogpt.serving.document_routes import Documents

router = APIRouter(include_in_schema=False)

SHOWN_SETTINGS = ("temperature", "top_p", "top_k", "best_of")
"""Of a request, beside model, hash and seed."""


@router.api_route("/share/{share_id}", methods=["GET", "HEAD"])
def share_page(share_id: str, store: Documents) -> HTMLResponse:
    """A shared document; 404 if the link was revoked."""
    try:
        document = store.shared(share_id)
    except UnknownDocument as error:
        return _answer("Not shared", escape(f"{str(error).capitalize()}."), "", 404)
    content = json.loads(document.content)
    spans = content["spans"]
    title = str(content["title"]).strip() or "Untitled"
    return _answer(title, "".join(map(_span, spans)), "".join(_footer(spans)))


def _answer(title: str, text: str, footer: str, status: int = 200) -> HTMLResponse:
    template, policy = _template()
    page = template.substitute(title=escape(title), text=text, footer=footer)
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",  # a revoked link is revoked everywhere
        "Referrer-Policy": "no-referrer",  # the address is the right to read
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }
    # half a surrogate pair, which UTF-8 does not have, is shown as a replacement character
    return HTMLResponse(page.encode(errors="xmlcharrefreplace"), status, headers)


@cache
def _template() -> tuple[Template, str]:
    """The page, and a content security policy that allows its style only."""
    page = resources.files("ogpt.serving").joinpath("share_page.html").read_text("utf-8")
    found = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = b64encode(sha256(found[1].encode() if found else b"").digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return Template(page), policy


def _span(span: Mapping[str, Any]) -> str:
    if span["by"] == "human":
        return escape(span["text"])
    return f'<mark title="{escape(_origin(span))}">{escape(span["text"])}</mark>'


def _origin(span: Mapping[str, Any]) -> str:
    """One line on how a machine span was generated."""
    provenance = span.get("provenance")
    if provenance is None:
        return "model unknown"
    settings = provenance.get("settings", {})
    named = [f"{name} {settings[name]}" for name in SHOWN_SETTINGS if name in settings]
    first = (f"model {provenance['model']}", f"hash {provenance['model_hash'][:12]}")
    return ", ".join([*first, *named, f"seed {provenance['seed']}"])


def _footer(spans: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How much of the text models wrote, and which."""
    words = {"human": 0, "machine": 0}
    for span in spans:
        words[span["by"]] += len(span["text"].split())
    if not words["machine"]:
        yield "<p>All words were written by a human.</p>"
        return
    share = words["machine"] / sum(words.values())
    yield f"<p>Underlined words were written by a model: {share:.0%} of all.</p>"
    origins = dict.fromkeys(
        f"{span['provenance']['model']}, hash {span['provenance']['model_hash']}"
        for span in spans
        if span["by"] == "machine" and span.get("provenance")
    )
    if origins:
        yield "<ul>" + "".join(f"<li>{escape(each)}</li>" for each in origins) + "</ul>"
