"""The zero-shot probes of a model folder are those that its training measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ogpt
from ogpt import notices
from ogpt.errors import ConfigError, SourceNotFound, UnknownArgument
from ogpt.recipes.run_metrics import read_metrics
from ogpt.workflows.evaluate_probes import evaluate_probes
from ogpt.workflows.pretrain import pretrain
from tests.evaluation.probe_files import FILES, write_probes
from tests.training.corpus import write_text
from tests.workflows.finetuning import base_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("probes")
    return base_model(folder / "model"), write_probes(folder / "probes")


def evaluate(*arguments: Any, **options: Any) -> Any:
    with notices.collecting():  # rows that differ, and letters that the vocabulary lacks
        return evaluate_probes(*arguments, threads=1, **options)


def test_all_five_are_measured(folders: tuple[Path, Path]) -> None:
    model, probes = folders
    events = []
    found = evaluate(model, probes, reporter=lambda kind, **fields: events.append(kind)).probes
    assert list(found) == list(FILES)
    assert found["race"].value in {n / 6 for n in range(7)}
    assert set(events) == {"progress"}
    torch = evaluate(str(model), str(probes), decoder="torch").probes
    assert {name: one.value for name, one in torch.items()} == {
        name: one.value for name, one in found.items()
    }
    cut = evaluate(model, probes, probe_rows=4).probes
    assert {one.rows for one in cut.values()} == {4}


@pytest.mark.parametrize(
    "network",
    [["network=transformer", "n_layer=1", "n_head=2"], ["network=lstm", "lstm_units=24"]],
    ids=["transformer", "lstm"],
)
def test_they_are_those_of_the_training(
    network: list[str], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    text = tmp_path / "text.jsonl"
    write_text(text)
    shape = [f"model.{one}" for one in (*network, "n_embd=16", "n_positions=32")]
    run = ["max_steps=2", "warmup_steps=1", "batch_size=4", "micro_batch_size=2", "threads=1"]
    rest = ["learning_rate=0.05", "compile=off", "precision=float32"]
    overrides = [*shape, *(f"training.{one}" for one in (*run, *rest)), "tokenizer.vocab_size=150"]
    with notices.collecting():
        pretrain(data=text, out=tmp_path / "run", overrides=overrides, probes=folders[1])
    found = evaluate(tmp_path / "run", folders[1]).probes
    recorded = {event["name"]: event["value"] for event in read_metrics(tmp_path / "run").probes}
    assert recorded == {name: one.value for name, one in found.items()}


def test_what_cannot_be_measured(folders: tuple[Path, Path], tmp_path: Path) -> None:
    model, probes = folders
    with pytest.raises(SourceNotFound, match="no set of the zero-shot probes"):
        ogpt.evaluate_probes(model, tmp_path)
    with pytest.raises(ConfigError, match="probe_rows is -1; allowed") as caught:
        ogpt.evaluate_probes(model, probes, probe_rows=-1)
    assert caught.value.hint == "omit it to use all rows"
    with pytest.raises(UnknownArgument, match="evaluate_probes has no argument rows"):
        ogpt.evaluate_probes(model, probes, rows=3)
