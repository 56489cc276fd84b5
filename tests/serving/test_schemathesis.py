"""schemathesis: requests made from the OpenAPI document, right and wrong ones, find no 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import sampled_from

from tests.serving.running import running

PLAIN = {
    "prompt": "a b",
    "input": "a b",
    "context": "a b",
    "choices": ["a", "b c"],
    "tokens": [1, 2],
    "model": "small",
}
"""Values that the model accepts, in place of random ones."""
EXAMPLES = 40
"""Requests to each operation."""


@pytest.fixture(scope="module")
def url(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    documents = str(tmp_path_factory.mktemp("documents") / "documents.sqlite3")
    limits = {"max_tokens": 16, "max_n": 4, "max_time": 5.0}
    with running({"small": small_folder}, documents=documents, **limits) as found:
        yield found


@pytest.mark.slow
def test_no_request_gets_5xx(url: str) -> None:
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
    )

    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    checks = [not_a_server_error, content_type_conformance, response_schema_conformance]
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(), most=sampled_from([0, 1, 2, 3, 1000]))
        def attack(case: schemathesis.Case, most: int) -> None:
            if most < 1000 and isinstance(case.body, dict):  # else few requests are answered
                others = [each for each in case.body.items() if each[0] not in PLAIN]
                others.sort(key=lambda each: not each[0].isidentifier())  # fields it knows
                plain = {name: PLAIN[name] for name in case.body if name in PLAIN}
                case.body = {**dict(others[:most]), **plain}
            response = case.call()
            case.validate_response(response, checks=checks)
            asked.add((case.operation.label, response.status_code < 400))

        attack()
    answered = {label for label, is_good in asked if is_good}
    for path in ("/v1/completions", "/v1/score", "/v1/embeddings", "/tokenize", "/detokenize"):
        assert f"POST {path}" in answered
    assert len({label for label, _ in asked}) == len(list(schema.get_all_operations()))
