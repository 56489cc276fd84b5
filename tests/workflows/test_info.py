"""`info` reports the facts of a model folder or a run, at any stage of the run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import ogpt
from ogpt.cli.figures import table
from ogpt.errors import CheckpointError, WeightsError
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting
from ogpt.workflows.info import info


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("describing")
    (folder / "text.txt").write_text("The cat sat on the mat. The dog sat on the log.\n" * 300)
    shape = ["model.n_layer=2", "model.n_head=2", "model.n_embd=16", "model.n_positions=16"]
    rest = [
        "batch_size=4",
        "micro_batch_size=4",
        "threads=1",
        "compile='off'",
        "max_steps=2",
        "warmup_steps=1",
    ]
    overrides = [*shape, "tokenizer.vocab_size=30", *(f"training.{item}" for item in rest)]
    with collecting():  # one document: its end is the validation set, with a notice
        ogpt.pretrain(data=[str(folder / "text.txt")], out=folder / "run", overrides=overrides)
    return folder / "run"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def test_model_folder(run: Path) -> None:
    facts = info(ModelFolder.open(run).path)
    model, parameters = facts["model"], facts["parameters"]
    assert (model["n_layer"], model["n_embd"]) == (2, 16)
    _, loaded = ogpt.load(run)
    assert parameters == sum(weight.numel() for weight in loaded.parameters())
    assert facts["weights"]["dtype"] == ["float32"]
    assert facts["weights"]["format"] == "safetensors"
    assert facts["weights"]["files"] == ["model.safetensors"]
    assert facts["tokenizer"]["entries"] == model["vocab_size"]
    assert set(facts) == {"folder", "parameters", "model", "weights", "tokenizer"}


def test_sharded_classifier(tmp_path: Path, run: Path) -> None:
    config = ogpt.OpenAIGPTConfig.from_pretrained(ModelFolder.open(run).path)
    config.num_labels = 3
    model = ogpt.OpenAIGPTForSequenceClassification(config)
    model.save_pretrained(tmp_path, max_shard_size=10_000)
    ModelFolder.open(run).tokenizer.save_pretrained(tmp_path)
    facts = info(tmp_path)
    assert facts["parameters"] == model.num_parameters()
    weights = facts["weights"]
    assert weights["files"][0] == "model.safetensors.index.json"
    assert len(weights["files"]) > 2
    assert weights["file_bytes"] == sum((tmp_path / f).stat().st_size for f in weights["files"])
    assert weights["arrays"] == len(model.stored_tensors())


def test_a_folder_without_tokenizer(tmp_path: Path) -> None:
    config = ogpt.OpenAIGPTConfig(vocab_size=3, n_embd=4, n_head=1, n_layer=1)
    ogpt.OpenAIGPTModel(config).save_pretrained(tmp_path)
    facts = info(tmp_path)
    assert facts["tokenizer"] is None
    assert "tokenizer   none" in table(facts).splitlines()


def test_run(run: Path) -> None:
    facts = info(str(run))
    assert facts["folder"] == str(ModelFolder.open(run).path)
    assert facts["run"]["finished"] is True
    assert facts["settings"]["training"]["max_steps"] == 2
    assert facts["train"]["step"] == facts["eval"]["step"] == 2
    assert json.loads(json.dumps(facts)) == facts


def test_run_without_checkpoint(copy: Path) -> None:
    facts: dict[str, Any] = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(facts | {"best": None, "last": None}))
    (copy / "metrics.jsonl").unlink()
    assert set(info(copy)) == {"run", "settings"}


def test_metrics_cut_short(copy: Path) -> None:
    with open(copy / "metrics.jsonl", "a") as metrics:
        metrics.write('{"event": "train", "st')
    assert info(copy)["train"]["step"] == 2


def test_damaged_weights(copy: Path) -> None:
    weights = ModelFolder.open(copy).path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(WeightsError, match="damaged"):
        info(copy)


def test_neither_model_nor_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model and no run"):
        info(tmp_path)
    with pytest.raises(CheckpointError, match="there is no folder"):
        info(tmp_path / "none")
