"""Bodies of a million wrong items: their errors are few, and others are answered meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from ogpt.serving.autocomplete import AutocompleteRequest
from ogpt.serving.classify import ClassifyRequest
from ogpt.serving.completion_request import CompletionRequest
from ogpt.serving.documents.document_content import DocumentContent
from ogpt.serving.embeddings import EmbeddingRequest
from ogpt.serving.scoring import ScoreRequest
from ogpt.serving.tokenization import DetokenizeRequest, TokenizeRequest
from tests.serving.calls import CLIENT, post
from tests.serving.running import Running

REQUESTS = (
    AutocompleteRequest,
    ClassifyRequest,
    CompletionRequest,
    DetokenizeRequest,
    DocumentContent,
    EmbeddingRequest,
    ScoreRequest,
    TokenizeRequest,
)
MANY = 3000
LISTS: list[Any] = [[item] * MANY for item in (True, -1, "a", 0.5, [], [True], {}, None)]
OBJECT = {str(number): [] for number in range(MANY)}


def count_of_errors(kind: type[BaseModel], fields: dict[str, Any]) -> int:
    try:
        kind.model_validate(fields)
    except ValidationError as error:
        return error.error_count()
    return 0


@pytest.mark.parametrize("kind", REQUESTS)
def test_many_wrong_items_are_few_errors(kind: type[BaseModel]) -> None:
    counts = [
        count_of_errors(kind, {name: value})
        for name in kind.model_fields
        for value in (*LISTS, OBJECT, [{"text": "", "provenance": {"prompt": LISTS[0]}}])
    ]
    assert 0 < max(counts) < 20


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": [True] * 300_000}),
        ("/v1/completions", {"prompt": [[]] * 300_000}),
        ("/v1/completions", {"prompt": [1] * 300_000}),
        ("/v1/completions", {"prompt": "a", "logit_bias": {str(n): "x" for n in range(100_000)}}),
        ("/v1/embeddings", {"input": [[True]] * 200_000}),
        ("/detokenize", {"tokens": [1] * 300_000}),
        ("/v1/score", {"prompt": "a", "choices": [1] * 300_000}),
    ],
)
def test_a_large_wrong_body_is_refused(server: Running, path: str, fields: dict[str, Any]) -> None:
    refused = post(server.url, path, **fields)
    assert refused.status_code == 400, refused.text
    assert len(refused.content) < 3000
    assert CLIENT.get(f"{server.url}/health").status_code == 200


def test_many_unknown_fields_are_named_in_part(server: Running) -> None:
    fields = {f"field{number:06}": 1 for number in range(1000)}
    response = post(server.url, "/tokenize", prompt="a", **fields, **{"x" * 5000: 1})
    [warning] = response.json()["warnings"]
    assert warning["message"].endswith(" and 981 more")
    assert json.loads(response.text)["count"] == 1
    assert len(warning["message"]) < 3000
