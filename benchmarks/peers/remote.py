"""A contender's process, seen from outside."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.peers.protocol import Setup

ROOT = Path(__file__).parents[2]


class Answer(NamedTuple):
    """What a contender says after an order."""

    seconds: float
    ids: list[list[int]]


class Remote:
    """Starts a module as a process and gives it orders, one at a time.

    Args:
        python: Interpreter of the contender's environment.
        module: Whose `__main__` serves.
        setup: Told to it.

    Attributes:
        versions: Of the packages that it names.
    """

    def __init__(self, python: Path, module: str, setup: Setup) -> None:
        self._name = f"{module} {setup.variant}"
        self._process = subprocess.Popen(
            [str(python), "-m", module, json.dumps({**asdict(setup), "folder": str(setup.folder)})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(setup.threads),
        )
        self.versions: dict[str, str] = self._answer()["versions"]

    def generate(self, prompts: list[list[int]], new: int) -> Answer:
        """Greedy ids after each prompt."""
        return self._ask({"order": "generate", "prompts": prompts, "new": new}, new)

    def read(self, prompts: list[list[int]]) -> Answer:
        """The most likely id after each prompt."""
        return self._ask({"order": "read", "prompts": prompts}, 1)

    def cpu_seconds(self) -> float:
        """Of all its threads since it started."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def _ask(self, order: dict[str, object], new: int) -> Answer:
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        answer = Answer(**self._answer())
        wanted = [new] * len(order["prompts"])
        if [len(ids) for ids in answer.ids] != wanted:
            raise SystemExit(f"{self._name} did not write {new} ids for each prompt")
        return answer

    def _answer(self) -> dict[str, object]:
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> SystemExit:
        self.close()
        return SystemExit(f"the process of {self._name} ended; its error stands above")


def environment(threads: int) -> dict[str, str]:
    """Variables of a contender's process.

    Threads may spin for the moment that lies between two steps, as is best for their speed; not
    for longer, as they would take the cores of the next in turn.
    """
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "OMP_NUM_THREADS": str(threads),
        "KMP_BLOCKTIME": "10",  # milliseconds; GNU's OpenMP spins for about one by itself
        "CUDA_VISIBLE_DEVICES": "",
    }
    return {**os.environ, **own}
