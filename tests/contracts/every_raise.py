"""Fail, naming it, for each `raise` in src/ogpt that the measured tests did not execute.

The rooms of APART have tests, and a coverage file, of their own.

Usage: python tests/contracts/every_raise.py coverage.json [ROOM]
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
APART = ("tf",)
"""Rooms whose packages the ordinary environment lacks."""


def raises(source: str) -> Iterator[int]:
    """The line of each `raise` statement of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise):
            yield node.lineno


def unexecuted(
    package: Path, coverage: dict[str, dict[str, list[int]]], room: str = ""
) -> list[str]:
    """`file:line: source` of each raise that is not among its file's executed lines.

    `coverage` is the "files" part of coverage's JSON, with paths relative to the repository;
    without a room all files count but those of APART.
    """
    missed = []
    for file in sorted(package.rglob("*.py")):
        top = file.relative_to(package).parts[0]
        if top != room if room else top in APART:
            continue
        name = file.relative_to(package.parents[1]).as_posix()
        source = file.read_text("utf-8")
        executed = set(coverage.get(name, {}).get("executed_lines", ()))
        for line in sorted(set(raises(source)) - executed):
            missed.append(f"{name}:{line}: {source.splitlines()[line - 1].strip()}")
    return missed


def main(report: Path, room: str = "") -> int:
    files = json.loads(report.read_text("utf-8"))["files"]
    missed = unexecuted(ROOT / "src" / "ogpt", files, room)
    for line in missed:
        sys.stdout.write(f"no test executes {line}\n")
    sys.stdout.write(f"every raise executed: {'no' if missed else 'yes'}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
