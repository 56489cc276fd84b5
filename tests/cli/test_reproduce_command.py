"""`ogpt reproduce`: the function that each combination of options calls, and with what."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from ogpt.evaluation.task_scores import TaskScore
from ogpt.workflows.reproduce_plan import ReproducePlan
from tests.cli.stand_ins import ok, record
from tests.evaluation.reproduced import MADE, MIDDLE, RACE, scored

WORDS = ["table-3", "--data", "d", "--set", "finetune.epochs=1", "--seeds", "2"]


def test_a_score_that_is_not_defined(monkeypatch: pytest.MonkeyPatch) -> None:
    nan = TaskScore(math.nan, math.nan, math.nan)
    made = replace(MADE, scores=(scored(MIDDLE, {**RACE, "test/middle": nan}),))
    record(monkeypatch, "reproduce", made)
    shown = ok("reproduce", *WORDS).stdout.splitlines()
    assert " ".join(shown[2].split()) == "RACE-m accuracy 62.9 - not defined (test set)"


def test_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    called = record(monkeypatch, "reproduce", MADE)
    shown = ok("reproduce", *WORDS, "--lstm", "l", "--run", "r").stdout.splitlines()
    assert called.arguments == ("table-3",)
    assert called.options == {
        "data": Path("d"),
        "model": Path("openai-community/openai-gpt"),
        "out": Path("runs/paper"),
        "seeds": 2,
        "lstm": Path("l"),
        "run": Path("r"),
        "overrides": ["finetune.epochs=1"],
    }
    assert shown[0] == "Table 3"
    assert " ".join(shown[2].split()) == "RACE-m accuracy 62.9 60.0 50.0 to 70.0 (test set)"
    assert shown[3:] == [
        "missing: Story Cloze, from https://a.b",
        "Full: make one",
        "report: None",
    ]
    made = json.loads(ok("reproduce", *WORDS, "--json").stdout)
    assert made["scores"][0]["ours"] == 60.0


def test_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = ReproducePlan(2, 0, 61.0, 1.0, 1, 1, "cpu", {"RTE": "o (terms: t)"}, {}, {"RACE": "x"})
    called = record(monkeypatch, "reproduce_plan", plan)
    shown = ok("reproduce", *WORDS, "--plan").stdout
    assert called.options["seeds"] == 2
    for line in ("eta_s         1:01", "missing\n  RTE  o (terms: t)", "cells\n  RACE  x"):
        assert line in shown
