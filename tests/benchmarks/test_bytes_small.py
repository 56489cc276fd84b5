"""The program that compares byte-level tokens with words runs at tiny size."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.sources import ROOT


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_it_runs_at_tiny_size_and_resumes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.bytes_small", "--smoke", "--steps", "2"]
    command += ["--set", "model.n_layer=1", "--set", "model.n_embd=16", "--set", "model.n_head=2"]
    command += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "page.md")]
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.md").read_text("utf-8")
    assert "case and line breaks not coded" in page
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert [row[0] for row in rows] == ["| `bert`", "| `bytes`", "| `bytes-of-bert`"]
    assert all(float(row[1]) > 0 for row in rows)
