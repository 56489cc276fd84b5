"""Packages import only in the order of pyproject.toml."""

import subprocess
import sys
from pathlib import Path

from tests.contracts.sources import ROOT


def test_import_layers() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
