"""The rooms import in the order of the house, and the files stay readable."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.sources import PACKAGE, ROOT, modules

LONGEST_FILE = 400


def test_import_layers() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("file", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_file_length(file: Path) -> None:
    assert len(file.read_text("utf-8").splitlines()) <= LONGEST_FILE
