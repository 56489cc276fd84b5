"""The PyTorch decoder behind the server: the answers of the native one, and a warning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving.calls import CLIENT, PATH, answer, chunks, joined, post
from tests.serving.running import Running, started, until

GREEDY: dict[str, Any] = {"prompt": "a bad cab", "temperature": 0, "max_tokens": 24}


@pytest.fixture(scope="module")
def of_torch(small_folder: Path) -> Iterator[Running]:
    """A server whose decoder is PyTorch's."""
    with started({"small": small_folder}, decoder="torch") as found:
        yield found


def test_texts_are_those_of_the_native_decoder(of_torch: Running, server: Running) -> None:
    for more in ({}, {"echo": True, "logprobs": 2}, {"use_beam_search": True, "best_of": 3}):
        expected = answer(server.url, **GREEDY, **more)
        found = answer(of_torch.url, **GREEDY, **more)
        assert (expected["warnings"], found["usage"]) == ([], expected["usage"])
        assert [each["code"] for each in found["warnings"]] == ["not-reproducible"]
        [one], [other] = found["choices"], expected["choices"]
        assert one["text"] == other["text"]
        if "logprobs" in more:
            ours, theirs = (each["logprobs"]["token_logprobs"][1:] for each in (one, other))
            assert ours == pytest.approx(theirs, abs=1e-4)
    assert (
        joined(chunks(of_torch.url, **GREEDY))[0]["text"]
        == answer(server.url, **GREEDY)["choices"][0]["text"]
    )


def test_many_at_once_and_one_that_leaves(of_torch: Running) -> None:
    body = {**GREEDY, "max_tokens": 4000, "stream": True}
    with CLIENT.stream("POST", f"{of_torch.url}{PATH}", json=body) as response:
        lines = response.iter_lines()
        assert next(lines).startswith("data: ")
        several = answer(of_torch.url, prompt=["a", "b bad"], n=3, seed=1, max_tokens=9)
        assert [each["index"] for each in several["choices"]] == list(range(6))
        assert {each["finish_reason"] for each in several["choices"]} == {"length"}
    until(lambda: of_torch.models.counters()["small"].running == 0)


def test_embeddings_are_those_of_the_native_decoder(of_torch: Running, server: Running) -> None:
    vectors = [
        post(url, "/v1/embeddings", input=["a bad cab", "b"]).json()["data"]
        for url in (of_torch.url, server.url)
    ]
    for one, other in zip(*vectors, strict=True):
        assert one["embedding"] == pytest.approx(other["embedding"], abs=1e-4)
