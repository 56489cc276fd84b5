"""Routes beside the completions: equal to the functions of ogpt that they serve."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

import ogpt
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.decoding.options import DecoderOptions
from ogpt.errors import DecoderError, RequestError
from ogpt.folders.model_folder import ModelFolder
from ogpt.serving import autocomplete, embeddings, task_head
from ogpt.serving.app import create_app
from ogpt.serving.served_models import ServedModels
from ogpt.serving.server_settings import ServerSettings
from tests.markov import StandInDecoder
from tests.serving.calls import CLIENT
from tests.serving.running import Running, until
from tests.tasks.task_folders import CLASSES, NUMBER, make
from tests.workflows import task_models
from tests.workflows.finetuning import base_model

TEXT = "a good film with a bad end"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    new = tmp_path_factory.mktemp
    return {
        "small": base_model(new("small"), n_positions=48),
        "classes": make(new("classes"), "bert", CLASSES),
        "number": make(new("number"), "bytes", NUMBER),
        **{name: task_models.make(name, new(name)) for name in ROWS},
    }


def serving(folders: dict[str, Path], **settings: Any) -> TestClient:
    models = ServedModels(folders, DecoderOptions(threads=1), slots=2, in_memory=len(folders))
    app = create_app(models, ServerSettings(**settings))
    return TestClient(app, base_url="http://localhost")


@pytest.fixture(scope="module")
def client(folders: dict[str, Path]) -> Iterator[TestClient]:
    with serving(folders) as client:
        yield client


@pytest.fixture(scope="module")
def strict(folders: dict[str, Path]) -> Iterator[TestClient]:
    with serving({"small": folders["small"]}, strict=True) as client:
        yield client


def answer(client: TestClient, path: str, **fields: Any) -> dict[str, Any]:
    response = client.post(path, json=fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def error(client: TestClient, path: str, **fields: Any) -> dict[str, Any]:
    """The error of a request that is refused because of a field of its own."""
    response = client.post(path, json=fields)
    assert response.status_code == 400, response.text
    found: dict[str, Any] = response.json()["error"]
    assert found["type"] == "invalid_request_error"
    return found


# ---- tokenizer


def test_tokenize_and_detokenize(client: TestClient, folders: dict[str, Path]) -> None:
    tokenizer = ModelFolder.open(folders["small"]).tokenizer
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    found = answer(client, "/tokenize", prompt=TEXT, return_token_strs=True)
    assert found == {
        "count": len(ids),
        "max_model_len": 48,
        "tokens": ids,
        "token_strs": tokenizer.convert_ids_to_tokens(ids),
        "warnings": [],
    }
    assert answer(client, "/tokenize", prompt="")["tokens"] == []
    assert answer(client, "/detokenize", tokens=ids)["prompt"] == TEXT
    assert answer(client, "/detokenize", tokens=[])["prompt"] == ""
    read = answer(client, "/detokenize", tokens=ids, surface="readable")["prompt"]
    assert read == "A good film with a bad end"


def test_special_tokens_are_added_on_request(client: TestClient, folders: dict[str, Path]) -> None:
    tokenizer = ModelFolder.open(folders["classes"]).tokenizer
    asked = {"model": "classes", "prompt": TEXT}
    plain = answer(client, "/tokenize", **asked)["tokens"]
    around = answer(client, "/tokenize", **asked, add_special_tokens=True)["tokens"]
    assert around == tokenizer.encode(TEXT)
    assert around[1:-1] == plain


def test_facts_of_a_tokenizer(client: TestClient) -> None:
    info = client.get("/tokenizer_info").json()
    assert (info["bos_token"], info["eos_token"], info["unk_token"]) == (None, None, "<unk>")
    assert (info["pre_tokenizer"], info["model_max_length"]) == ("bert", 48)
    of_bytes = client.get("/tokenizer_info", params={"model": "number"}).json()
    assert of_bytes["pre_tokenizer"] == "bytes"
    assert client.get("/tokenizer_info", params={"model": "gone"}).status_code == 404


def test_a_tokenizer_needs_no_open_model(folders: dict[str, Path]) -> None:
    with serving({name: folders[name] for name in ("small", "number")}) as client:
        for model in ("default", "number"):
            ids = answer(client, "/tokenize", model=model, prompt=TEXT)["tokens"]
            assert answer(client, "/detokenize", model=model, tokens=ids)["prompt"] == TEXT
            assert client.get("/tokenizer_info", params={"model": model}).status_code == 200
        states = client.app.state.models.states()  # type: ignore[attr-defined]  # of FastAPI
        assert states == {"small": "unloaded", "number": "unloaded"}


@pytest.mark.parametrize(
    ("path", "fields", "param", "message"),
    [
        ("/tokenize", {}, "prompt", "missing"),
        ("/tokenize", {"prompt": ["a", "b"]}, "prompt", "string"),
        ("/detokenize", {"tokens": [10**30]}, "tokens", "less than"),
        ("/detokenize", {"tokens": [1, -1]}, "tokens", "greater than or equal to 0"),
        ("/detokenize", {"tokens": [10**6]}, "tokens", "token id 1000000 at place 0; allowed: 0"),
        ("/detokenize", {"tokens": [1] * 16385}, "tokens", "allowed: at most 16384"),
        ("/detokenize", {"tokens": [True]}, "tokens", "integer"),
        ("/detokenize", {"tokens": [1], "surface": "loud"}, "surface", "raw"),
    ],
)
def test_wrong_fields_of_the_tokenizer(
    client: TestClient, path: str, fields: dict[str, Any], param: str | None, message: str
) -> None:
    found = error(client, path, **fields)
    assert message in found["message"]
    assert found["param"] == param


# ---- scores


def test_choices_are_scored_as_by_ogpt_score(client: TestClient, folders: dict[str, Path]) -> None:
    choices = ["good end", "bad", "story this is"]
    found = answer(client, "/v1/score", prompt="a film with a", choices=choices)
    expected = ogpt.score(folders["small"], "a film with a", choices=choices, threads=1)
    for index, (one, other) in enumerate(zip(found["data"], expected, strict=True)):
        assert one == {
            "object": "score",
            "index": index,
            "text": other.text,
            "log_prob": other.log_prob,
            "mean": other.mean,
            "per_byte": other.per_byte,
            "tokens": other.tokens,
            "log_probs": other.log_probs,
        }
    for norm, index in found["best"].items():
        assert index == int(np.argmax([getattr(one, norm) for one in expected]))
    assert set(found["best"]) == {"log_prob", "mean", "per_byte"}
    context = answer(client, "/tokenize", prompt="a film with a")["count"]
    count = context + sum(len(one.tokens) for one in expected)
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] == count
    # a fault: choices after another context
    other_context = answer(client, "/v1/score", prompt="a film with the", choices=choices)
    assert other_context["data"][0]["log_prob"] != expected[0].log_prob


def test_a_context_that_is_cut_is_a_warning(
    client: TestClient, strict: TestClient, folders: dict[str, Path]
) -> None:
    asked = {"prompt": "good " * 50, "choices": ["bad end"]}
    found = answer(client, "/v1/score", **asked)
    assert [one["code"] for one in found["warnings"]] == ["prefix-cut"]
    assert "the last 47 tokens before the choices" in found["warnings"][0]["message"]
    assert "the last 47 tokens" in error(strict, "/v1/score", **asked)["message"]


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"prompt": "a"}, "choices", "missing"),
        ({"prompt": "a", "choices": []}, "choices", "at least 1"),
        ({"prompt": "", "choices": ["a"]}, "prompt", "has 0 tokens; at least 1"),
        ({"prompt": "a", "choices": ["a", " "]}, "choices", "has 0 tokens; at least 1"),
        ({"prompt": "a", "choices": [7]}, "choices", "string"),
        ({"prompt": "a", "choices": ["a"] * 2049}, "choices", "2049 texts; allowed: at most 2048"),
        ({"prompt": "a " * 9000, "choices": ["a " * 8000]}, "choices", "allowed: at most 16384"),
    ],
)
def test_wrong_fields_of_a_score(
    client: TestClient, fields: dict[str, Any], param: str, message: str
) -> None:
    found = error(client, "/v1/score", **fields)
    assert message in found["message"]
    assert found["param"] == param


def test_a_choice_longer_than_the_context_is_refused(client: TestClient) -> None:
    found = error(client, "/v1/score", prompt="a", choices=["good " * 49])
    assert "49 tokens; the model has 48" in found["message"]
    assert found["code"] == "context_length_exceeded"


# ---- embeddings


@torch.no_grad()
def states_of(folder: Path, text: str) -> np.ndarray:
    """The last hidden states (T, C) of a text, by PyTorch."""
    ids = ModelFolder.open(folder).tokenizer.encode(text, add_special_tokens=False)
    model = ogpt.OpenAIGPTModel.from_pretrained(folder).eval()
    states: np.ndarray = model(torch.tensor([ids])).last_hidden_state[0].double().numpy()
    return states


def test_embeddings_are_means_of_hidden_states(
    client: TestClient, folders: dict[str, Path]
) -> None:
    texts = [TEXT, "bad"]
    found = answer(client, "/v1/embeddings", input=texts, normalize=False)
    assert [one["index"] for one in found["data"]] == [0, 1]
    count = sum(len(states_of(folders["small"], text)) for text in texts)
    used = {"prompt_tokens": count, "completion_tokens": 0, "total_tokens": count}
    assert found["usage"] == used
    for one, text in zip(found["data"], texts, strict=True):
        states = states_of(folders["small"], text)
        np.testing.assert_allclose(one["embedding"], states.mean(0), atol=1e-5)
    faulty = states_of(folders["small"], TEXT)[:-1].mean(0)  # without the last token
    assert np.abs(found["data"][0]["embedding"] - faulty).max() > 1e-3


def test_the_last_state_and_unit_length(client: TestClient, folders: dict[str, Path]) -> None:
    [one] = answer(client, "/v1/embeddings", input=TEXT, pooling="last")["data"]
    last = states_of(folders["small"], TEXT)[-1]
    np.testing.assert_allclose(one["embedding"], last / np.linalg.norm(last), atol=1e-5)


def test_forms_of_embeddings_are_equal(client: TestClient) -> None:
    ids = answer(client, "/tokenize", prompt=TEXT)["tokens"]
    [one] = answer(client, "/v1/embeddings", input=TEXT)["data"]
    for same in ([TEXT], ids, [ids]):
        assert answer(client, "/v1/embeddings", input=same)["data"] == [one]
    size = len(one["embedding"])
    asked = {"input": TEXT, "encoding_format": "base64", "dimensions": size}
    [packed] = answer(client, "/v1/embeddings", **asked)["data"]
    unpacked = np.frombuffer(base64.b64decode(packed["embedding"]), "<f4")
    np.testing.assert_array_equal(unpacked, np.array(one["embedding"], dtype=np.float32))


def test_a_long_text_is_cut_on_request_only(client: TestClient) -> None:
    text = "good " * 50
    found = error(client, "/v1/embeddings", input=text)
    assert "50 tokens" in found["message"]
    assert "truncate_prompt_tokens" in found["message"]
    assert found["code"] == "context_length_exceeded"
    for most, kept in ((-1, 48), (2, 2)):
        cut = answer(client, "/v1/embeddings", input=text, truncate_prompt_tokens=most)
        assert [one["code"] for one in cut["warnings"]] == ["text-truncated"]
        same = answer(client, "/v1/embeddings", input="good " * kept)
        assert cut["data"] == same["data"]


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"input": []}, "input", "an empty list; allowed: one text or more"),
        ({"input": [[]]}, "input", "no tokens"),
        ({"input": ["a", ""]}, "input", "prompt 2 '' has no tokens"),
        ({"input": [10**30]}, "input", "less than"),
        ({"input": [10**6]}, "input", "allowed: 0 to"),
        ({"input": [[1] * 9000] * 2}, "input", "allowed: at most 16384"),
        ({"input": "a", "dimensions": 5}, "dimensions", "allowed: 32"),
        ({"input": "a", "pooling": "max"}, "pooling", "mean"),
        ({"input": {"a": 1}}, "input", "string"),
        ({"input": ["a"] * 2049}, "input", "2049 texts; allowed: at most 2048"),
    ],
)
def test_wrong_fields_of_embeddings(
    client: TestClient, fields: dict[str, Any], param: str | None, message: str
) -> None:
    found = error(client, "/v1/embeddings", **fields)
    assert message in found["message"]
    assert found["param"] == param


def test_a_decoder_without_hidden_states_is_refused() -> None:
    decoder = StandInDecoder(lambda held: np.zeros(5), 5)
    with pytest.raises(RequestError, match="has no hidden states") as caught:
        next(embeddings.pooled(decoder, [[1]], "mean"))
    assert "--decoder native" in caught.value.hint


class NotANumber(StandInDecoder):
    """Hidden states that are NaN."""

    def _hidden(self, parts: Any) -> tuple[np.ndarray, ...]:
        return tuple(np.full((len(part.ids), 3), np.nan) for part in parts)


def test_hidden_states_that_are_not_numbers_are_refused() -> None:
    decoder = NotANumber(lambda held: np.zeros(5), 5)
    decoder.abilities = decoder.abilities._replace(hidden_states=True)
    with pytest.raises(DecoderError, match="2 tokens have a mean of nan"):
        next(embeddings.pooled(decoder, [[1, 2]], "last"))


# ---- labels


def test_labels_equal_those_of_ogpt_predict(client: TestClient, folders: dict[str, Path]) -> None:
    texts = ["a good film", "bad bad end"]
    rows: list[str | dict[str, str]] = [texts[0], {"text": texts[1]}]
    found = answer(client, "/v1/classify", model="classes", input=rows)
    expected = ogpt.predict(folders["classes"], texts, threads=1)
    for index, (one, other) in enumerate(zip(found["data"], expected, strict=True)):
        assert (one["index"], one["label"]) == (index, other.label)
        assert one["scores"] == pytest.approx(other.scores, abs=1e-5)
    assert found["usage"]["prompt_tokens"] == 3 + 2 + 3 + 2  # start and extract
    [alone] = answer(client, "/v1/classify", model="classes", input=texts[0])["data"]
    assert alone == found["data"][0]


def test_a_head_is_read_when_the_server_starts(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(task_head, "_head")
    assert answer(client, "/v1/classify", model="classes", input="a good film")["data"]


PAIR = {"premise": "a good film", "hypothesis": "bad end"}
ROWS: dict[str, list[dict[str, Any]]] = {
    "several": [{"text": "a good film"}, {"text": "bad"}],
    "pairs": [PAIR, {"premise": "bad end", "hypothesis": "a good film"}],
    "scores": [{"sentence1": "a good film", "sentence2": "bad end"}],
    "choices": [
        {"context": "a film", "question": "", "choices": ["good", "bad end", "a story"]},
        {"context": "bad", "question": "what", "choices": ["bad", "good"]},
    ],
}


@pytest.mark.parametrize("name", ROWS)
def test_every_family_is_that_of_ogpt_predict(
    client: TestClient, folders: dict[str, Path], name: str
) -> None:
    found = answer(client, "/v1/classify", model=name, input=ROWS[name])["data"]
    expected = ogpt.predict(folders[name], ROWS[name], threads=1)
    for one, other in zip(found, expected, strict=True):
        if name == "scores":
            assert (one["label"], one["scores"]) == (pytest.approx(other.label, abs=1e-4), None)
        else:
            assert one["label"] == other.label
            assert one["scores"] == pytest.approx(other.scores, abs=1e-5)


def test_the_order_of_a_pair_counts(client: TestClient, folders: dict[str, Path]) -> None:
    [one] = answer(client, "/v1/classify", model="number", input=PAIR)["data"]
    [expected] = ogpt.predict(folders["number"], [PAIR], threads=1)
    assert one["label"] == pytest.approx(expected.label, abs=1e-5)
    turned = {"premise": PAIR["hypothesis"], "hypothesis": PAIR["premise"]}
    [other] = ogpt.predict(folders["number"], [turned], threads=1)
    assert one["label"] != pytest.approx(other.label, abs=1e-4)


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        (
            {"input": "a"},
            "model",
            "'small' has no classification head; allowed: 'classes', 'number'",
        ),
        ({"model": "classes", "input": []}, "input", "1"),
        ({"model": "classes", "input": {"texts": "a"}}, "input", "no column 'text'"),
        ({"model": "classes", "input": [{"text": 7}]}, "input", "text of example 1 is 7"),
        ({"model": "number", "input": "a"}, "input", "no column 'hypothesis'"),
        ({"model": "classes", "input": 7}, "input", "string"),
        ({"model": "classes", "input": ["a " * 90] * 300}, "input", "allowed: at most 16384"),
        ({"model": "classes", "input": ["a"] * 2049}, "input", "2049 texts; allowed: at most 2048"),
    ],
)
def test_wrong_fields_of_labels(
    client: TestClient, fields: dict[str, Any], param: str, message: str
) -> None:
    found = error(client, "/v1/classify", **fields)
    assert message in found["message"]
    assert found["param"] == param


# ---- autocomplete


def test_three_sentences(
    client: TestClient, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autocomplete, "new_seed", lambda: 5)
    asked = {"context": "A good", "model_size": "small", "top_p": 0.8, "temperature": 1.2}
    found = answer(client, "/autocomplete/small/any", **asked, max_time=60, length=6)
    settings = {"top_p": 0.8, "temperature": 1.2, "top_k": 256, "max_new_tokens": 6, "seed": 5}
    expected = ogpt.generate(
        folders["small"],
        "A good",
        num_return_sequences=3,
        surface="readable",
        threads=1,
        **settings,  # type: ignore[arg-type]  # of several types
    )
    assert [one["value"] for one in found["sentences"]] == [one.text for one in expected]
    assert 0 < max(one["time"] for one in found["sentences"]) <= found["time"]
    assert found["warnings"] == []
    two = answer(client, "/autocomplete/small/any", **asked, length=6, n_samples=2)
    assert two["sentences"][0]["value"] == expected[0].text
    assert len(two["sentences"]) == 2


def test_another_call_gives_other_sentences(client: TestClient) -> None:
    asked = {"context": "a good film", "length": 30, "top_p": 1.0}
    values = [
        tuple(
            one["value"] for one in answer(client, "/autocomplete/default/x", **asked)["sentences"]
        )
        for _ in range(2)
    ]
    assert values[0] != values[1]


def test_the_end_of_a_long_context_is_used(
    client: TestClient, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autocomplete, "new_seed", lambda: 5)
    monkeypatch.setattr(autocomplete, "CONTEXT_TOKENS", 5)
    long = answer(client, "/autocomplete/small/x", context="bad " + "good " * 20, length=4)
    assert [one["code"] for one in long["warnings"]] == ["text-truncated"]
    short = answer(client, "/autocomplete/small/x", context="good " * 5, length=4)
    assert short["warnings"] == []
    values = [[one["value"] for one in each["sentences"]] for each in (long, short)]
    assert values[0] == values[1]


def test_limits_of_the_server_lower_the_defaults(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autocomplete, "new_seed", lambda: 5)
    with serving({"small": folders["small"]}, max_tokens=4, max_n=2) as client:
        path, asked = "/autocomplete/small/x", {"context": "a good"}
        values = [
            [one["value"] for one in answer(client, path, **asked, **more)["sentences"]]
            for more in ({}, {"length": 4, "n_samples": 2}, {"length": 3})
        ]
        assert len(values[0]) == 2
        assert values[0] == values[1] != values[2]
        found = error(client, path, **asked, n_samples=3)
        assert found["param"] == "n_samples"
        assert "n_samples is 3; allowed: at most 2" in found["message"]
        assert (
            "length is 5; allowed: at most 4" in error(client, path, **asked, length=5)["message"]
        )


def test_the_path_names_the_model(folders: dict[str, Path]) -> None:
    with serving({"gpt": folders["small"], "gpt/large": folders["number"]}) as client:
        asked = {"context": "a good", "length": 2}
        answer(client, "/autocomplete/gpt/small", **asked)
        states = client.app.state.models.states()  # type: ignore[attr-defined]  # of FastAPI
        assert states == {"gpt": "ready", "gpt/large": "unloaded"}
        answer(client, "/autocomplete/gpt/large", **asked)
        assert states != client.app.state.models.states()  # type: ignore[attr-defined]  # as above
        response = client.post("/autocomplete/gone/small", json=asked)
        assert response.status_code == 404
        assert "gone" in response.json()["error"]["message"]
        named = answer(client, "/autocomplete/gpt/small", **asked, model="gpt/large")
        assert [one["code"] for one in named["warnings"]] == ["setting-without-effect"]


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({}, "context", "missing"),
        ({"context": ""}, "context", "no tokens"),
        ({"context": "a", "n_samples": 4}, "n_samples", "3"),
        ({"context": "a", "temperature": 0}, "temperature", "0"),
        ({"context": "a", "top_p": 2}, "top_p", "1"),
        ({"context": "a", "length": 0}, "length", "1"),
        ({"context": "a", "max_time": -1}, "max_time", "0"),
        ({"context": "a", "length": 4097}, "length", "4097; allowed: at most 4096"),
    ],
)
def test_wrong_fields_of_autocomplete(
    client: TestClient, fields: dict[str, Any], param: str | None, message: str
) -> None:
    found = error(client, "/autocomplete/small/x", **fields)
    assert message in found["message"]
    assert found["param"] == param


# ---- all of them


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/tokenize", {"prompt": "a"}),
        ("/detokenize", {"tokens": [1]}),
        ("/v1/score", {"prompt": "a", "choices": ["a"]}),
        ("/v1/embeddings", {"input": "a"}),
        ("/autocomplete/small/x", {"context": "a", "length": 1}),
    ],
)
def test_unknown_fields_are_warnings(
    client: TestClient, strict: TestClient, path: str, fields: dict[str, Any]
) -> None:
    assert answer(client, path, **fields)["warnings"] == []
    [warning] = answer(client, path, **fields, suffix="x")["warnings"]
    assert warning["code"] == "fields-ignored"
    assert "suffix" in warning["message"]
    assert "suffix" in error(strict, path, **fields, suffix="x")["message"]
    answer(strict, path, **fields)


def test_texts_of_megabytes_are_refused_before_they_are_tokenized(
    folders: dict[str, Path],
) -> None:
    """By their length in characters: no entry of the vocabulary has more than so many."""
    long = "x" * 10_000
    with serving(folders, max_prompt_tokens=20) as client:
        for path, body, param in (
            ("/tokenize", {"prompt": long}, "prompt"),
            ("/v1/embeddings", {"input": ["a", long]}, "input"),
            ("/v1/score", {"prompt": long, "choices": ["a"]}, "prompt"),
            ("/v1/score", {"prompt": "a", "choices": ["a", long]}, "choices"),
            ("/v1/classify", {"model": "classes", "input": [long]}, "input"),
        ):
            response = client.post(path, json=body)
            error = response.json()["error"]
            assert (response.status_code, error["param"]) == (400, param), path
            assert error["message"].startswith(f"{param} has at least "), path
        assert client.post("/tokenize", json={"prompt": " " * 10_000 + "a"}).status_code == 200


def test_a_body_with_half_a_surrogate_pair_is_refused(client: TestClient) -> None:
    for path, body in (
        ("/tokenize", b'{"prompt": "a \\ud83d"}'),
        ("/v1/score", b'{"prompt": "a", "choices": ["\\ud83d"]}'),
        ("/v1/embeddings", b'{"input": ["\\ud83d"]}'),
        ("/v1/classify", b'{"model": "classes", "input": {"text": "\\ud83d"}}'),
        ("/autocomplete/small/x", b'{"context": "\\ud83d"}'),
    ):
        headers = {"content-type": "application/json"}
        response = client.post(path, content=body, headers=headers)
        assert response.status_code == 400, path
        assert "surrogate" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/score", {"prompt": "a", "choices": ["b"] * 400}),
        ("/v1/embeddings", {"input": ["a"] * 400}),
        ("/autocomplete/small/x", {"context": "a", "length": 4000}),
    ],
)
def test_a_client_that_leaves_cancels_its_work(
    server: Running, monkeypatch: pytest.MonkeyPatch, path: str, fields: dict[str, Any]
) -> None:
    def slowed(compute: Any) -> Any:
        def call(*given: Any, **named: Any) -> Any:
            time.sleep(0.005)
            return compute(*given, **named)

        return call

    for name in ("run", "score"):
        monkeypatch.setattr(NativeDecoder, name, slowed(getattr(NativeDecoder, name)))
    before = server.models.counters()["small"].cancelled
    with pytest.raises(httpx2.ReadTimeout):
        CLIENT.post(f"{server.url}{path}", json=fields, timeout=httpx2.Timeout(10, read=0.2))
    until(lambda: server.models.counters()["small"].cancelled > before)
    counters = server.models.counters()["small"]
    assert (counters.running, counters.waiting) == (0, 0)
