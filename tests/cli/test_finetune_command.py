"""`ogpt finetune`: the function that each combination of options calls, and with what."""

import json
from pathlib import Path

import pytest

from ogpt.workflows.finetune_sweep import FinetuneSweep, SweepPoint
from tests.cli.stand_ins import ok, record

WORDS = [
    *("--model", "m", "--out", "o"),
    *("--family", "entailment", "--train", "t", "--valid", "v", "--column", "label=gold"),
]
TENSORFLOW = ("--backend", "tensorflow")
GIVEN = {"model": Path("m"), "out": Path("o"), "overrides": ["finetune.epochs=1"], "resume": True}


def called_with(monkeypatch: pytest.MonkeyPatch, name: str, result: object, *words: str):
    called = record(monkeypatch, name, result)
    made = ok("finetune", *WORDS, "--set", "finetune.epochs=1", "--resume", *words)
    options = called.options
    assert {key: options[key] for key in GIVEN} == GIVEN
    assert (options["family"], options["train"], options["valid"]) == (
        "entailment",
        Path("t"),
        Path("v"),
    )
    assert options["columns"] == ["label=gold"]
    return options, made.stdout


def test_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    options, shown = called_with(monkeypatch, "finetune", {"best_step": 7})
    assert "seeds" not in options
    assert options["backend"] is None
    assert shown == "best_step  7\n"


def test_another_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    options, _ = called_with(monkeypatch, "finetune", {"best_step": 7}, *TENSORFLOW)
    assert options["backend"] == "tensorflow"


def test_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    options, shown = called_with(
        monkeypatch, "finetune_plan", {"eta_s": 61.0}, "--plan", "--seeds", "2", *TENSORFLOW
    )
    assert options["backend"] == "tensorflow"
    assert (options["seeds"], options["grid"]) == (2, ())
    assert shown == "eta_s  1:01\n"


def test_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    point = SweepPoint({}, (Path("o/seed-0000"),), {}, {})
    made = FinetuneSweep(Path("o"), "accuracy", (point,), 0, Path("o/seed-0000"), {"test": 0.56})
    words = ("--grid", "finetune.batch_size=8,16", "--grid", "finetune.epochs=1,2")
    options, shown = called_with(monkeypatch, "finetune_sweep", made, *words, *TENSORFLOW)
    assert options["backend"] == "tensorflow"
    assert options["grid"] == ["finetune.batch_size=8,16", "finetune.epochs=1,2"]
    *_, paper, chosen = shown.splitlines()
    assert paper == "test accuracy              0.5600  in the paper"
    assert chosen == "chosen by validation accuracy: o/seed-0000"
    _, shown = called_with(monkeypatch, "finetune_sweep", made, "--seeds", "3", "--json")
    assert json.loads(shown)["best_run"] == "o/seed-0000"


def test_examples_that_are_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    called = record(monkeypatch, "finetune", {"best_step": 7})
    ok("finetune", *WORDS, "--on-too-long", "skip")
    assert called.options["overrides"] == ["finetune.on_too_long=skip"]
    assert "on_too_long" not in called.options
