"""The tests keep their own rules."""

import sys
from pathlib import Path

from tests.contracts.sources import ROOT


def test_only_the_package_is_on_the_import_path() -> None:
    """`import setup`, `import run` and the like fail, so no test passes by such an accident."""
    path = [Path(entry).resolve() for entry in sys.path]  # "" stands for the current folder
    for folder in (ROOT, ROOT / "tests", ROOT / "benchmarks"):
        assert folder not in path
