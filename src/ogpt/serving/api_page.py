"""GET /docs: the API reference as one page, made from the OpenAPI document.

It runs no script and loads no other file, so it works offline and under a strict content security
policy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from ogpt.evaluation.page import Block, CodeBlock, Grid, Heading, Paragraph, as_html, framed
from ogpt.serving.style_policy import style_policy

Schema = Mapping[str, Any]

router = APIRouter()

SERVER = "http://127.0.0.1:8000"
"""Where the commands on the page find the server."""


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """The API reference. It is made once, as anybody may ask for it at any rate."""
    state = request.app.state
    if not hasattr(state, "api_page"):
        page = api_page(request.app.openapi())
        state.api_page = page, style_policy(page)
    page, policy = state.api_page
    headers = {"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff"}
    return HTMLResponse(page, headers=headers)


def api_page(document: Mapping[str, Any]) -> str:
    """An OpenAPI document as an HTML page.

    Args:
        document: As served at /openapi.json.
    """
    info, models = document["info"], document.get("components", {}).get("schemas", {})
    blocks: list[Block] = []
    errors: dict[str, str] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            blocks += _operation(method.upper(), path, operation, models)
            found = operation.get("responses", {}).items()
            errors |= {status: each["description"] for status, each in found if status >= "4"}
    blocks += _objects(models)
    if errors:
        blocks += [Heading("Errors"), Grid(["status", ""], sorted(errors.items()), 2)]
    header = as_html([Paragraph(text) for text in _paragraphs(info.get("description", ""))])
    return framed(f"{info['title']} {info['version']}", header, as_html(blocks))


def _operation(method: str, path: str, operation: Schema, models: Schema) -> Iterator[Block]:
    """A section of the page."""
    yield Heading(f"{method} {path}")
    text = operation.get("description") or operation.get("summary", "")
    yield from map(Paragraph, _paragraphs(text))
    if parameters := operation.get("parameters"):
        rows = [
            _row(each["name"], each["schema"], each.get("required", False), each, models)
            for each in parameters
        ]
        yield _grid("parameter", rows)
    body = _content(operation.get("requestBody", {}), models)
    if rows := _rows(body, models):
        yield _grid("field of the request", rows)
    answer = _content(operation.get("responses", {}).get("200", {}), models)
    if rows := _rows(answer, models):
        yield _grid("field of the response", rows)
    command = f"curl {SERVER}{re.sub('[{](.+?)[}]', lambda name: name[1].upper(), path)}"
    if method != "GET" and not body:
        command += f" -X {method}"
    if body:
        example = next(iter(body.get("examples", [])), None) or _example(body, models)
        command += f" \\\n  -H 'Content-Type: application/json' -d '{json.dumps(example)}'"
    yield CodeBlock(command)


def _objects(models: Schema) -> Iterator[Block]:
    """The objects that others have as fields."""
    inner = {
        _model_name(each)
        for schema in models.values()
        for field in schema.get("properties", {}).values()
        for each in _references(field)
    }
    for name in sorted(inner):
        if rows := _rows(models[name], models):
            yield Heading(name)
            yield from map(Paragraph, _paragraphs(models[name].get("description", "")))
            yield _grid("field", rows)


def _references(schema: Any) -> Iterator[Schema]:
    """The references to models anywhere in a schema."""
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield schema
        for each in schema.values():
            yield from _references(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _paragraphs(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def _grid(title: str, rows: list[list[str]]) -> Grid:
    header = [title, "type", "default", ""]
    return Grid(header, rows, numbers_from=len(header))


def _content(message: Schema, models: Schema) -> Schema:
    """The schema of the JSON of a request or response; empty if there is none."""
    found: Schema = message.get("content", {}).get("application/json", {}).get("schema", {})
    return _resolved(found, models)


def _resolved(schema: Schema, models: Schema) -> Schema:
    while "$ref" in schema:
        schema = models[_model_name(schema)]
    return schema


def _model_name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _rows(schema: Schema, models: Schema) -> list[list[str]]:
    """A row for each field of an object."""
    required = schema.get("required", ())
    return [
        _row(name, each, name in required, each, models)
        for name, each in schema.get("properties", {}).items()
    ]


def _row(name: str, schema: Schema, required: bool, texts: Schema, models: Schema) -> list[str]:
    default = "required" if required else ""
    if schema.get("default") is not None:
        default = json.dumps(schema["default"])
    return [name, _kind(schema, models), default, " ".join(texts.get("description", "").split())]


def _kind(schema: Schema, models: Schema) -> str:
    """The values that a schema allows, in words."""
    if "$ref" in schema:
        resolved = _resolved(schema, models)
        return _model_name(schema) if "properties" in resolved else _kind(resolved, models)
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(_kind(each, models) for each in several))
    if values := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return " or ".join(map(json.dumps, values))
    kind = str(schema.get("type", "any"))
    if kind == "array":
        kind += f" of {_kind(schema.get('items', {}), models)}"
    elif isinstance(schema.get("additionalProperties"), Mapping):
        kind += f" of {_kind(schema['additionalProperties'], models)}"
    limits = [
        f"{words} {schema[name]:,.10g}"
        for name, words in _LIMITS.items()
        if abs(schema.get(name, _FAR)) < _FAR
    ]
    return f"{kind} ({', '.join(limits)})" if limits else kind


_FAR = 2**31 - 1  # limits of the numbers themselves are not shown
_LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
    "minLength": "length at least",
    "maxLength": "length at most",
    "minItems": "items: at least",
    "maxItems": "items: at most",
}


def _example(schema: Schema, models: Schema) -> dict[str, Any]:
    """A request with the fields that are required."""
    values = {"string": "text", "integer": 1, "number": 1, "boolean": True, "array": []}
    found = {}
    for name in schema.get("required", ()):
        field = _resolved(schema["properties"][name], models)
        choices = field.get("anyOf", [field])
        found[name] = values.get(_resolved(choices[0], models).get("type", ""), {})
    return found
