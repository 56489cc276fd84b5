"""The project's files, as the contract tests read them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import ogpt

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "ogpt"


HAS_TENSORFLOW = find_spec("tensorflow") is not None
"""Whether this is the environment of `make test-tf`."""


def loadable_names() -> list[str]:
    """The public names that this environment has the packages for."""
    return [name for name in ogpt.__all__ if HAS_TENSORFLOW or not name.startswith("TF")]


def modules() -> list[Path]:
    """Every Python file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def loadable_modules() -> list[Path]:
    """Every Python file of the package that this environment has the packages for."""
    apart = PACKAGE / "tf"
    return [path for path in modules() if HAS_TENSORFLOW or apart not in path.parents]


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of every text file of the project."""
    folders = ("src", "tests", "docs", "benchmarks", "examples", ".ci", ".github")
    files = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in folders:
        found = (ROOT / folder).rglob("*")
        files += [path for path in found if path.is_file() and ".hypothesis" not in path.parts]
    for path in sorted(files):
        if "egg-info" in str(path) or "__pycache__" in path.parts or path.name.startswith(".cov"):
            continue
        try:
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # a picture or an archive


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    """Every call of `name(...)` or `something.name(...)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if name in (getattr(called, "id", None), getattr(called, "attr", None)):
                yield node


def first_text(call: ast.Call) -> str | None:
    """The first argument of a call, if it is a string literal."""
    match call.args:
        case [ast.Constant(value=str(text)), *_]:
            return text
    return None
