"""Collected where PEFT is installed: in the environments of `make test-ecosystem`.

Each test is a row of the table in docs/guides/from-transformers.md: its module names the library,
its docstring says what was run.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

collect_ignore_glob = [] if find_spec("peft") else ["test_*.py"]

ROWS: dict[str, dict[str, str]] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if report.when == "call" or report.failed:
        library = item.module.LIBRARY  # type: ignore[attr-defined]  # each module of this folder has one
        what = item.function.__doc__.strip().splitlines()[0]  # type: ignore[attr-defined]  # a function
        row = ROWS.setdefault(
            f"{library}: {what}",
            {"version": importlib.metadata.version(library), "result": "passed"},
        )
        if not report.passed:
            row["result"] = report.outcome
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    version = importlib.metadata.version("transformers")
    folder = Path(session.config.rootpath, "build", "ecosystem")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{version}.json").write_text(json.dumps(ROWS, indent=2), "utf-8")
