"""What the tests of commands share: stand-ins for public functions, and a small run."""

from typing import Any

import pytest
from typer.testing import CliRunner

import ogpt
from ogpt.cli.main import app

SMALL = [
    word
    for setting in (
        "model.n_layer=1",
        "model.n_embd=16",
        "model.n_head=2",
        "model.n_positions=16",
        "training.max_steps=2",
        "training.warmup_steps=1",
        "training.batch_size=4",
        "training.micro_batch_size=4",
        "training.threads=1",
        "training.compile=off",
    )
    for word in ("--set", setting)
]


class Recorder:
    """Stands in for a public function and keeps what it was called with."""

    def __init__(self, result: Any = None) -> None:
        self.result = {} if result is None else result
        self.arguments: tuple[Any, ...] = ()
        self.options: dict[str, Any] = {}

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.arguments, self.options = arguments, options
        options.pop("reporter", lambda kind, **fields: None)("message", text="at work")
        return self.result


def record(monkeypatch: pytest.MonkeyPatch, name: str, result: Any = None) -> Recorder:
    recorder = Recorder(result)
    monkeypatch.setitem(vars(ogpt), name, recorder)
    return recorder


def ok(*words: str) -> Any:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result
