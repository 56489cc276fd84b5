"""Heads in numpy: the logits of PyTorch's, and the predictions of `ogpt predict`."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ogpt
from ogpt.decoding.choice import open_decoder
from ogpt.errors import ConfigError, DataError, WeightsError
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.decoder import Part
from ogpt.notices import collecting
from ogpt.serving import task_head
from ogpt.serving.engine import Engine
from ogpt.serving.task_head import TaskHead
from ogpt.tasks.transforms import Transform
from ogpt.training.torch_task_predictor import TorchTaskPredictor
from ogpt.weights.safetensors_file import open_safetensors, write_arrays
from tests.tasks.small import tokenizer
from tests.workflows.finetuning import base_model
from tests.workflows.task_models import SHAPE, SPECS, make

LONG = "what a good story this is , and how bad the end "
ROWS: dict[str, list[Any]] = {
    "classes": ["a good film", {"text": "bad bad bad", "id": 7}, LONG * 9],
    "several": ["a good film", LONG],
    "pairs": [
        {"premise": "a good film", "hypothesis": "the end"},
        {"premise": LONG, "hypothesis": LONG * 8},
    ],
    "scores": [{"sentence1": "a good film", "sentence2": "bad"}],
    "choices": [
        {"context": LONG, "choices": ["a good film", "bad", "a good end"]},
        {"question": "what", "choices": ["a", "a film"]},
    ],
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ModelFolder]:
    return {
        name: ModelFolder.open(make(name, tmp_path_factory.mktemp(name) / name, bias=0.7))
        for name in SPECS
    }


def opened(folder: ModelFolder, **asked: Any) -> Any:
    return open_decoder(folder, decoder="native", threads=1, **asked)


def logits_of(folder: ModelFolder, rows: list[Any]) -> list[np.ndarray]:
    head = TaskHead.open(folder)
    with closing(opened(folder)) as decoder:
        return list(head.logits(head.sequences(head.examples(rows)))(decoder))


def is_equal(folder: ModelFolder, rows: list[Any]) -> bool:
    """Whether the logits are those of PyTorch."""
    found = logits_of(folder, rows)
    expected = TorchTaskPredictor(folder).predict(TaskHead.open(folder).examples(rows)).logits
    assert len(found) == len(expected)
    pairs = [(one, row[np.isfinite(row)]) for one, row in zip(found, expected, strict=True)]
    return all(
        one.shape == row.shape and np.allclose(one, row, rtol=1e-4, atol=1e-5) for one, row in pairs
    )


@pytest.mark.filterwarnings("ignore::ogpt.notices.OgptNotice")  # heads, and texts that are cut
@pytest.mark.parametrize("name", SPECS)
def test_every_family_is_that_of_pytorch(name: str, models: dict[str, ModelFolder]) -> None:
    folder, rows = models[name], ROWS[name]
    assert is_equal(folder, rows)
    head = TaskHead.open(folder)
    examples = head.examples(rows)
    found = head.predictions(examples, logits_of(folder, rows))
    expected = ogpt.predict(folder, rows)
    assert [one.id for one in found] == [one.id for one in expected]
    for one, other in zip(found, expected, strict=True):
        if head.spec.problem == "regression":
            assert one.label == pytest.approx(other.label, rel=1e-4)
            assert one.scores is other.scores is None
        else:
            assert one.label == other.label
            assert one.scores == pytest.approx(other.scores, rel=1e-4)


@pytest.mark.filterwarnings("ignore::ogpt.notices.OgptNotice")
@pytest.mark.parametrize("labels", [3, 1])
def test_a_classifier_of_another_program_is_that_of_the_pipeline(
    labels: int, tmp_path: Path
) -> None:
    """It has no task: a text is classified by its last token."""
    words = tokenizer()
    config = ogpt.OpenAIGPTConfig(vocab_size=len(words), initializer_range=0.4, **SHAPE)
    config.num_labels = labels
    torch.manual_seed(2)
    ogpt.OpenAIGPTForSequenceClassification(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    folder = ModelFolder.open(tmp_path)
    texts = ["a good film", LONG * 9, "bad"]
    head = TaskHead.open(folder)
    logits = logits_of(folder, list(texts))
    classify = ogpt.pipeline("text-classification", folder, function_to_apply="none", top_k=None)
    for found, scored in zip(logits, classify(texts), strict=True):
        expected = {row["label"]: row["score"] for row in scored}
        assert dict(zip(folder.labels, found, strict=True)) == pytest.approx(expected, rel=1e-4)
    one = head.predictions(head.examples(texts), logits)[0]
    if labels == 1:
        assert one.label == pytest.approx(logits[0][0])
    else:
        assert one.label == folder.labels[int(logits[0].argmax())]
    with pytest.raises(DataError, match="has no tokens"):
        head.sequences(head.examples([" "]))
    assert list(head.logits([])(None)) == []


def of_the_token_before(decoder: Any, rows: Any) -> Iterator[np.ndarray]:
    for ids in rows:
        decoder.free(0)
        yield decoder.run([Part(0, ids, "none")], hidden=True).hidden[0][-2]


def sharing_too_much(decoder: Any, rows: Any) -> Iterator[np.ndarray]:
    for ids in rows:
        decoder.free(0)
        wrong = [*rows[0][: len(ids) - 1], *ids[-1:]]
        yield decoder.run([Part(0, wrong, "none")], hidden=True).hidden[0][-1]


def one_order(self: Transform, first: list[int], second: list[int]) -> Any:
    made = self.entailment(first, second)
    return made._replace(ids=made.ids * 2)


@pytest.mark.filterwarnings("ignore::ogpt.notices.OgptNotice")
@pytest.mark.parametrize(
    ("name", "place", "fault"),
    [
        ("classes", task_head, ("_last_states", of_the_token_before)),
        ("choices", task_head, ("_last_states", sharing_too_much)),
        ("scores", Transform, ("similarity", one_order)),
    ],
)
def test_a_planted_fault_shows(
    name: str,
    place: Any,
    fault: tuple[str, Any],
    models: dict[str, ModelFolder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, rows = models[name], ROWS[name]
    expected = logits_of(folder, rows)
    monkeypatch.setattr(place, *fault)
    found = logits_of(folder, rows)
    assert not all(map(partial(np.allclose, rtol=1e-4, atol=1e-5), found, expected))


@pytest.mark.filterwarnings("ignore::ogpt.notices.OgptNotice")
def test_it_runs_in_an_engine_in_chunks(models: dict[str, ModelFolder]) -> None:
    folder, rows = models["choices"], ROWS["choices"]
    head = TaskHead.open(folder)
    work = head.logits(head.sequences(head.examples(rows)))
    opening = partial(opened, folder, slots=2)
    with closing(Engine(opening, folder.tokenizer, prompt_tokens=5)) as engine:
        found = engine.run(work).results()
    assert all(map(np.array_equal, found, logits_of(folder, rows)))


@pytest.mark.filterwarnings("ignore::ogpt.notices.OgptNotice")
def test_a_quantized_model_keeps_its_head(models: dict[str, ModelFolder], tmp_path: Path) -> None:
    ogpt.quantize(models["classes"], tmp_path / "int8", to="int8", text=LONG)
    folder = ModelFolder.open(tmp_path / "int8")
    exact, rounded = (logits_of(one, ROWS["classes"]) for one in (models["classes"], folder))
    assert np.array_equal(TaskHead.open(folder).weight, TaskHead.open(models["classes"]).weight)
    assert np.allclose(exact, rounded, atol=0.1)


def test_what_is_cut_and_what_is_unknown_is_noticed(models: dict[str, ModelFolder]) -> None:
    head = TaskHead.open(models["classes"])
    with collecting() as notices:
        head.sequences(head.examples(["a film", LONG * 9, "東京"]))
    assert [notice.kind for notice in notices] == ["prompt-unknown", "examples-cut"]
    assert notices[1].fields["count"] == 1


# ---- refused


def test_rows_that_do_not_fit_the_task_are_refused(models: dict[str, ModelFolder]) -> None:
    head = TaskHead.open(models["pairs"])
    with pytest.raises(DataError, match="example 1 has no column 'hypothesis'"):
        head.examples(["a text alone"])
    with pytest.raises(DataError, match="has no tokens"):
        head.sequences(head.examples([{"premise": "a", "hypothesis": " "}]))
    assert head.predictions([], []) == []


def test_a_model_without_a_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="was not fine-tuned by ogpt"):
        TaskHead.open(ModelFolder.open(base_model(tmp_path)))


def test_a_folder_without_the_head_is_refused(
    models: dict[str, ModelFolder], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(models["pairs"].path, tmp_path / "lost"))
    arrays = dict(open_safetensors(folder / "model.safetensors"))
    del arrays["score.weight"]
    write_arrays(folder / "model.safetensors", arrays)
    with pytest.raises(WeightsError, match=r"score.weight in .* is missing; .*: \(2, 16\)"):
        TaskHead.open(ModelFolder.open(folder))
    config = folder / "config.json"
    text = config.read_text("utf-8")
    other = text.replace("OpenAIGPTForSequenceClassification", "OpenAIGPTLMHeadModel")
    config.write_text(other, "utf-8")
    with pytest.raises(
        WeightsError, match=r"OpenAIGPTLMHeadModel, which has no head .* entailment"
    ):
        TaskHead.open(ModelFolder.open(folder))
