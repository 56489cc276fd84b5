"""Models, health and readiness of a server."""

import asyncio
from pathlib import Path

import pytest

from ogpt.version import __version__
from tests.serving.calls import CLIENT, answer, post
from tests.serving.running import Running, running, started
from tests.serving.small import save_small


def test_models_and_version(server: Running) -> None:
    listed = CLIENT.get(f"{server.url}/v1/models").json()
    assert listed["object"] == "list"
    [card] = listed["data"]
    assert (card["id"], card["object"], card["owned_by"]) == ("small", "model", "ogpt")
    assert card["max_model_len"] == 40
    for name in ("small", "default"):
        assert CLIENT.get(f"{server.url}/v1/models/{name}").json()["id"] == "small"
    missing = CLIENT.get(f"{server.url}/v1/models/org/large")
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "model")
    assert "'org/large'; allowed: 'small'" in missing.json()["error"]["message"]
    assert CLIENT.get(f"{server.url}/version").json() == {"version": __version__}


def test_several_models_of_which_one_is_in_memory(small_folder: Path, tmp_path: Path) -> None:
    other = save_small(tmp_path / "other", seed=4)
    with running({"one": small_folder, "org/two": other}) as url:
        texts = {
            name: answer(url, prompt="a bad", temperature=0, max_tokens=20, model=name)["choices"]
            for name in ("one", "org/two")
        }
        states = {
            each["id"]: each["state"] for each in CLIENT.get(f"{url}/v1/models").json()["data"]
        }
        assert states == {"one": "unloaded", "org/two": "ready"}
        assert texts["one"] != texts["org/two"]
        again = answer(url, prompt="a bad", temperature=0, max_tokens=20)
        assert (again["model"], again["choices"]) == ("one", texts["one"])


def test_ready_once_the_default_model_is_loaded(small_folder: Path) -> None:
    with started({"small": small_folder}) as found:
        waiting = CLIENT.get(f"{found.url}/ready")
        assert (waiting.status_code, waiting.json()["status"]) == (503, "unloaded")
        assert CLIENT.get(f"{found.url}/health").status_code == 200
        answer(found.url, prompt="a", max_tokens=1)
        assert CLIENT.get(f"{found.url}/ready").status_code == 200


def test_health_of_a_dead_engine(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started({"small": small_folder}) as found:
        monkeypatch.setattr(found.models, "states", lambda: {"small": "dead"})
        dead = CLIENT.get(f"{found.url}/health")
        assert (dead.status_code, dead.json()["models"]) == (503, {"small": "dead"})


def test_under_the_path_of_a_proxy(small_folder: Path) -> None:
    """The proxy removes it from paths, and the API page names it."""
    with running({"small": small_folder}, root_path="/gpt") as url:
        assert CLIENT.get(f"{url}/v1/models").json()["data"][0]["id"] == "small"
        assert CLIENT.get(f"{url}/openapi.json").json()["servers"] == [{"url": "/gpt"}]
        for path in ("/nothing", "/gpt/nothing"):
            missing = CLIENT.get(f"{url}{path}").json()["error"]["message"]
            assert missing == f"there is no '{path}' (/gpt/docs lists what there is)"
        other = CLIENT.put(f"{url}/v1/models").json()["error"]["message"]
        assert other == "'/v1/models' is not for PUT (/gpt/docs lists what there is)"


def test_clients_behind_a_trusted_proxy_have_rates_of_their_own(small_folder: Path) -> None:
    """The proxy appends the address of its client; what a client sends before that is ignored."""

    def statuses(url: str) -> list[int]:
        return [
            CLIENT.get(f"{url}/v1/models", headers={"X-Forwarded-For": chain}).status_code
            for chain in ("192.0.2.1", "192.0.2.9, 192.0.2.1", "192.0.2.2")
        ]

    with running({"small": small_folder}, requests_per_minute=1) as url:
        assert statuses(url) == [200, 429, 429]
    trusted = ["127.0.0.1"]
    with running({"small": small_folder}, requests_per_minute=1, trusted_proxies=trusted) as url:
        assert statuses(url) == [200, 429, 200]


def test_what_does_not_serve_says_when_to_ask_again(small_folder: Path) -> None:
    with started({"small": small_folder}) as found:
        asyncio.run(found.models.drain(0))
        refused = post(found.url, prompt="a")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json()["error"]["code"] == "unavailable"


def test_head_wherever_there_is_get(server: Running) -> None:
    for path in ("/health", "/v1/models", "/version"):
        response = CLIENT.head(f"{server.url}{path}")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-type"] == "application/json"
    assert CLIENT.head(f"{server.url}/v1/completions").status_code == 405
