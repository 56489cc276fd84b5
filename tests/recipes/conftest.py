"""A run as training leaves it, small, and Python documentation of a few kilobytes."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from ogpt.config.loader import load_settings, to_toml


def events(steps: int = 200) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"event": "progress", "task": "x", "done": 1, "total": 1}]
    for step in range(10, steps + 1, 10):
        loss = 4 + 4 * math.exp(-step / 60)
        speed = {"tokens": 1000, "tokens_per_s": 2000.0 + step, "mfu": 0.25}
        found.append({"event": "train", "step": step, "loss": loss, "epoch": step / 100, **speed})
        if step % 50 == 0:
            found.append({"event": "eval", "step": step, "loss": loss + 0.1})
    return found


def write_events(run: Path, lines: list[dict[str, Any]]) -> None:
    run.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(event) + "\n" for event in lines)
    (run / "metrics.jsonl").write_text(text, "utf-8")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    write_events(folder, events())
    (folder / "config.toml").write_text(to_toml(load_settings("tiny"), "made by a <test>"), "utf-8")
    return folder


def write_library(folder: Path) -> None:
    """Python files whose docstrings are sentences that a small model can learn a little of."""
    draw = random.Random(0)
    subjects = ["the function", "this method", "the module", "a class", "the parser"]
    verbs = ["returns", "reads", "writes", "raises", "keeps"]
    objects = ["a string", "the value", "an error", "the list", "a number of bytes"]
    folder.mkdir(parents=True)
    for number in range(40):
        sentences = [
            f"{draw.choice(subjects)} {draw.choice(verbs)} {draw.choice(objects)}."
            for _ in range(30)
        ]
        text = f'"""Module {number}. {" ".join(sentences)}"""\n'
        (folder / f"module_{number:02}.py").write_text(text, "utf-8")
    for package, verb in (("asyncio", "awaits"), ("email", "sends"), ("http", "requests")):
        (folder / package).mkdir()
        functions = [
            f'def f{number}():\n    """{draw.choice(subjects)} {verb} {draw.choice(objects)} '
            f'number {number}."""\n'
            for number in range(30)
        ]
        (folder / package / "functions.py").write_text("\n".join(functions), "utf-8")
