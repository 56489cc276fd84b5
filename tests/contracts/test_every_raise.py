"""The check that every raise is executed finds what it should (planted faults)."""

import json
from pathlib import Path

import pytest

from tests.contracts import every_raise

SOURCE = '''"""A module."""

def check(value):
    if value < 0:
        raise ValueError(
            "negative"
        )
    try:
        return 1 / value
    except ZeroDivisionError:
        raise
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "src" / "ogpt"
    package.mkdir(parents=True)
    (package / "checks.py").write_text(SOURCE)
    return package


def test_raises_are_found() -> None:
    assert sorted(every_raise.raises(SOURCE)) == [5, 11]


def test_all_executed(package: Path) -> None:
    coverage = {"src/ogpt/checks.py": {"executed_lines": [1, 3, 4, 5, 8, 9, 10, 11]}}
    assert every_raise.unexecuted(package, coverage) == []


def test_each_one_missed_is_named(package: Path) -> None:
    coverage = {"src/ogpt/checks.py": {"executed_lines": [1, 3, 4, 5, 8, 9]}}
    assert every_raise.unexecuted(package, coverage) == ["src/ogpt/checks.py:11: raise"]


def test_a_file_never_measured_is_missed(package: Path) -> None:
    assert len(every_raise.unexecuted(package, {})) == 2


def test_a_room_apart_is_measured_apart(package: Path) -> None:
    (package / "tf").mkdir()
    (package / "tf" / "inputs.py").write_text(SOURCE)
    coverage = {"src/ogpt/checks.py": {"executed_lines": [5, 11]}}
    assert every_raise.unexecuted(package, coverage) == []
    assert len(every_raise.unexecuted(package, coverage, "tf")) == 2


@pytest.mark.parametrize(("lines", "status", "verdict"), [([5, 11], 0, "yes"), ([5], 1, "no")])
def test_exit_status(
    package: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lines: list[int],
    status: int,
    verdict: str,
) -> None:
    report = package.parents[1] / "coverage.json"
    report.write_text(json.dumps({"files": {"src/ogpt/checks.py": {"executed_lines": lines}}}))
    monkeypatch.setattr(every_raise, "ROOT", package.parents[1])
    assert every_raise.main(report) == status
    assert capsys.readouterr().out.endswith(f"every raise executed: {verdict}\n")
