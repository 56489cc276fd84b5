"""The benchmark's side: handle of a contender's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.protocol import Setup

ROOT = Path(__file__).parents[2]


class ContenderEnded(SystemExit):
    """A contender's process ended before it answered; uncaught, it ends the benchmark."""


class Answer(NamedTuple):
    """Reply of a contender to one request."""

    seconds: float
    ids: list[list[int]]


class Remote:
    """Starts a module as a process and sends it requests, one at a time.

    Args:
        python: Interpreter of the contender's environment.
        module: Module that calls `serve` when it is run.
        setup: Configuration of the contender.

    Attributes:
        versions: Versions of the contender's packages.

    Raises:
        ContenderEnded: the process ended, at the start or at a request.
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
        """Generate greedy ids after each prompt."""
        return self._ask({"order": "generate", "prompts": prompts, "new": new}, new)

    def read(self, prompts: list[list[int]]) -> Answer:
        """Prefill; get the top id after each prompt."""
        return self._ask({"order": "read", "prompts": prompts}, 1)

    def cpu_seconds(self) -> float:
        """CPU time of all threads since the start."""
        import psutil  # the environment of TensorFlow lacks it

        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):  # already ended
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
            raise SystemExit(f"{self._name} did not generate {new} ids per prompt")
        return answer

    def _answer(self) -> dict[str, object]:
        line = self._process.stdout.readline()
        if not line.endswith("\n"):  # none, or the beginning of one
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> ContenderEnded:
        self.close()
        status = self._process.returncode
        how = f"exit status {status}; its error is above"
        if status < 0:  # the number of a signal
            how = f"{signal.Signals(-status).name}, {signal.strsignal(-status)}"
        return ContenderEnded(f"the process of {self._name} ended: {how}")


def environment(threads: int) -> dict[str, str]:
    """Environment variables of a contender's process.

    Threads may spin between two steps, which is fastest, but not longer: they would take CPU time
    from the next contender.
    """
    own = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")])),
        "OMP_NUM_THREADS": str(threads),
        "KMP_BLOCKTIME": "10",  # milliseconds; GNU OpenMP spins for about 1 ms by default
        "CUDA_VISIBLE_DEVICES": "",
    }
    return {**os.environ, **own}
