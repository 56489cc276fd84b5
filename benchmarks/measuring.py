"""Shared by all benchmarks: interleaved rounds, ratios of pairs, floors, run facts, results.

Speed is compared within one run. Contenders alternate round by round, so that a slow period of the
machine affects all of them. The ratio of two contenders is the median of their per-round ratios.
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
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from ogpt import processor

RESULTS = Path(__file__).parent / "results"
PACKAGES = (
    *("ogpt", "torch", "tensorflow-cpu", "keras"),
    *("transformers", "tokenizers", "numpy", "typer"),
)
BF16 = ("amx_bf16", "avx512_bf16", "bf16")

T = TypeVar("T")

# ---- numbers


def ratios(faster_seconds: Sequence[float], slower_seconds: Sequence[float]) -> list[float]:
    """Speed of the first relative to the second, in each round."""
    return [slow / fast for fast, slow in zip(faster_seconds, slower_seconds, strict=True)]


def rates(work: float, seconds: Sequence[float]) -> list[float]:
    """Work per second in each round."""
    return [work / second for second in seconds]


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median, and lowest to highest, as text."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def floor_seconds(work: float, work_per_s: float) -> float:
    """Least seconds for `work` on a machine whose best rate is `work_per_s`."""
    return work / work_per_s


def agreeing(left: Sequence[int], right: Sequence[int]) -> int:
    """Number of equal items before the first difference."""
    pairs = enumerate(zip(left, right, strict=True))
    return next((place for place, (one, other) in pairs if one != other), len(left))


# ---- measuring


def interleave(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call each contender once per round, in turn; return their results by name."""
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for name, contender in contenders.items():
            found[name].append(contender())
    return found


def timed(work: Callable[[], Any]) -> float:
    """Duration of a call, in seconds."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def read_bandwidth(n_bytes: int, device: str = "cpu", repeats: int = 5) -> float:
    """Read bandwidth, bytes/s: the best of `repeats` sums over a float32 array of `n_bytes`."""
    import torch

    numbers = torch.ones(n_bytes // 4, device=device)
    best = min(timed(lambda: numbers.sum().item()) for _ in range(repeats))
    return numbers.numel() * 4 / best


# ---- results


@dataclass
class Table:
    """A table for people: cells are formatted text."""

    header: list[str]
    rows: list[list[str]]


@dataclass
class Result:
    """The result of one benchmark: raw samples, and the tables made from them."""

    name: str
    title: str
    settings: dict[str, Any]
    samples: dict[str, list[float]]
    """Seconds by contender, in the order they were measured."""
    pairs: dict[str, list[float]] = field(default_factory=dict)
    """Per-round speed ratios, by pair of contenders."""
    figures: dict[str, Any] = field(default_factory=dict)
    """All other numbers, for the JSON file."""
    tables: list[Table] = field(default_factory=list)
    targets: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def compare(self, ours: str, peer: str) -> float:
        """Add the per-round speed ratios of two contenders; return their median."""
        pairs = self.pairs[f"{ours} / {peer}"] = ratios(self.samples[ours], self.samples[peer])
        return statistics.median(pairs)

    def target(self, what: str, found: float, *, at_least: float = 0, at_most: float = 0) -> None:
        """Add a target: the figure found, and one of the two bounds."""
        met = found >= at_least if at_least else found <= at_most
        wanted = f"at least {at_least:.3g}" if at_least else f"at most {at_most:.3g}"
        self.targets.append({"what": what, "wanted": wanted, "found": found, "met": met})

    def add_pairs(self) -> None:
        """Add a table of all pairs."""
        rows = [[name, spread(values)] for name, values in self.pairs.items()]
        self.tables.append(Table(["times as fast", "median of pairs (lowest to highest)"], rows))


def save(result: Result, arguments: argparse.Namespace) -> None:
    """Write NAME.json into the results folder and print the tables."""
    values = {**asdict(result), **facts(arguments)}
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / f"{result.name}.json"
    file.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    print(markdown(values))


def facts(arguments: argparse.Namespace) -> dict[str, Any]:
    """Facts of the run: date, command, machine, threads, versions."""
    script = Path(sys.argv[0])
    # where a result was written is no part of it, and names a folder of one machine
    words = ["DIR" if before == "--out" else word for before, word in pairwise(sys.argv)]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": shlex.join(["python", "-m", f"benchmarks.{script.stem}", *words]),
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
    """A result (the content of its JSON file) as Markdown."""
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
    """Parse the options that all benchmarks share, and integer options of their own (`more`)."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="Only check that it runs: tiny sizes.")
    parser.add_argument("--rounds", type=int, help=f"Number of rounds ({rounds}).")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of each contender (2).")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Folder of the results.")
    for name, default in more.items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, default=default, help=f"({default})")
    given = parser.parse_args()
    given.rounds = given.rounds or (2 if given.smoke else rounds)
    note_start(given)
    return given


def note_start(given: argparse.Namespace) -> None:
    """Record load, and the versions of what is installed, before anything runs."""
    given.load_before = os.getloadavg()[0]
    given.versions = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            given.versions[name] = metadata.version(name)
