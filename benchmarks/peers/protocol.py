"""The side of a contender: one process that does what lines on stdin say, and sleeps otherwise.

Standard library only. A contender is started as `python FILE SETUP`, SETUP being JSON, and answers
each order (a line of JSON) with one line. The first line, unasked, says that it is ready.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Setup:
    """What a contender is to be."""

    variant: str
    """Precision of the weights, and whatever else the file knows."""
    shape: dict[str, int]
    """n_layer, n_head, n_embd, n_positions, vocab_size."""
    threads: int
    folder: Path
    """Where model files may be kept from run to run; it belongs to this shape."""


class Engine(Protocol):
    """What is measured. All prompts of a call have one length."""

    def generate(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """`new` greedy ids for each prompt, whatever they are."""
        ...

    def read(self, prompts: list[list[int]]) -> list[int]:
        """The most likely id after each prompt."""
        ...


def serve(packages: tuple[str, ...], open_engine: Callable[[Setup], Engine]) -> None:
    """Open the engine that the command line asks for and follow orders until stdin ends."""
    given = json.loads(sys.argv[1])
    setup = Setup(**{**given, "folder": Path(given["folder"])})
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no answer

    def answer(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=answers, flush=True)

    engine = open_engine(setup)
    answer({"versions": {name: metadata.version(name) for name in packages}})
    for line in sys.stdin:
        order = json.loads(line)
        begin = time.perf_counter()
        if order["order"] == "generate":
            ids = engine.generate(order["prompts"], order["new"])
        else:
            ids = [[token] for token in engine.read(order["prompts"])]
        answer({"seconds": time.perf_counter() - begin, "ids": ids})
