"""`make bench`: run the benchmarks one after another and write the page of their results.

    python -m benchmarks.run [--only NAME] [--rounds N] [--threads N] [--out DIR] [--smoke]

Each benchmark is a program of its own: `python -m benchmarks.decoding --help`. A smoke run does not
touch the committed results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measuring import RESULTS, markdown

NAMES = (
    "training_step",
    "decoding",
    "native_decoding",
    "speculation",
    "tokenizing",
    "encoding",
    "readable",
    "multiple_choice",
    "finetuning",
    "start_up",
    "transformers_types",
    "serving",
    "gpu",
)
PAGE = "README.md"


def write_page(folder: Path) -> None:
    """Write all results of the folder as one Markdown page."""
    parts = [
        "# Results",
        "",
        "Written by `make bench` from the JSON files beside this page, which hold every raw sample",
        "and pair. [docs/benchmarks.md](../../docs/benchmarks.md) explains how to read them.",
        "",
    ]
    for file in sorted(folder.glob("*.json")):
        parts.append(markdown(json.loads(file.read_text("utf-8"))))
    (folder / PAGE).write_text("\n".join(parts), "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="Only check that all run: tiny sizes.")
    parser.add_argument("--only", choices=NAMES, action="append", help="Run this one; repeatable.")
    parser.add_argument("--rounds", type=int, help="Rounds; each contender runs once per round.")
    parser.add_argument("--threads", type=int, help="CPU threads of each contender.")
    parser.add_argument("--out", type=Path, help="Folder of the results (benchmarks/results).")
    given = parser.parse_args()
    if given.smoke and not given.out:
        given.out = Path(tempfile.mkdtemp(prefix="ogpt-smoke-"))
    options = ["--smoke"] if given.smoke else []
    for option in ("rounds", "threads", "out"):
        if getattr(given, option):
            options += [f"--{option}", str(getattr(given, option))]
    failed = []
    for name in given.only or NAMES:
        command = [sys.executable, "-m", f"benchmarks.{name}", *options]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    write_page(given.out or RESULTS)
    for name in failed:
        print(f"benchmark {name} failed; its error is above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
