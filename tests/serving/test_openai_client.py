"""The real `openai` client: completions, streams, embeddings, models and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ogpt
from ogpt.folders.model_folder import ModelFolder
from tests.serving.running import running
from tests.workflows.finetuning import base_model

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.slow

PROMPT = "a good film"
GREEDY: dict[str, Any] = {"model": "small", "prompt": PROMPT, "temperature": 0, "max_tokens": 6}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("small"), n_positions=48)


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with running({"small": folder}, api_key="secret") as url:
        yield f"{url}/v1"


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Any]:
    with openai.OpenAI(base_url=url, api_key="secret", max_retries=0) as client:
        yield client


def test_a_completion(client: Any, folder: Path) -> None:
    found = client.completions.create(**GREEDY)
    [expected] = ogpt.generate(folder, PROMPT, do_sample=False, max_new_tokens=6, threads=1)
    assert (found.object, found.model) == ("text_completion", "small")
    assert found.id.startswith("cmpl-")
    [choice] = found.choices
    assert choice.text == expected.text
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "length", None)
    assert found.usage.prompt_tokens == expected.n_prompt_tokens
    assert found.usage.completion_tokens == 6
    assert found.usage.total_tokens == expected.n_prompt_tokens + 6
    assert found.warnings == []


def test_several_prompts_and_choices(client: Any, folder: Path) -> None:
    tokenizer = ModelFolder.open(folder).tokenizer
    texts = [PROMPT, "bad"]
    asked = {**GREEDY, "temperature": 1, "n": 2, "seed": 3}
    found = client.completions.create(**{**asked, "prompt": texts})
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    same = client.completions.create(**{**asked, "prompt": ids})
    assert [choice.text for choice in same.choices] == [choice.text for choice in found.choices]
    other = client.completions.create(**{**asked, "prompt": texts, "seed": 4})
    assert [choice.text for choice in other.choices] != [choice.text for choice in found.choices]


def test_a_stream(client: Any) -> None:
    whole = client.completions.create(**{**GREEDY, "n": 2, "temperature": 0.9, "seed": 1})
    chunks = list(
        client.completions.create(
            **{**GREEDY, "n": 2, "temperature": 0.9, "seed": 1},
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    texts = {0: "", 1: ""}
    reasons = {}
    for chunk in chunks[:-1]:
        assert chunk.id == chunks[0].id
        assert chunk.usage is None
        [choice] = chunk.choices
        texts[choice.index] += choice.text
        if choice.finish_reason is not None:
            reasons[choice.index] = choice.finish_reason
    assert [texts[0], texts[1]] == [choice.text for choice in whole.choices]
    assert reasons == {0: "length", 1: "length"}
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


def test_log_probabilities_of_an_echo(client: Any, folder: Path) -> None:
    asked = {"echo": True, "max_tokens": 0, "logprobs": 2}
    [choice] = client.completions.create(**{**GREEDY, **asked}).choices
    [expected] = ogpt.score(folder, PROMPT, threads=1)
    assert choice.text == PROMPT
    first, *rest = choice.logprobs.token_logprobs
    assert first is None
    np.testing.assert_allclose(rest, expected.log_probs, rtol=1e-6)
    assert choice.logprobs.tokens[1:] == expected.tokens
    assert choice.logprobs.text_offset[0] == 0
    assert choice.logprobs.top_logprobs[0] is None
    for token, log_prob, top in zip(
        choice.logprobs.tokens[1:], rest, choice.logprobs.top_logprobs[1:], strict=True
    ):
        assert len(top) in (2, 3)  # the two most probable, and the token itself
        assert top[token] == log_prob


def test_a_stop_string(client: Any) -> None:
    [whole] = client.completions.create(**{**GREEDY, "max_tokens": 12}).choices
    word = whole.text.split()[2]
    [cut] = client.completions.create(**{**GREEDY, "max_tokens": 12}, stop=[word]).choices
    assert cut.text == whole.text[: whole.text.index(word)]
    assert cut.finish_reason == "stop"


def test_fields_beyond_openai_and_unknown_ones(client: Any) -> None:
    extra = {"top_k": 1, "surface": "readable", "colour": "red"}
    found = client.completions.create(**{**GREEDY, "temperature": 1}, extra_body=extra)
    assert [one["code"] for one in found.warnings] == ["fields-ignored"]
    assert (
        found.choices[0].text
        == client.completions.create(**GREEDY, extra_body=extra).choices[0].text
    )


def test_embeddings(client: Any) -> None:
    """The client asks for base64 unless it is told otherwise."""
    texts = [PROMPT, "bad"]
    packed = client.embeddings.create(model="small", input=texts)
    plain = client.embeddings.create(model="small", input=texts, encoding_format="float")
    for one, other in zip(packed.data, plain.data, strict=True):
        np.testing.assert_allclose(one.embedding, other.embedding, rtol=1e-6)
        assert np.linalg.norm(one.embedding) == pytest.approx(1)
    assert packed.usage.prompt_tokens == plain.usage.prompt_tokens == 4


def test_models(client: Any) -> None:
    assert [model.id for model in client.models.list()] == ["small"]
    one = client.models.retrieve("small")
    assert (one.object, one.owned_by) == ("model", "ogpt")


def test_errors_are_the_clients_own(client: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="gone"):
        client.completions.create(model="gone", prompt=PROMPT)
    with pytest.raises(openai.NotFoundError, match="gone"):
        client.models.retrieve("gone")
    with pytest.raises(openai.BadRequestError, match="temperature") as caught:
        client.completions.create(**{**GREEDY, "temperature": -1})
    assert caught.value.param == "temperature"
    with pytest.raises(openai.BadRequestError, match="no tokens"):
        client.completions.create(**{**GREEDY, "prompt": ""})
    messages = [{"role": "user", "content": "hello"}]
    with pytest.raises(openai.APIStatusError, match="/v1/completions"):
        client.chat.completions.create(model="small", messages=messages)


def test_many_clients_at_the_same_time(url: str, client: Any) -> None:
    seeds = range(12)
    asked = {**GREEDY, "temperature": 1}
    alone = [client.completions.create(**asked, seed=seed).choices[0].text for seed in seeds]

    async def streamed() -> list[str]:
        async with openai.AsyncOpenAI(base_url=url, api_key="secret", max_retries=0) as many:

            async def text(seed: int) -> str:
                stream = await many.completions.create(**asked, seed=seed, stream=True)
                return "".join([chunk.choices[0].text async for chunk in stream])

            return await asyncio.gather(*map(text, seeds))

    assert asyncio.run(streamed()) == alone
    assert len(set(alone)) > 1


def test_a_guessed_key_is_refused(client: Any) -> None:
    with pytest.raises(openai.AuthenticationError, match="API key"):
        client.with_options(api_key="guessed").models.list()
