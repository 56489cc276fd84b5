"""/v1/attention: equal to the model's own attention, bounded, and refused where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

import ogpt
from ogpt.decoding.options import DecoderOptions
from ogpt.errors import DecoderError
from ogpt.folders.model_folder import ModelFolder
from ogpt.serving import token_attention
from ogpt.serving.app import create_app
from ogpt.serving.served_models import ServedModels
from ogpt.serving.server_settings import ServerSettings
from tests.markov import StandInDecoder
from tests.serving.small import save_small

TEXT = "a bad cab faced a bead"


def serving(folder: Path, decoder: str, **settings: Any) -> TestClient:
    options = DecoderOptions(decoder=decoder, threads=1)
    app = create_app(ServedModels({"small": folder}, options, slots=2), ServerSettings(**settings))
    return TestClient(app, base_url="http://localhost")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("small"), n_layer=2)


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[TestClient]:
    with serving(folder, "torch") as client:
        yield client


def answer(client: TestClient, **fields: Any) -> dict[str, Any]:
    response = client.post("/v1/attention", json=fields)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def error(client: TestClient, **fields: Any) -> dict[str, Any]:
    response = client.post("/v1/attention", json=fields)
    assert response.status_code == 400, response.text
    found: dict[str, Any] = response.json()["error"]
    return found


def test_attention_is_that_of_the_model(client: TestClient, folder: Path) -> None:
    tokenizer = ModelFolder.open(folder).tokenizer
    ids = tokenizer.encode(TEXT, add_special_tokens=False)
    found = answer(client, prompt=TEXT)
    assert found["tokens"] == tokenizer.convert_ids_to_tokens(ids)
    assert found["usage"]["prompt_tokens"] == len(ids)
    assert (found["object"], found["model"], found["warnings"]) == ("attention", "small", [])
    model = ogpt.OpenAIGPTModel.from_pretrained(folder).eval()
    with torch.no_grad():
        layers = model(torch.tensor([ids]), output_attentions=True).attentions
    expected = np.stack([layer[0, :, -1].numpy() for layer in layers])
    np.testing.assert_allclose(found["attentions"], expected, atol=1e-5)
    faulty = np.stack([layer[0, :, -2].numpy() for layer in layers])  # of the token before
    assert np.abs(np.array(found["attentions"]) - faulty).max() > 1e-3
    # token ids, and one layer
    assert answer(client, prompt=ids) == found
    one = answer(client, prompt=TEXT, layer=1)
    assert one["attentions"] == found["attentions"][1:]
    # the attention of an earlier token: a prompt that ends with it
    assert np.shape(answer(client, prompt=ids[:3])["attentions"]) == (*expected.shape[:2], 3)


def test_a_long_prompt_is_cut_on_request_only(client: TestClient) -> None:
    long = "a bad cab " * 10
    found = error(client, prompt=long)
    assert (found["code"], "truncate_prompt_tokens: -1" in found["message"]) == (
        "context_length_exceeded",
        True,
    )
    cut = answer(client, prompt=long, truncate_prompt_tokens=-1)
    assert len(cut["tokens"]) == 40
    assert [one["code"] for one in cut["warnings"]] == ["text-truncated"]


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({}, "prompt", "missing"),
        ({"prompt": ""}, "prompt", "has no tokens"),
        ({"prompt": [99]}, "prompt", "allowed: 0 to 18"),
        ({"prompt": ["a", "b"]}, "prompt", "string"),
        ({"prompt": "a", "layer": 2}, "layer", "layer is 2; allowed: at most 1"),
        ({"prompt": "a", "layer": -1}, "layer", "greater than or equal to 0"),
        ({"prompt": "a", "truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "is 0; allowed"),
    ],
)
def test_wrong_fields(client: TestClient, fields: dict[str, Any], param: str, message: str) -> None:
    found = error(client, **fields)
    assert message in found["message"]
    assert found["param"] == param


def test_the_size_of_an_answer_is_limited(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = np.size(answer(client, prompt="a bad cab")["attentions"])
    monkeypatch.setattr(token_attention, "MOST_REPORTED", size - 1)
    found = error(client, prompt="a bad cab")
    assert f"is {size} numbers; allowed: at most {size - 1}" in found["message"]
    assert found["param"] == "layer"
    answer(client, prompt="a bad cab", layer=0)


def test_a_decoder_without_attention_says_which_has_it(folder: Path) -> None:
    with serving(folder, "native") as client:
        found = error(client, prompt="a bad cab")
        assert found["param"] == "model"
        assert "does not return attention" in found["message"]
        assert "--decoder torch" in found["message"]


class NotANumber(StandInDecoder):
    """Attention that is NaN."""

    def attend(self, slot: int, token_id: int) -> tuple[np.ndarray, ...]:
        return (np.full((2, self.length(slot) + 1), np.nan),)


def test_attention_that_is_not_numbers_is_refused() -> None:
    decoder = NotANumber(lambda held: np.zeros(5), 5)
    with pytest.raises(DecoderError, match="sum to nan; allowed: finite") as caught:
        next(token_attention.attended(decoder, [1, 2]))
    assert "another checkpoint" in caught.value.hint
