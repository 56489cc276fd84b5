"""Every test that docs/fidelity.md names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    line for line in (ROOT / "docs/fidelity.md").read_text("utf-8").splitlines() if "| `" in line
]
NAMED = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_the_tests_of_a_row_are_there(row: str) -> None:
    cells = row.strip("|").split(" | ")
    assert len(cells) == 6, "six columns"
    file = ""
    found = NAMED.findall(cells[-1])
    assert found, "no test is named"
    for path, name in found:
        file = path or file  # `::name` is of the file named before it
        text = (ROOT / file).read_text("utf-8")
        assert not name or re.search(rf"def {name}\b", text), f"{file} has no {name}"
