"""The models of a server: which are open, who waits, and what fails."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ogpt.decoding.choice import open_decoder
from ogpt.decoding.options import DecoderOptions
from ogpt.errors import (
    CheckpointError,
    ConfigError,
    DecoderError,
    EngineUnavailable,
    OgptError,
    QueueFull,
    TokenizerError,
    UnknownModel,
    WeightsError,
    WeightsNotFound,
)
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.generation.texts.request import Request, prepare
from ogpt.notices import collecting
from ogpt.serving import served_models
from ogpt.serving.request_stream import RequestTimes
from ogpt.serving.served_models import ServedModel, ServedModels
from ogpt.weights.arrays import Array
from ogpt.weights.safetensors_file import open_safetensors, write_arrays
from tests.workflows.finetuning import base_model
from tests.workflows.task_models import make

NATIVE = DecoderOptions(decoder="native", threads=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three models, equal but for their folders."""
    first = base_model(tmp_path_factory.mktemp("models") / "a", n_embd=8, n_layer=1)
    found = {"a": first}
    for name in "bc":
        found[name] = first.with_name(name)
        shutil.copytree(first, found[name])
    return found


def serve(specs: Any, **asked: Any) -> closing[ServedModels]:
    return closing(ServedModels(specs, NATIVE, slots=2, **asked))


def asking(served: ServedModel) -> Request:
    settings = GenerationSettings(max_new_tokens=3)
    config = served.config
    size = (config.n_positions, config.vocab_size)
    return prepare(served.tokenizer, *size, "a good film", None, settings)


async def answer(models: ServedModels, name: str | None = None) -> tuple[str, list[int]]:
    async with models.using(name) as served:
        with served.engine.submit(asking(served)) as stream:
            [generation] = await stream.gather()
            return served.name, generation.ids


def test_models_are_opened_on_demand(folders: dict[str, Path]) -> None:
    with serve(folders, in_memory=3) as models:
        assert (models.names, models.default) == (["a", "b", "c"], "a")
        assert models.states() == dict.fromkeys("abc", "unloaded")
        assert models.loaded() == []
        expected = asyncio.run(answer(models, "b"))
        assert expected[0] == "b"
        assert len(expected[1]) == 3
        assert models.states() == {"a": "unloaded", "b": "ready", "c": "unloaded"}
        for name in (None, "default", "a"):
            assert asyncio.run(answer(models, name)) == ("a", expected[1])
            assert models.name_of(name) == "a"
        assert [served.name for served in models.loaded()] == ["b", "a"]
        assert models.folders["a"].config.n_positions == 32
        written = (folders["a"] / "model.safetensors").stat().st_mtime
        assert models.created["a"] == int(written) == models.loaded()[1].created
        counters = models.counters()
        assert [counters[name].requests for name in "abc"] == [3, 1, 0]
    assert models.states()["a"] == "closed"
    assert models.states()["c"] == "unloaded"


def test_a_model_of_the_name_default_is_found(folders: dict[str, Path]) -> None:
    with serve({"one": folders["a"], "default": folders["b"]}) as models:
        assert models.name_of("default") == "default"
        assert asyncio.run(answer(models, "default"))[0] == "default"
        assert asyncio.run(answer(models))[0] == "one"


def test_the_least_recently_used_model_leaves(folders: dict[str, Path]) -> None:
    times: list[tuple[str, RequestTimes]] = []
    with serve(folders, in_memory=2) as models:
        models.on_end = lambda *ended: times.append(ended)
        for name in "abac":
            asyncio.run(answer(models, name))
        assert [served.name for served in models.loaded()] == ["a", "c"]
        assert models.states()["b"] == "unloaded"
        asyncio.run(answer(models, "b"))
        assert [served.name for served in models.loaded()] == ["c", "b"]
        counters = models.counters()
        assert [counters[name].finished["length"] for name in "abc"] == [2, 2, 1]
        assert [counters[name].running for name in "abc"] == [0, 0, 0]
    assert [name for name, _ in times] == list("abacb")
    assert all(one.ended is not None for _, one in times)


def test_a_model_in_use_does_not_leave(folders: dict[str, Path]) -> None:
    async def work() -> None:
        async with models.using("a") as held:
            with pytest.raises(QueueFull, match="all 1 open models are in use, and 1 may be open"):
                await answer(models, "b")
            assert models.states() == {"a": "ready", "b": "failed", "c": "unloaded"}
            assert held.engine.health == "ready"
        assert (await answer(models, "b"))[0] == "b"

    with serve(folders, patience=0.05) as models:
        asyncio.run(work())


def test_a_model_that_becomes_idle_makes_room(folders: dict[str, Path]) -> None:
    async def work() -> str:
        async with models.using("a"):
            waiting = asyncio.create_task(answer(models, "b"))
            while models.states()["b"] != "loading":
                await asyncio.sleep(0.001)
        return (await waiting)[0]

    with serve(folders) as models:
        assert asyncio.run(work()) == "b"


def test_a_model_that_is_always_in_use_leaves_in_turn(folders: dict[str, Path]) -> None:
    """Its users finish, new ones wait; it is opened again for them."""

    async def work() -> list[str]:
        served: list[str] = []

        async def stays(seconds: float) -> None:
            while len(served) < 3:
                async with models.using("a") as held:
                    await asyncio.sleep(seconds)
                    assert held.engine.health == "ready"

        async def asks() -> None:
            for name in ("b", "c", "b"):
                served.append((await answer(models, name))[0])

        await asyncio.gather(stays(0.003), stays(0.005), stays(0.007), asks())
        return served

    with serve(folders) as models:
        assert asyncio.run(work()) == ["b", "c", "b"]
        assert [place.users | place.waiting for place in models._places.values()] == [set()] * 3


def test_a_model_that_is_spared_serves_those_who_waited(folders: dict[str, Path]) -> None:
    """Another one became idle first."""

    async def work() -> str:
        async with models.using("a"):
            async with models.using("b"):
                third = asyncio.create_task(answer(models, "c"))
                while not models._places["a"].leaving:
                    await asyncio.sleep(0.001)
                again = asyncio.create_task(answer(models, "a"))
                await asyncio.sleep(0.01)
                assert not again.done()
            assert (await third)[0] == "c"
            return (await again)[0]

    with serve(folders, in_memory=2) as models:
        assert asyncio.run(work()) == "a"
        assert models.counters()["a"].requests == 1
        assert [served.name for served in models.loaded()] == ["c", "a"]


def test_a_model_is_opened_once_for_all_who_wait(folders: dict[str, Path]) -> None:
    async def work() -> list[tuple[str, list[int]]]:
        leaves = asyncio.create_task(answer(models))
        tasks = [asyncio.create_task(answer(models)) for _ in range(5)]
        while models.states()["a"] == "unloaded":
            await asyncio.sleep(0)
        leaves.cancel()  # the others wait for the same opening
        return await asyncio.gather(*tasks)

    with serve(folders) as models:
        assert {name for name, _ in asyncio.run(work())} == {"a"}
        assert len(models.loaded()) == 1
        assert models._places["a"].users == set()


# ---- refused, and what fails


def test_an_unknown_name_is_refused(folders: dict[str, Path]) -> None:
    with serve(folders) as models:
        with pytest.raises(UnknownModel, match="the model is 'x'; allowed: 'a', 'b', 'c'") as error:
            asyncio.run(answer(models, "x"))
        assert "omit model" in error.value.hint


@pytest.mark.parametrize(
    ("specs", "asked", "error", "message"),
    [
        (lambda found: {}, {}, ConfigError, "there are 0 models"),
        (lambda found: found, {"in_memory": 0}, ConfigError, "in_memory is 0; allowed: 1 or more"),
        (lambda found: {"x": found["a"] / "none"}, {}, CheckpointError, "none"),
    ],
)
def test_what_cannot_be_served_is_found_at_once(
    specs: Callable[[Any], Any],
    asked: dict[str, Any],
    error: type[Exception],
    message: str,
    folders: dict[str, Path],
) -> None:
    with pytest.raises(error, match=message):
        ServedModels(specs(folders), NATIVE, **asked)


def test_a_folder_without_weights_is_found_at_once(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copytree(folders["a"], tmp_path / "d")
    (tmp_path / "d" / "model.safetensors").unlink()
    with pytest.raises(WeightsNotFound):
        ServedModels({"d": tmp_path / "d"}, NATIVE)


@pytest.mark.parametrize(
    ("name", "error"), [("tokenizer.json", TokenizerError), ("model.safetensors", WeightsError)]
)
def test_a_damaged_model_is_found_at_once(
    folders: dict[str, Path], tmp_path: Path, name: str, error: type[OgptError]
) -> None:
    """Also one that is not the default."""
    shutil.copytree(folders["a"], tmp_path / "d")
    file = tmp_path / "d" / name
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(error):
        ServedModels({"a": folders["a"], "d": tmp_path / "d"}, NATIVE)


def test_a_model_without_the_head_of_its_task_is_found_at_once(tmp_path: Path) -> None:
    folder = make("pairs", tmp_path / "d")
    arrays = dict(open_safetensors(folder / "model.safetensors"))
    del arrays["score.weight"]
    write_arrays(folder / "model.safetensors", arrays)
    with pytest.raises(WeightsError, match=r"score.weight in .* is missing"):
        ServedModels({"d": folder}, NATIVE)


def test_a_model_that_cannot_be_opened_fails_alone(
    folders: dict[str, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All who wait get the error, and the next request tries again."""
    shutil.copytree(folders["a"], tmp_path / "d")

    def opened(folder: ModelFolder, *given: Any, **named: Any) -> Decoder:
        if folder.path == tmp_path / "d":
            raise DecoderError(f"no memory for {folder.path}", hint="free some")
        return open_decoder(folder, *given, **named)

    monkeypatch.setattr(served_models, "open_decoder", opened)

    async def both(models: ServedModels) -> list[Any]:
        asked = (answer(models, "d"), answer(models, "d"))
        return await asyncio.gather(*asked, return_exceptions=True)

    with serve({"a": folders["a"], "d": tmp_path / "d"}) as models:
        for error in asyncio.run(both(models)):
            with pytest.raises(EngineUnavailable, match="the model 'd' cannot be opened; the serv"):
                raise error
            assert isinstance(error.__cause__, DecoderError)
            assert str(tmp_path) not in f"{error} {error.hint}"
        assert str(tmp_path) in caplog.text
        assert models.states() == {"a": "unloaded", "d": "failed"}
        assert asyncio.run(answer(models, "a"))[0] == "a"
        monkeypatch.undo()
        assert asyncio.run(answer(models, "d"))[0] == "d"


def test_notices_of_loading_go_where_the_server_was_made(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders["a"], tmp_path / "d"))
    arrays = dict(open_safetensors(folder / "model.safetensors"))
    arrays["adapter.weight"] = Array("float32", np.ones(3, np.float32))
    write_arrays(folder / "model.safetensors", arrays)
    with collecting() as notices:
        models = ServedModels({"d": folder}, NATIVE, slots=1)
    with closing(models), collecting() as elsewhere:
        asyncio.run(answer(models))
    assert [notice.kind for notice in notices] == ["weights-not-from-file"]
    assert elsewhere == []


def test_a_head_is_no_weight_too_many(tmp_path: Path) -> None:
    with collecting() as notices, serve({"d": make("pairs", tmp_path / "d", bias=1.0)}) as models:
        assert asyncio.run(answer(models))[0] == "d"
    assert notices == []


# ---- the end


def test_a_server_drains(folders: dict[str, Path]) -> None:
    async def work() -> tuple[Any, bool]:
        async with models.using() as served:
            stream = served.engine.submit(asking(served))
            draining = asyncio.create_task(models.drain())
            found = await stream.gather()
        done = await draining
        for name in "ab":
            with pytest.raises(EngineUnavailable, match=r"is (draining|closed)"):
                await answer(models, name)
        return found, done

    with serve(folders) as models:
        found, done = asyncio.run(work())
    assert len(found) == 1
    assert done
    assert models.states()["a"] == "closed"


def test_what_is_not_drained_in_time_ends(folders: dict[str, Path]) -> None:
    def endless(decoder: Decoder) -> Iterator[int]:
        while True:
            decoder.run([Part(0, [1], "none")])
            decoder.free(0)

    async def work() -> bool:
        async with models.using() as served:
            stream = served.engine.run(endless)
            done = await models.drain(timeout=0.05)
            with pytest.raises(EngineUnavailable):
                await stream.gather()
        return done

    with serve(folders) as models:
        assert not asyncio.run(work())


def test_a_model_that_waits_for_its_turn_is_not_opened_by_a_server_that_drains(
    folders: dict[str, Path],
) -> None:
    async def work() -> None:
        async with models.using("a"):
            waiting = asyncio.create_task(answer(models, "b"))
            while models.states()["b"] != "loading":
                await asyncio.sleep(0.001)
            await models.drain()
            with pytest.raises(EngineUnavailable, match="the server is draining"):
                await waiting

    with serve(folders) as models:
        asyncio.run(work())
        assert models.states()["b"] == "failed"
