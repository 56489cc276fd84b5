"""The API page: every operation and field of the OpenAPI document, without a script."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from base64 import b64encode
from hashlib import sha256
from typing import Annotated, Literal

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field

from ogpt.serving.api_page import api_page, router
from tests.serving.asgi import ask


class Inner(BaseModel):
    """A part of a request."""

    deep: Annotated[int, Field(ge=0, le=2**31)] = 1


class Asked(BaseModel):
    """A request with a field of each kind."""

    prompt: Annotated[str | list[int] | None, Field(description="Text\nor <ids>.")]
    count: Annotated[int, Field(ge=1, le=128)] = 16
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    mode: Literal["sum", "mean"] = "sum"
    bias: dict[str, float] = {}
    parts: Annotated[list[Inner], Field(max_length=4)] = []
    kind: Literal["only"] = "only"


class Answered(BaseModel):
    """A response."""

    text: str


def app() -> FastAPI:
    found = FastAPI(
        title="ogpt",
        version="1.2",
        description="A\nserver.\n\nTwo.",
        docs_url=None,
        responses={401: {"description": "No key."}, "4XX": {"description": "Another."}},
    )
    found.include_router(router)

    @found.post("/v1/complete/{model}")
    def complete(model: str, body: Asked, limit: int = 3) -> Answered:
        """Complete a text.

        Slowly.
        """
        return Answered(text=f"{model}{body}{limit}")

    @found.get("/health")
    def health() -> None: ...

    return found


def tree() -> ET.Element:
    page = api_page(app().openapi())
    return ET.fromstring(page[page.index("<body>") : page.index("</html>")])


def test_operations_and_fields_are_listed() -> None:
    page = tree()
    assert [one.text for one in page.iter("h1")] == ["ogpt 1.2"]
    assert [one.text for one in page.iter("h2")] == [
        "POST /v1/complete/{model}",
        "GET /health",
        "Inner",
        "Errors",
    ]
    texts = [one.text for one in page.iter("p")]
    assert texts == [
        "A server.",
        "Two.",
        "Complete a text.",
        "Slowly.",
        "Health",
        "A part of a request.",
    ]
    rows = ["|".join(cell.text or "" for cell in row) for row in page.iter("tr")]
    assert rows == [
        "parameter|type|default|",
        "model|string|required|",
        "limit|integer|3|",
        "field of the request|type|default|",
        "prompt|string or array of integer or null|required|Text or <ids>.",
        "count|integer (at least 1, at most 128)|16|",
        "share|number (more than 0, less than 1)|0.5|",
        'mode|"sum" or "mean"|"sum"|',
        "bias|object of number|{}|",
        "parts|array of Inner (items: at most 4)|[]|",
        'kind|"only"|"only"|',
        "field of the response|type|default|",
        "text|string|required|",
        "field|type|default|",
        "deep|integer (at least 0)|1|",
        "status|",
        "401|No key.",
        "4XX|Another.",
    ]


def test_each_operation_has_a_command() -> None:
    assert [one.text for one in tree().iter("pre")] == [
        "curl http://127.0.0.1:8000/v1/complete/MODEL \\\n"
        """  -H 'Content-Type: application/json' -d '{"prompt": "text"}'""",
        "curl http://127.0.0.1:8000/health",
    ]


def test_the_page_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = app()
    first = ask(asked, "/docs")
    monkeypatch.setattr(asked, "openapi", None)
    monkeypatch.setattr("ogpt.serving.api_page.style_policy", None)
    again = ask(asked, "/docs")
    assert (again.body, again.headers) == (first.body, first.headers)


def test_the_page_runs_no_script_and_loads_nothing() -> None:
    answer = ask(app(), "/docs")
    page = answer.body.decode()
    assert answer.status == 200
    assert not {one.tag for one in tree().iter()} & {"script", "link", "img", "iframe", "object"}
    names = {name for one in tree().iter() for name in one.keys()}  # noqa: SIM118  # attributes
    assert names <= {"class", "scope"}
    assert "<script" not in page
    style = page.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:;")
    assert answer.headers["x-content-type-options"] == "nosniff"
