"""The contender's side: a process that serves requests from stdin, and sleeps otherwise.

Standard library only. A contender is started as `python -m MODULE SETUP`, with SETUP in JSON. It
answers each request (a line of JSON) with one line. Its first line reports that it is ready.
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
    """Configuration of a contender."""

    variant: str
    """Weight precision, and options of the module."""
    shape: dict[str, int]
    """n_layer, n_head, n_embd, n_positions, vocab_size."""
    threads: int
    folder: Path
    """Folder for model files of this shape, kept between runs."""


class Engine(Protocol):
    """The measured system. All prompts of a call have the same length."""

    def generate(self, prompts: list[list[int]], new: int) -> list[list[int]]:
        """Generate `new` greedy ids per prompt, without stopping early."""
        ...

    def read(self, prompts: list[list[int]]) -> list[int]:
        """Prefill; return the top id after each prompt."""
        ...


def serve(packages: tuple[str, ...], open_engine: Callable[[Setup], Engine]) -> None:
    """Open the engine of the command line and serve requests until stdin ends."""
    given = json.loads(sys.argv[1])
    setup = Setup(**{**given, "folder": Path(given["folder"])})
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # prints of libraries must not mix with answers

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
