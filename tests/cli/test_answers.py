"""Facts on stdout, for people or as one JSON object."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ogpt.cli.answers import answer


@dataclass
class Inner:
    loss: float = 2.5


@dataclass
class Facts:
    out: Path
    valid: Inner
    steps: int = 3


def test_dataclass_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    answer(Facts(Path("runs/a"), Inner()), as_json=False)
    assert capsys.readouterr().out == "out    runs/a\nsteps  3\n\nvalid\n  loss  2.5\n"


def test_dataclass_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    answer(Facts(Path("runs/a"), Inner(np.float32(2.5))), as_json=True)  # type: ignore[arg-type]  # numpy's numbers come too
    out = capsys.readouterr().out
    assert json.loads(out) == {"out": "runs/a", "valid": {"loss": 2.5}, "steps": 3}
    assert out.count("\n") == 1


def test_mapping(capsys: pytest.CaptureFixture[str]) -> None:
    answer({"a": 1}, as_json=False)
    assert capsys.readouterr().out == "a  1\n"
