"""Tables, floors and targets of the native decoding benchmark."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.entrants import ENTRANTS, OURS, WITHOUT_CACHE, Entrant
from benchmarks.measuring import Result, Table, rates, spread
from benchmarks.sections import Section, Work

LOAD_S, MEMORY = 0.5, 1.15


@dataclass(frozen=True)
class Row:
    """A target: ogpt relative to the best baseline of a kind."""

    section: str
    precision: str | None
    """Precision of both; None compares the best precision of each."""
    named: str
    """The baseline that was best where the target was set."""
    times: float
    only: str | None = None
    """Only this baseline; None compares all."""

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{self.section}, {self.precision or 'best precision'}"

    def takes(self, entrant: Entrant) -> bool:
        """Whether the row compares this entrant."""
        if self.only and not (entrant.is_ours or entrant.system == self.only):
            return False
        return self.precision in (None, entrant.precision)


ROWS = [
    Row("batch 1", "int8", "OpenVINO int8", 2.2),
    Row("batch 1", "int4", "llama.cpp q4_0", 3.0),
    Row("batch 1", "bfloat16", "OpenVINO bfloat16", 1.3),
    Row("batch 1", "float32", "OpenVINO float32", 1.2),
    Row("batch 8", None, "OpenVINO int8", 2.2),
    Row("batch 32", None, "OpenVINO bfloat16", 2.5),
    Row("prompt of 512", None, "plain PyTorch bfloat16", 1.5),
    Row("8 prompts of 512", None, "plain PyTorch bfloat16", 1.4),
    Row("batch 1", None, f"{WITHOUT_CACHE} bfloat16", 30.0, only=WITHOUT_CACHE),
]


def describe(result: Result, sections: Sequence[Section], shape: dict[str, int]) -> None:
    """Add tables, pairs, targets and notes."""
    by_name = {section.name: section for section in sections}
    work = Work(shape)
    for section in sections:
        result.tables.append(_rates(result, section, work))
    result.tables.append(_targets(result, by_name, work))
    for dtype in ("float32", "bfloat16"):
        ours, theirs = (f"{system} {dtype}, batch 1" for system in (OURS, WITHOUT_CACHE))
        if theirs in result.samples:  # not if the short trial found it far behind
            result.compare(ours, theirs)
    result.add_pairs()
    result.tables.append(_loads(result))
    _add_notes(result, by_name)


def best_of(result: Result, section: str, entrants: Sequence[Entrant]) -> Entrant | None:
    """The fastest measured entrant of a section, by the median."""
    seconds = {
        each: statistics.median(result.samples[f"{each.name}, {section}"])
        for each in entrants
        if f"{each.name}, {section}" in result.samples
    }
    return min(seconds, key=seconds.__getitem__, default=None)


def most(result: Result, section: Section, precision: str, work: Work) -> dict[str, float]:
    """Highest possible tokens per second, by the measurements of this run.

    By bandwidth if tokens are generated (the median of the section's rounds, as other users of the
    machine take part of it); by arithmetic if several tokens are processed at once.
    """
    bandwidth = statistics.median(result.figures["read_bytes_per_s"][section.name])
    products = max(result.figures["products_ops_per_s"].values())
    found = {}
    if section.new:
        found["bandwidth"] = work.most_by_bandwidth(section, precision, bandwidth)
    if section.tokens > section.new:
        found["arithmetic"] = work.most_by_arithmetic(section, products)
    return found


def _rates(result: Result, section: Section, work: Work) -> Table:
    rows = []
    trials = result.figures["short_looks_s"][section.name]
    theirs = [trials[one.name] for one in ENTRANTS if one.name in trials and not one.is_ours]
    if not theirs:
        result.notes.append(f"No baseline answered in {section.name}.")
    for each in ENTRANTS:
        samples = result.samples.get(f"{each.name}, {section.name}")
        if samples:
            found = rates(section.tokens, samples)
            floors = most(result, section, each.precision, work)
            shares = [f"{statistics.median(found) / limit:.0%}" for limit in floors.values()]
            rows.append([each.name, spread(found, 1), *shares])
        elif each.name in trials:
            share = "behind ogpt's best in a short trial"
            if theirs:
                times = min(theirs) / trials[each.name]
                share = f"{times:.2f} of the fastest baseline in a short trial"
            rows.append(
                [each.name, f"left out: {share}", *[""] * len(most(result, section, "int8", work))]
            )
    header = [section.name, "tokens/s, median (lowest to highest)"]
    header += [f"of the {name} floor" for name in most(result, section, "int8", work)]
    return Table(header, rows)


def _targets(result: Result, sections: dict[str, Section], work: Work) -> Table:
    rows = []
    for row in ROWS:
        section = sections[row.section]
        kind = [each for each in ENTRANTS if row.takes(each)]
        ours = best_of(result, row.section, [each for each in kind if each.is_ours])
        peer = best_of(result, row.section, [each for each in kind if not each.is_ours])
        if ours is None or peer is None:
            rows.append([row.name, "", "", "none of this kind", "", f"{row.times:g}", ""])
            continue
        our_name = f"{ours.name}, {row.section}"
        named = "not measured"
        if f"{row.named}, {row.section}" in result.samples:
            named = f"{result.compare(our_name, f'{row.named}, {row.section}'):.2f}"
        peer_name = f"{peer.name}, {row.section}"
        found = result.compare(our_name, peer_name)
        result.target(f"{row.name}: times {peer.name}", found, at_least=row.times)
        best = section.tokens / statistics.median(result.samples[peer_name])
        allowed = min(most(result, section, row.precision or "int4", work).values()) / best
        rows.append(
            [
                row.name,
                ours.name,
                f"{row.named}: {named}",
                peer.name,
                f"{found:.2f}",
                f"{row.times:g}",
                f"{allowed:.2f}",
            ]
        )
    header = [
        "target",
        "ogpt",
        "times the target's baseline",
        "best baseline here",
        "times it",
    ]
    return Table([*header, "wanted", "most that the floor allows"], rows)


def _loads(result: Result) -> Table:
    rows = []
    for dtype, found in result.figures["loads"].items():
        seconds = result.samples[f"{OURS} {dtype}, load"]
        resident, peak = (
            statistics.median(each[kind] / each["decoder_bytes"] for each in found)
            for kind in ("resident_bytes", "peak_bytes")
        )
        megabytes = f"{found[0]['decoder_bytes'] / 1e6:,.0f}"
        rows.append([dtype, spread(seconds), megabytes, f"{resident:.2f}", f"{peak:.2f}"])
        median = statistics.median(seconds)
        result.target(f"load to first token, {dtype}, s", median, at_most=LOAD_S)
        result.target(f"resident, {dtype}, times weights and cache", resident, at_most=MEMORY)
    header = ["ogpt, from a folder on disk", "s to first token, median (lowest to highest)"]
    return Table([*header, "weights and cache, MB", "resident, times that", "peak, times"], rows)


def _add_notes(result: Result, sections: dict[str, Section]) -> None:
    figures = result.figures
    bandwidth = ", ".join(
        f"{name} {spread([each / 1e9 for each in found], 1)}"
        for name, found in figures["read_bytes_per_s"].items()
        if sections[name].new
    )
    products = ", ".join(
        f"{name} {value / 1e9:,.1f}" for name, value in figures["products_ops_per_s"].items()
    )
    first = sections["batch 1"]
    equal = ", ".join(
        f"{name} {count}"
        for name, count in figures["equal_ids"]["batch 1"].items()
        if name.endswith(("float32", "f32"))
    )
    result.notes += [
        "Read bandwidth of all threads in each round, the better of NumPy's dot and PyTorch's sum, "
        f"in GB/s, median (lowest to highest): {bandwidth}. The floor uses the median; it counts "
        "the bits of the weights without scales, and 16 bits per number of the KV cache.",
        f"Best matrix multiplications of PyTorch, 1e9 operations/s: {products}. The floor uses the "
        "highest, for new tokens and prompts.",
        "Systems below 0.6 of the best precision of ogpt, or of the best baseline (batch 1: of the "
        "same precision), in a short trial of a section are left out of it; systems below 0.2 at "
        "batch 1 are left out of the other sections too.",
        f"{WITHOUT_CACHE} generates only the middle tokens of the {first.new}, whose mean text "
        "length is that of all; the time is scaled up.",
        f"Greedy ids equal to PyTorch's in float32, of the {first.trial} of the short trial (fewer "
        f"without a cache): {equal}.",
        f"CPU time of all waiting processes, at most: "
        f"{figures['busy_share_of_the_waiting']:.1%} of a turn.",
        f"ogpt uses its {figures['loads']['int8'][0]['kernels']} kernels.",
        "Packages: "
        + ", ".join(f"{name} {v}" for name, v in figures["package_versions"].items())
        + ".",
        f"The whole run took {figures['seconds'] / 60:.0f} minutes.",
    ]
    if figures["away"]:
        result.notes.append(f"Not installed (`make bench-peers`): {', '.join(figures['away'])}.")
    result.notes += [f"{name} is left out: {how}." for name, how in figures["ended"].items()]
