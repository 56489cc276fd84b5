"""Calls of the completions route, whole and streamed."""

from __future__ import annotations

import json
from typing import Any

import httpx2

PATH = "/v1/completions"
CLIENT = httpx2.Client(timeout=30, verify=False)  # loading certificates takes longer than a call


def post(url: str, path: str = PATH, **body: Any) -> httpx2.Response:
    # escaped, so that half a surrogate pair can be sent
    headers = {"content-type": "application/json"}
    return CLIENT.post(f"{url}{path}", content=json.dumps(body), headers=headers)


def answer(url: str, **body: Any) -> dict[str, Any]:
    """A completion, which must succeed."""
    response = post(url, **body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def refusal(url: str, status: int, **body: Any) -> dict[str, Any]:
    """The error of a completion, which must have this status."""
    response = post(url, **body)
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def chunks(url: str, **body: Any) -> list[dict[str, Any]]:
    """The events of a streamed completion, without the last one, [DONE]."""
    response = post(url, **body, stream=True)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-accel-buffering"] == "no"
    *events, done, end = response.text.split("\n\n")
    assert (done, end) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in events]


def joined(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Whole choices of the events of a stream, as a client would join them."""
    whole: dict[int, dict[str, Any]] = {}
    for event in events:
        for part in event["choices"]:
            choice = whole.setdefault(part["index"], {})
            for name, value in part.items():
                known = choice.get(name)
                if isinstance(value, str) and name == "text":
                    choice[name] = (known or "") + value
                elif isinstance(value, list):
                    choice[name] = (known or []) + value
                elif isinstance(value, dict):
                    choice[name] = {key: (known or {}).get(key, []) + value[key] for key in value}
                elif known is None:
                    choice[name] = value
    return [whole[index] for index in sorted(whole)]
