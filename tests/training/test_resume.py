"""A run that is killed and resumed, twice, ends with the same bits as one that was left alone."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.corpus import write_text

CHILD = Path(__file__).with_name("resume_child.py")


def start(out: Path, text: Path, compiled: str, threads: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, str(CHILD), str(out), str(text), compiled, threads]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE)


def events(out: Path, kind: str) -> list[dict[str, float]]:
    file = out / "metrics.jsonl"
    if not file.exists():
        return []
    lines = file.read_text("utf-8").split("\n")[:-1]  # whole lines only
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def finish(child: subprocess.Popen[bytes]) -> None:
    with child:
        _, errors = child.communicate()
    assert child.returncode == 0, errors.decode()[-2000:]


def kill_at(child: subprocess.Popen[bytes], out: Path, step: int) -> int:
    """SIGKILL the child once it has reported `step`; return the last step it reported."""
    with child:
        while not any(event["step"] >= step for event in events(out, "train")):
            assert child.poll() is None, child.communicate()[1].decode()[-2000:]
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
    return int(events(out, "train")[-1]["step"])


def trace(out: Path) -> list[tuple[float, ...]]:
    train = [(e["step"], e["loss"], e["grad_norm"]) for e in events(out, "train")]
    return train + [(e["step"], e["loss"]) for e in events(out, "eval")]


@pytest.mark.parametrize(
    ("compiled", "threads"),
    [
        ("off", "1"),
        pytest.param("on", "2", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
def test_killed_twice_equals_left_alone(compiled: str, threads: str, tmp_path: Path) -> None:
    text = tmp_path / "text.jsonl"
    write_text(text)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    finish(start(whole, text, compiled, threads))
    expected = trace(whole)
    steps = int(events(whole, "train")[-1]["step"])
    epochs = events(whole, "train")[-1]["epoch"]
    assert steps > 20
    assert epochs > 2

    draw = random.Random(f"{compiled}, {threads} threads")  # any two steps will do
    first, second = sorted(draw.sample(range(5, steps - 1), 2))
    reached = kill_at(start(broken, text, compiled, threads), broken, first)
    if reached < steps:
        second = max(second, reached)
        kill_at(start(broken, text, compiled, threads), broken, second)
    finish(start(broken, text, compiled, threads))

    assert trace(broken) == expected, f"killed at {first} and {second}"
    facts = json.loads((whole / "run.json").read_text("utf-8"))
    for name in {facts["best"], facts["last"]}:
        for file in ("model.safetensors", "resume/optimizer.safetensors"):
            mine = (broken / "checkpoints" / name / file).read_bytes()
            assert mine == (whole / "checkpoints" / name / file).read_bytes()
