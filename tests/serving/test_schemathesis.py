"""schemathesis: requests made from the OpenAPI document, right and wrong ones, find no 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans

from tests.serving.running import running

EXAMPLES = 40
"""Requests to each operation."""


@pytest.fixture(scope="module")
def url(small_folder: Path) -> Iterator[str]:
    with running({"small": small_folder}, max_tokens=8, max_n=4, max_time=5.0) as found:
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
        @given(case=operation.as_strategy(), is_plain=booleans())
        def attack(case: schemathesis.Case, is_plain: bool) -> None:
            if is_plain and isinstance(case.body, dict):  # else hardly any request is answered
                case.body = {name: each for name, each in case.body.items() if name != "model"}
                case.body |= {name: "a b" for name in ("prompt", "input") if name in case.body}
            response = case.call()
            case.validate_response(response, checks=checks)
            asked.add((case.operation.label, response.status_code < 400))

        attack()
    answered = {label for label, is_good in asked if is_good}
    assert "POST /v1/completions" in answered
    assert len({label for label, _ in asked}) == len(list(schema.get_all_operations()))
