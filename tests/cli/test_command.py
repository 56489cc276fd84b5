"""Errors become exit codes and two lines on stderr; notices are printed, or refused by --strict."""

import runpy
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import ogpt
from ogpt import errors
from ogpt.cli.command import verdict
from ogpt.cli.main import GROUPS, app
from ogpt.generation.choosing.sampling_settings import SAMPLING
from ogpt.generation.choosing.settings import CONSTRAINTS, RUNNING, SEARCHES
from ogpt.notices import tell

Raiser = Callable[..., Any]


@pytest.fixture
def doctor_does(monkeypatch: pytest.MonkeyPatch) -> Callable[[Raiser], None]:
    """Put something else in place of ogpt.doctor, the command without arguments."""

    def put(body: Raiser) -> None:
        monkeypatch.setattr(ogpt, "doctor", body, raising=False)

    return put


def raising(error: BaseException) -> Raiser:
    def body() -> Any:
        raise error

    return body


EMPTY_PATHS = {
    "--out": ["train-tokenizer --data a.txt --out", "pretrain --data a.txt --out", "demo --out"],
    "--tokenizer": ["prepare --data a.txt --out s --tokenizer"],
    "--init": ["pretrain --data a.txt --out r --init"],
    "--config": ["pretrain --data a.txt --out r --config"],
    "model": ["generate", "score", "info", "evaluate --data a.txt", "quantize --out q"],
}


@pytest.mark.parametrize(
    ("name", "words"), [(name, words) for name, many in EMPTY_PATHS.items() for words in many]
)
def test_an_empty_path_is_refused(name: str, words: str) -> None:
    """A shell variable that is not set must not mean the current folder."""
    result = CliRunner().invoke(app, [*words.split(), "", *["text"] * (words == "score")])
    assert result.exit_code == 2
    assert "is ''; allowed: a path" in result.stderr
    assert name.strip("-") in result.stderr


def test_other_empty_words_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "it is no model and no run" in CliRunner().invoke(app, ["generate", ".", ""]).stderr


CODES = [
    (errors.ConfigError, 2),
    (errors.UnknownSetting, 2),
    (errors.SamplingError, 2),
    (errors.DataError, 1),
    (errors.OutputExists, 1),
    (errors.TrainingDiverged, 1),
    (errors.BackendMissing, 1),
    (errors.StrictNotice, 1),
    (errors.TrainingInterrupted, 130),
]


@pytest.mark.parametrize(("kind", "code"), CODES)
def test_own_errors(
    doctor_does: Callable[[Raiser], None], kind: type[errors.OgptError], code: int
) -> None:
    doctor_does(raising(kind("n is 3; allowed: 4", hint="set n to 4")))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == code
    assert result.stderr == "error: n is 3; allowed: 4\nhint: set n to 4\n"
    assert result.stdout == ""


def test_ctrl_c(doctor_does: Callable[[Raiser], None]) -> None:
    doctor_does(raising(KeyboardInterrupt()))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 130
    assert result.stderr.startswith("error: interrupted\nhint: ")


def test_unexpected_error_is_one_clear_line(doctor_does: Callable[[Raiser], None]) -> None:
    doctor_does(raising(KeyError("wte")))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first == "error: unexpected KeyError: 'wte'"
    assert "--debug" in second


@pytest.mark.parametrize("error", [KeyError("wte"), errors.DataError("bad", hint="mend it")])
def test_debug_shows_the_traceback(doctor_does: Callable[[Raiser], None], error: Exception) -> None:
    doctor_does(raising(error))
    result = CliRunner().invoke(app, ["--debug", "doctor"])
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "error: " in result.stderr


def test_typer_answers_pass_through(doctor_does: Callable[[Raiser], None]) -> None:
    doctor_does(raising(typer.Exit(7)))
    result = CliRunner().invoke(app, ["doctor"])
    assert (result.exit_code, result.stderr) == (7, "")


def test_broken_pipe_is_quiet(doctor_does: Callable[[Raiser], None]) -> None:
    doctor_does(raising(BrokenPipeError(32, "Broken pipe")))
    result = CliRunner().invoke(app, ["doctor"])
    assert (result.exit_code, result.stderr) == (1, "")


def noticed() -> list[Any]:
    tell("prompt-unknown", count=1, total=2)
    return []


def test_notices_are_printed(doctor_does: Callable[[Raiser], None]) -> None:
    doctor_does(noticed)
    for flags in ([], ["--quiet"]):
        result = CliRunner().invoke(app, [*flags, "doctor"])
        assert result.exit_code == 0
        assert result.stderr.startswith("notice: 1 of 2 prompt tokens")


def test_strict_refuses_notices(doctor_does: Callable[[Raiser], None]) -> None:
    doctor_does(noticed)
    result = CliRunner().invoke(app, ["--strict", "doctor"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: 1 of 2 prompt tokens")
    assert "--strict" in result.stderr.splitlines()[1]


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"ogpt {ogpt.__version__}\n")


def test_no_command_shows_help() -> None:
    result = CliRunner().invoke(app, [])
    assert result.exit_code == 2
    assert "train-tokenizer" in result.output


def test_unknown_command_names_the_nearest() -> None:
    result = CliRunner().invoke(app, ["pretrian"])
    assert result.exit_code == 2
    assert "pretrain" in result.stderr


def test_commands_stay_small() -> None:
    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]  # a group
        own = [p for p in command.params if p.param_type_name == "option"]
        panels = Counter(option.rich_help_panel for option in own)
        assert max(panels.values()) <= 15, name
        assert command.help, name


def test_commands_come_in_groups_and_none_is_cut_short() -> None:
    lines = CliRunner().invoke(app, ["--help"]).output.splitlines()
    headings = [line.rstrip(":") for line in lines if line and not line.startswith(" ")]
    assert headings[1:] == ["Options", *GROUPS]
    for heading, bodies in GROUPS.items():
        at = lines.index(f"{heading}:") + 1
        for line, body in zip(lines[at : at + len(bodies)], bodies, strict=True):
            name = body.__name__.replace("_", "-")
            assert line.split() == [name, *str(body.__doc__).split()]
            assert len(line) <= 80


def test_help_has_a_heading_for_each_panel() -> None:
    lines = CliRunner().invoke(app, ["generate", "--help"]).output.splitlines()
    headings = [line for line in lines if line and not line.startswith(" ")]
    panels = [SAMPLING, CONSTRAINTS, SEARCHES, RUNNING]
    assert headings[1:] == ["Arguments:", "Options:", *(f"{panel}:" for panel in panels)]
    sampling = lines[lines.index(f"{SAMPLING}:") : lines.index(f"{CONSTRAINTS}:")]
    [top_p] = [line for line in lines if line.startswith("  --top-p")]
    assert top_p in sampling
    assert "Nucleus sampling: keep the smallest set" in top_p


def test_module_and_entry_point_run_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ogpt", "--version"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("ogpt", run_name="__main__")
    assert end.value.code == 0


def test_out_of_memory() -> None:
    code, message, hint = verdict(MemoryError("10 GiB"))
    assert (code, message) == (1, "out of memory: 10 GiB")
    assert "smaller model" in hint
