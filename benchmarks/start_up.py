"""Start-up time of `ogpt --help`, beside Python alone and Python with Typer."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring import Result, Table, arguments, interleave, save, spread, timed

COMMANDS = {
    "ogpt --help": [str(Path(sys.executable).with_name("ogpt")), "--help"],
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import typer'": [sys.executable, "-c", "import typer"],
}


def seconds_of(command: list[str]) -> float:
    """Duration of a process, from start to end."""
    return timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def main() -> None:
    given = arguments(__doc__, 11)
    contenders = {
        name: lambda command=command: seconds_of(command) for name, command in COMMANDS.items()
    }
    for each in contenders.values():
        each()  # fill the page cache
    samples = interleave(contenders, given.rounds)
    rows = [[name, spread(seconds, 3)] for name, seconds in samples.items()]
    table = Table(["command", "seconds, median (lowest to highest)"], rows)
    result = Result("start_up", "Start-up", {}, samples, tables=[table])
    found = statistics.median(samples["ogpt --help"])
    result.target("seconds of `ogpt --help`", found, at_most=0.5)
    save(result, given)


if __name__ == "__main__":
    main()
