"""Every benchmark runs at tiny size, as the program that a user starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import decoding
from tests.contracts.sources import ROOT

RESULTS = {  # file names of the committed results
    "training_step",
    "decoding",
    "native_decoding",
    "speculation",
    "tokenising",
    "encoding",
    "readable",
    "multiple_choice",
    "finetuning",
    "start_up",
    "transformers_types",
    "serving",
    "gpu_training_step",
    "gpu_decoding",
}


def run_module(name: str, *options: str) -> None:
    command = [sys.executable, "-m", name, "--smoke", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)  # some twenty processes import PyTorch, perhaps on a busy machine
def test_every_benchmark_runs_at_tiny_size(tmp_path: Path) -> None:
    run_module("benchmarks.run", "--out", str(tmp_path), "--threads", "1")
    written = {file.stem: json.loads(file.read_text("utf-8")) for file in tmp_path.glob("*.json")}
    assert set(written) == RESULTS
    for values in written.values():
        assert all(len(seconds) == 2 for seconds in values["samples"].values())
    assert written["decoding"]["figures"]["equal_ids_float32"] == decoding.smoke_size()[1]
    assert "## Training step" in (tmp_path / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_cost_of_rounding_runs_at_tiny_size(tmp_path: Path) -> None:
    run_module("benchmarks.quantization", "--out", str(tmp_path))
    figures = json.loads((tmp_path / "quantization.json").read_text("utf-8"))["figures"]
    assert len(figures) == 12
    assert abs(figures["outliers, float32"]["perplexity_percent"]) < 0.01
    assert 0 < figures["as trained, int8"]["kl_divergence"] < 0.01
    assert "## The cost of quantization" in (tmp_path / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_soak_runs_at_tiny_size(tmp_path: Path) -> None:
    run_module("benchmarks.serving_soak", "--out", str(tmp_path), "--threads", "1")
    figures = json.loads((tmp_path / "serving_soak.json").read_text("utf-8"))["figures"]
    assert figures["abandoned"]["running"] == figures["abandoned"]["waiting"] == 0
    assert figures["crowd"]["neither"] == figures["slow_readers"]["not_whole"] == 0
    assert figures["crowd"]["answered"] + figures["crowd"]["refused"] == 120
    assert figures["killed"]["cut"] > 0 == figures["killed"]["hanging"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_keys_are_measured_at_tiny_size(tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="Playwright is not installed")
    run_module("benchmarks.keystrokes", "--rounds", "1", "--out", str(tmp_path))
    samples = json.loads((tmp_path / "keystrokes.json").read_text("utf-8"))["samples"]
    assert len(samples) == 16
    assert len(samples["1 line: letters and spaces"]) == len("a deed abed ")
