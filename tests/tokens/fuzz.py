"""Many more examples of the properties in any_text.py than a test can run.

python -m tests.tokens.fuzz --examples 100000 --out docs/results/tokenizer-fuzz.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from tests.tokens.any_text import PROPERTIES, SEED, search

PACKAGES = ("spacy", "ftfy", "tokenizers", "hypothesis")


def failures(name: str, examples: int, seed: int) -> list[str]:
    """The smallest counter-example that was found, as hypothesis reports it."""
    try:
        search(name, examples, seed)
    except Exception as error:  # noqa: BLE001  # whatever goes wrong is what is looked for
        return ["\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])]
    return []


def run(examples: int, seed: int) -> dict[str, Any]:
    """Let every property have its share of the examples."""
    begin = time.perf_counter()
    found: dict[str, Any] = {}
    for name, prop in PROPERTIES.items():
        share = examples * prop.share // 100
        found[name] = {"examples": share, "failures": failures(name, share, seed)}
        sys.stderr.write(f"{name}: {share} examples, {len(found[name]['failures'])} failures\n")
    return {
        "examples": sum(result["examples"] for result in found.values()),
        "seed": seed,
        "versions": {"python": python_version(), **{name: version(name) for name in PACKAGES}},
        "seconds": round(time.perf_counter() - begin, 1),
        "failures": sum(len(result["failures"]) for result in found.values()),
        "properties": found,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, help="a JSON file; without it the result is shown")
    given = parser.parse_args()
    result = run(given.examples, given.seed)
    text = json.dumps(result, indent=2) + "\n"
    if given.out:
        given.out.write_text(text, "utf-8")
    else:
        sys.stdout.write(text)
    return bool(result["failures"])


if __name__ == "__main__":
    sys.exit(main())
