"""Paths and links in the documentation exist; the README's command table matches `ogpt --help`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import typer.main

import ogpt
from ogpt.cli.main import app
from tests.contracts.sources import PACKAGE, ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
FOLDERS = "|".join(sorted(entry.name for entry in PACKAGE.iterdir() if entry.is_dir()))
PATH = re.compile(rf"(?<![\w/.-])((?:src|ogpt|tests|docs|benchmarks|{FOLDERS})/[\w/.-]+\.\w+)")
"""A file of the project: from its root, or from the package's folder, as `model/heads.py`."""


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def paths(text: str) -> set[str]:
    return set(PATH.findall(text))


def exists(path: str) -> bool:
    return any((start / path).exists() for start in (ROOT, ROOT / "src", PACKAGE))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_in_a_page_exists(page: Path) -> None:
    assert [path for path in sorted(paths(page.read_text("utf-8"))) if not exists(path)] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_paths_are_found() -> None:
    text = "`model/gone.py`, src/ogpt/gone.py and tests/model/test_gone.py, not a/model/no.py"
    assert paths(text) == {"model/gone.py", "src/ogpt/gone.py", "tests/model/test_gone.py"}
    assert not any(map(exists, paths(text)))
    assert exists("model/transformer.py")


def test_the_source_layout_lists_every_package() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    folders = [entry.name for entry in PACKAGE.iterdir() if (entry / "__init__.py").exists()]
    assert sorted(re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)) == sorted(folders)


def command_table() -> dict[str, dict[str, str]]:
    """Each command in the README's table: its functions, each with its file in the package."""
    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| `ogpt ([\w-]+)` \| [^|]+ \| ([^|]+) \| ([^|]+) \|$", text, re.M)
    table = {}
    for command, *cells in rows:
        functions, files = (re.findall(r"`([^`]+)`", cell) for cell in cells)
        if len(files) == 1:
            files *= len(functions)  # one file for all
        table[command] = dict(zip(functions, files, strict=True))
    return table


def test_every_command_is_in_the_table() -> None:
    root = typer.main.get_command(app)
    assert sorted(command_table()) == sorted(root.commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", command_table())
def test_a_command_maps_to_its_functions_and_files(command: str) -> None:
    functions = command_table()[command]
    assert functions
    for function, file in functions.items():
        source = inspect.getsourcefile(getattr(ogpt, function.removeprefix("ogpt.")))
        assert source is not None
        assert Path(source).relative_to(PACKAGE).as_posix() == file
