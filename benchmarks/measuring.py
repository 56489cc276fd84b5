"""What the benchmarks share: interleaved rounds, ratios of pairs, floors, facts, results.

Speed is compared within one run: contenders take turns, round by round, so that a slow spell of the
machine hits all of them, and the ratio of two is the median of its ratios in each round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from ogpt import processor

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("ogpt", "torch", "transformers", "tokenizers", "numpy", "typer")
BF16 = ("amx_bf16", "avx512_bf16", "bf16")

T = TypeVar("T")

# ---- numbers


def ratios(faster_seconds: Sequence[float], slower_seconds: Sequence[float]) -> list[float]:
    """How many times as fast the first is as the second, in each round."""
    return [slow / fast for fast, slow in zip(faster_seconds, slower_seconds, strict=True)]


def rates(work: float, seconds: Sequence[float]) -> list[float]:
    """Work a second in each round."""
    return [work / second for second in seconds]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and from lowest to highest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def floor_seconds(work: float, work_per_s: float) -> float:
    """Seconds below which `work` cannot go on a machine that does `work_per_s` at its best."""
    return work / work_per_s


def agreeing(left: Sequence[int], right: Sequence[int]) -> int:
    """How many items are equal before the first that differs."""
    pairs = enumerate(zip(left, right, strict=True))
    return next((place for place, (one, other) in pairs if one != other), len(left))


# ---- measuring


def interleave(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call each contender once a round, in turn; what they return, by contender."""
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, contender in contenders.items():
            found[name].append(contender())
    return found


def timed(work: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def read_bandwidth(n_bytes: int, device: str = "cpu", repeats: int = 5) -> float:
    """Bytes a second of the best of a few sums over a float32 array of `n_bytes`."""
    import torch

    numbers = torch.ones(n_bytes // 4, device=device)
    best = min(timed(lambda: numbers.sum().item()) for _ in range(repeats))
    return numbers.numel() * 4 / best


# ---- results


@dataclass
class Table:
    """Figures for people."""

    header: list[str]
    rows: list[list[str]]


@dataclass
class Result:
    """What a benchmark leaves: figures for people, and the raw samples that they come from."""

    name: str
    title: str
    settings: dict[str, Any]
    samples: dict[str, list[float]]
    """Seconds in the order they were taken, by contender."""
    pairs: dict[str, list[float]] = field(default_factory=dict)
    """Ratios of speed round by round, by the pair of contenders."""
    figures: dict[str, Any] = field(default_factory=dict)
    """All other numbers."""
    tables: list[Table] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compare(self, ours: str, peer: str) -> float:
        """Keep the pairs of two contenders; the median of their ratios of speed."""
        pairs = self.pairs[f"{ours} / {peer}"] = ratios(self.samples[ours], self.samples[peer])
        return statistics.median(pairs)

    def target(self, what: str, found: float, *, at_least: float = 0, at_most: float = 0) -> None:
        """Set a figure beside what it should be; one of the two bounds is given."""
        met = found >= at_least if at_least else found <= at_most
        wanted = f"at least {at_least:.3g}" if at_least else f"at most {at_most:.3g}"
        self.targets.append({"what": what, "wanted": wanted, "found": found, "met": met})

    def add_pairs(self) -> None:
        """A table of all pairs."""
        rows = [[name, spread(values)] for name, values in self.pairs.items()]
        self.tables.append(Table(["times as fast", "median of pairs (lowest to highest)"], rows))


def save(result: Result, arguments: argparse.Namespace) -> None:
    """Write NAME.json into the folder of results, and show the tables."""
    values = {**asdict(result), **facts(arguments)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{result.name}.json"
    file.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    print(markdown(values))


def facts(arguments: argparse.Namespace) -> dict[str, Any]:
    """Where, when and with what a benchmark ran."""
    script = Path(sys.argv[0])
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": shlex.join(["python", "-m", f"benchmarks.{script.stem}", *sys.argv[1:]]),
        "smoke": arguments.smoke,
        "machine": {
            "processor": processor.name(),
            "bf16": [name for name in BF16 if name in processor.features()],
            "cores": processor.cores(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "system": f"{platform.system()} {platform.machine()}",
            "load_before": arguments.load_before,
        },
        "threads": arguments.threads,
        "versions": {
            "python": platform.python_version(),
            **arguments.versions,
        },
    }


def markdown(values: Mapping[str, Any]) -> str:
    """A result, as its JSON holds it, for people."""
    machine, versions = values["machine"], values["versions"]
    smoke = " (smoke run: sizes too small to mean anything)" if values["smoke"] else ""
    lines = [f"## {values['title']}{smoke}", ""]
    for table in values["tables"]:
        lines += _table(table["header"], table["rows"])
    if values["targets"]:
        rows = [
            [each["what"], each["wanted"], f"{each['found']:.2f}", "yes" if each["met"] else "no"]
            for each in values["targets"]
        ]
        lines += _table(["target", "wanted", "found", "met"], rows)
    lines += [f"- {note}" for note in values["notes"]]
    lines += [
        f"- {machine['processor']}, {machine['cores']} cores (load before: "
        f"{machine['load_before']:.1f}), {values['threads']} threads, bf16 by "
        f"{', '.join(machine['bf16']) or 'emulation'}; {values['date']}; `{values['command']}`; "
        + ", ".join(f"{name} {version}" for name, version in versions.items()),
        "",
    ]
    return "\n".join(lines)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(row)} |" for row in (header, ruler, *rows)] + [""]


# ---- the command line


def arguments(description: str, rounds: int, **more: int) -> argparse.Namespace:
    """The options that all benchmarks share, and whole numbers of their own with defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does it run at all?")
    parser.add_argument("--rounds", type=int, help=f"repetitions of each contender ({rounds})")
    parser.add_argument("--threads", type=int, default=2, help="threads of each contender (2)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results")
    for name, default in more.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=default, help=f"({default})")
    given = parser.parse_args()
    given.rounds = given.rounds or (2 if given.smoke else rounds)
    note_start(given)
    return given


def note_start(given: argparse.Namespace) -> None:
    """Keep what is to be known before anything runs: a missing package is told at once."""
    given.load_before = os.getloadavg()[0]
    given.versions = {name: metadata.version(name) for name in PACKAGES}
