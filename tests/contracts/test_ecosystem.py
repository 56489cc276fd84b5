"""The table of other libraries in the guide is that of the tests which make it."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.contracts.sources import ROOT
from tests.ecosystem.table import GUIDE, replaced, table

FOLDER = ROOT / "tests" / "ecosystem"


def what_is_run(file: Path) -> set[str]:
    """`library: what` of each test of a file."""
    tree = ast.parse(file.read_text("utf-8"))
    (library,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LIBRARY"
    )
    return {
        f"{library}: {(ast.get_docstring(node) or '').splitlines()[0]}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_the_guide_shows_what_was_run() -> None:
    shown = {}
    for line in (
        GUIDE.read_text("utf-8").partition("| library | what was run |")[2].splitlines()[2:]
    ):
        if not line:
            break
        library, what, *results = (cell.strip() for cell in line.strip("|").split("|"))
        shown[f"{library.split()[0]}: {what}"] = results
    run = set().union(*map(what_is_run, FOLDER.glob("test_*.py")))
    assert set(shown) == run
    versions = [file.stem.partition("-")[2] for file in FOLDER.glob("transformers-*.txt")]
    assert set(map(tuple, shown.values())) == {("passed",) * len(versions)}
    assert all(f"transformers {version}" in GUIDE.read_text("utf-8") for version in versions)


def test_the_table_is_replaced_alone() -> None:
    row = {"version": "1.0", "result": "passed"}
    made = table({"4": {"peft: LoRA.": row}, "5": {"peft: LoRA.": row | {"result": "failed"}}})
    assert made.splitlines()[2] == "| peft 1.0 | LoRA. | passed | failed |"
    guide = f"before\n\n{table({'4': {}, '5': {}})}\nafter\n"
    assert replaced(guide, made) == f"before\n\n{made}\nafter\n"
    assert "| not run |" in table({"4": {"peft: LoRA.": row}, "5": {}})
