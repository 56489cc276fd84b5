"""Write the results of `make test-ecosystem` into docs/guides/from-transformers.md.

Usage: python -m tests.ecosystem.table
"""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "from-transformers.md"
START = "| library | what was run |"


def table(results: dict[str, dict[str, dict[str, str]]]) -> str:
    """The table of the results of each version of transformers, by `library: what was run`."""
    versions = sorted(results)
    lines = [
        f"{START} " + " | ".join(f"transformers {version}" for version in versions) + " |",
        "| --- | --- |" + " --- |" * len(versions),
    ]
    rows = sorted({name for rows in results.values() for name in rows})
    for name in rows:
        library, _, what = name.partition(": ")
        found = [results[version].get(name) for version in versions]
        release = next(row["version"] for row in found if row)
        label = library if library == "transformers" else f"{library} {release}"
        outcomes = " | ".join(row["result"] if row else "not run" for row in found)
        lines.append(f"| {label} | {what} | {outcomes} |")
    return "\n".join(lines) + "\n"


def replaced(guide: str, made: str) -> str:
    """The text of the guide with another table."""
    before, _, rest = guide.partition(START)
    return before + made + "\n" + rest.partition("\n\n")[2]


def main() -> None:
    files = sorted((ROOT / "build" / "ecosystem").glob("*.json"))
    results = {file.stem: json.loads(file.read_text("utf-8")) for file in files}
    guide = GUIDE.read_text("utf-8")
    GUIDE.write_text(replaced(guide, table(results)), "utf-8")


if __name__ == "__main__":
    main()
