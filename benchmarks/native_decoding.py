"""Native decoding beside all baselines: batches, prompts, loading and memory, in one run.

GPT-1's shape with random weights. Baselines that cannot run GPT-1 run a GPT-2 of the same shape,
which costs the same. Each is a separate process that sleeps until its turn. The notes name the
baselines whose environment is missing (`make bench-peers`) and those whose process ended, for
example at an instruction that this processor lacks: they are left out, and the run continues.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks import native_tables, sections
from benchmarks.contenders import fill
from benchmarks.entrants import ENTRANTS, OURS, WITHOUT_CACHE, Entrant
from benchmarks.measuring import (
    Result,
    agreeing,
    arguments,
    interleave,
    read_bandwidth,
    save,
    timed,
)
from benchmarks.peers import environments
from benchmarks.peers.protocol import Setup
from benchmarks.peers.remote import Answer, ContenderEnded, Remote, environment
from benchmarks.sections import Section
from benchmarks.training_step import GPT1, SMOKE
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding import floor
from ogpt.decoding.rounding import write_rounded
from ogpt.model.heads import OpenAIGPTLMHeadModel

LOADED = {"float32": "", "bfloat16": "bf16", "int8": "int8", "int4": "int4"}
"""Folders by dtype, and the name of the dtype in `ogpt quantize`; the first is the source."""
MIDDLE = 32
"""New tokens of an entrant without a KV cache: the middle ones, of the same mean text length."""
STAYS = 0.6
"""Share of the best speed in the short trial that an entrant needs to stay in a section."""
REST = 0.05
"""Seconds between two turns, so that threads stop spinning."""
ASKED_AGAIN = 0.2
"""Share of the best speed in the first section that an entrant needs for the other sections."""
FAR_BEHIND = 0.1
"""Share of the best rate below which a dtype is not measured at full size."""
CLEARLY = 4
"""Number of first ids that must be equal in float32; otherwise the work differs."""
REFERENCES = ("plain PyTorch float32", "transformers GPT2 float32")
"""The references for ids, of GPT-1 and of GPT-2."""


class Stage:
    """The running entrants, and how each takes its turn."""

    def __init__(self, given: Namespace, shape: dict[str, int], folder: Path) -> None:
        self._vocab_size = shape["vocab_size"]
        models = environments.folder() / "models" / "-".join(map(str, shape.values()))
        if given.smoke:
            models = folder / "peers"
        models.mkdir(parents=True, exist_ok=True)
        self.remotes: dict[str, Remote] = {}
        self.away: list[str] = []
        self.ended: dict[str, str] = {}
        """Baselines whose process ended, and how."""
        self.versions: dict[str, str] = {}
        self.busy_share: list[float] = []
        """CPU time of all waiting processes divided by the time of the turn, for each turn."""
        for each in ENTRANTS:
            if not each.is_set_up or (given.smoke and each.environment is not None):
                self.away.append(each.name)
                continue
            print(f"starting {each.name}", file=sys.stderr, flush=True)
            where = folder if each.is_ours else models
            setup = Setup(each.variant, shape, given.threads, where)
            try:
                remote = self.remotes[each.name] = Remote(each.python, each.module, setup)
            except ContenderEnded as ended:
                self._leave_out(each, ended)
            else:
                self.versions |= remote.versions

    def present(self, section: Section) -> list[Entrant]:
        """Entrants of a section."""
        return [one for one in ENTRANTS if one.name in self.remotes and section.takes(one)]

    def trial(self, entrant: Entrant, section: Section) -> Answer | None:
        """Run a short trial of the section; None if the entrant's process ends."""
        try:
            return self._trial(entrant, section)
        except ContenderEnded as ended:
            self._leave_out(entrant, ended)
            return None

    def turn(self, entrant: Entrant, section: Section) -> Answer | None:
        """Run the section on one entrant, while the others sleep; None if its process has ended."""
        if entrant.name in self.ended:
            return None
        try:
            return self._turn(entrant, section)
        except ContenderEnded as ended:
            self._leave_out(entrant, ended)
            return None

    def _leave_out(self, entrant: Entrant, ended: ContenderEnded) -> None:
        """Continue without a baseline; ogpt itself must not end."""
        if entrant.is_ours:
            raise ended
        print(f"  {entrant.name} is left out: {ended}", file=sys.stderr, flush=True)
        self.ended[entrant.name] = str(ended)
        self.remotes.pop(entrant.name, None)

    def _trial(self, entrant: Entrant, section: Section) -> Answer:
        """A short trial, after a first call that allocates memory."""
        remote = self.remotes[entrant.name]
        if not section.new:
            prompts = section.prompts(self._vocab_size, section.trial)
            remote.read(prompts)
            return remote.read(prompts)
        prompts = section.prompts(self._vocab_size)
        remote.generate(prompts, 1)
        without_cache = entrant.system == WITHOUT_CACHE
        return remote.generate(prompts, CLEARLY if without_cache else section.trial)

    def _turn(self, entrant: Entrant, section: Section) -> Answer:
        remote = self.remotes[entrant.name]
        time.sleep(REST)
        before = self._busy(remote)
        if not section.new:
            answer = remote.read(section.prompts(self._vocab_size))
        elif entrant.system == WITHOUT_CACHE:
            answer = self._middle(remote, section)
        else:
            answer = remote.generate(section.prompts(self._vocab_size), section.new)
        self.busy_share.append((self._busy(remote) - before) / answer.seconds)
        return answer

    def dismiss(self, names: Iterable[str]) -> None:
        """End the processes of entrants that are no longer needed."""
        for name in names:
            self.remotes.pop(name).close()

    def close(self) -> None:
        """End all processes."""
        for remote in self.remotes.values():
            remote.close()

    def _middle(self, remote: Remote, section: Section) -> Answer:
        """Without a KV cache, a token costs in proportion to its text: time the middle tokens."""
        new = min(MIDDLE, section.new)
        length = section.prompt + (section.new - new) // 2
        answer = remote.generate(section.prompts(self._vocab_size, length), new)
        return answer._replace(seconds=answer.seconds * section.new / new)

    def _busy(self, but: Remote) -> float:
        return sum(each.cpu_seconds() for each in self.remotes.values() if each is not but)


def write_folders(shape: dict[str, int], folder: Path) -> None:
    """Write model folders in all dtypes, with the weights that the GPT-1 baselines use."""
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**shape))
    fill(model)
    source = folder / "float32"
    model.save_pretrained(source)
    for dtype, to in LOADED.items():
        if to:
            (folder / dtype).mkdir()
            write_rounded(source, folder / dtype, to, lambda done, total: None)


def short_trial(stage: Stage, section: Section) -> dict[str, Answer]:
    """Run a short trial on all entrants of a section."""
    found = {}
    for each in stage.present(section):
        if (answer := stage.trial(each, section)) is not None:
            found[each.name] = answer
            print(f"  {each.name}: {answer.seconds:.2f} s", file=sys.stderr, flush=True)
    return found


def staying(section: Section, trials: dict[str, float], share: float = STAYS) -> list[Entrant]:
    """Entrants whose short trial was at least `share` times as fast as the best of their kind.

    The kinds are ogpt and the baselines. If each precision has a target, each precision is a kind,
    and so are the entrants without a KV cache, which have a target of their own.
    """

    def kind(entrant: Entrant) -> tuple[bool, str]:
        if not section.by_precision:
            return entrant.is_ours, ""
        no_cache = entrant.system == WITHOUT_CACHE
        return entrant.is_ours, WITHOUT_CACHE if no_cache else entrant.precision

    best: dict[tuple[bool, str], float] = {}
    entrants = [each for each in ENTRANTS if each.name in trials]
    for each in entrants:
        best[kind(each)] = min(trials[each.name], best.get(kind(each), float("inf")))
    return [each for each in entrants if trials[each.name] * share <= best[kind(each)]]


def asked_again(section: Section, trials: dict[str, float]) -> set[str]:
    """Names of the entrants for the next sections: those not far behind, and the references."""
    return {each.name for each in staying(section, trials, ASKED_AGAIN)} | set(REFERENCES)


def equal_ids(trials: dict[str, Answer]) -> dict[str, int]:
    """Number of first ids equal to the float32 reference (GPT-1 or GPT-2), by entrant."""
    found = {}
    for each in ENTRANTS:
        if each.name not in trials:
            continue
        is_gpt1 = each.is_ours or each.system in ("plain PyTorch", WITHOUT_CACHE)
        reference = REFERENCES[0 if is_gpt1 else 1]
        if reference not in trials:
            continue
        ids = trials[each.name].ids[0]
        found[each.name] = agreeing(ids, trials[reference].ids[0][: len(ids)])
        if each.precision == "float32" and found[each.name] < CLEARLY:
            raise SystemExit(f"{each.name} generates other ids than {reference}")
    return found


def best_products(rows: int, shape: dict[str, int]) -> dict[str, float]:
    """Best operations per second of products with the first MLP matrix, by dtype."""
    inner, columns = shape["n_embd"], 4 * shape["n_embd"]
    found: dict[str, float] = {}

    def best(kind: torch.dtype, rows: int) -> float:
        left, right = torch.ones(rows, inner, dtype=kind), torch.ones(inner, columns, dtype=kind)
        multiply = torch._int_mm if kind == torch.int8 else torch.mm
        seconds = min(timed(lambda: multiply(left, right)) for _ in range(4))
        return 2.0 * rows * inner * columns / seconds

    for kind in (torch.float32, torch.bfloat16, torch.int8):
        few = best(kind, max(1, rows // 64))
        # without instructions for a dtype, many rows would take minutes
        far_behind = few < FAR_BEHIND * max(found.values(), default=0)
        found[str(kind).removeprefix("torch.")] = few if far_behind else best(kind, rows)
    return found


def bandwidth(given: Namespace) -> float:
    """Read bandwidth of all threads now, bytes/s: the better of NumPy's dot and PyTorch's sum."""
    if given.smoke:
        return read_bandwidth(1 << 20)
    return max(floor.read_bandwidth(given.threads), read_bandwidth(1 << 28))


def load_once(dtype: str, given: Namespace, shape: dict[str, int], folder: Path) -> dict[str, Any]:
    """Load the native decoder in a new process and generate the text of batch 1."""
    section = sizes(given)[0]
    setup = Setup(dtype, shape, given.threads, folder)
    order = {**asdict(setup), "folder": str(folder), "new": section.new}
    order["prompt"] = section.prompts(shape["vocab_size"])[0]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.native_load", json.dumps(order)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(given.threads),
    )
    return json.loads(done.stdout)


def sizes(given: Namespace) -> list[Section]:
    """The sections of this run."""
    return sections.smoke() if given.smoke else sections.full()


def measure_section(
    stage: Stage, section: Section, machine: Callable[[], float], rounds: int
) -> tuple[dict[str, Answer], dict[str, list[float]], list[float]]:
    """Run a section's short trial, then its rounds.

    Returns:
        The trial's answers and the seconds of each round, by entrant, without entrants whose
        process ended; and what `machine` measured in each round.
    """
    print(section.name, file=sys.stderr, flush=True)
    trial = short_trial(stage, section)
    seconds = {name: answer.seconds for name, answer in trial.items()}
    if section.by_precision:
        stage.dismiss(trial.keys() - asked_again(section, seconds))
    turns: dict[str, Callable[[], Any]] = {
        each.name: lambda each=each: stage.turn(each, section) for each in staying(section, seconds)
    }
    answers = interleave({**turns, "machine": machine}, rounds)
    read = answers.pop("machine")
    trial = {name: answer for name, answer in trial.items() if name not in stage.ended}
    samples = {
        name: [answer.seconds for answer in found]
        for name, found in answers.items()
        if name not in stage.ended
    }
    return trial, samples, read


def measure(given: Namespace, shape: dict[str, int], folder: Path) -> Result:
    """Measure all sections, then loading."""
    begun = time.perf_counter()
    result = Result("native_decoding", "Native decoding", {"shape": shape}, {})
    print("writing model folders", file=sys.stderr, flush=True)
    write_folders(shape, folder)
    stage = Stage(given, shape, folder)
    trials: dict[str, dict[str, Answer]] = {}
    read: dict[str, list[float]] = {}
    products: list[dict[str, float]] = []
    rows = 8 if given.smoke else 2048

    def measure_machine() -> float:
        products.append(best_products(rows, shape))
        return bandwidth(given)

    try:
        for section in sizes(given):
            trials[section.name], samples, read[section.name] = measure_section(
                stage, section, measure_machine, given.rounds
            )
            result.samples |= {f"{name}, {section.name}": each for name, each in samples.items()}
    finally:
        stage.close()
    loads = interleave(
        {dtype: lambda dtype=dtype: load_once(dtype, given, shape, folder) for dtype in LOADED},
        given.rounds,
    )
    for dtype, found in loads.items():
        result.samples[f"{OURS} {dtype}, load"] = [each["seconds"] for each in found]
    result.figures = {
        "read_bytes_per_s": read,
        "products_ops_per_s": _best(products),
        "short_looks_s": {
            name: {one: answer.seconds for one, answer in trial.items()}
            for name, trial in trials.items()
        },
        "equal_ids": {name: equal_ids(trials[name]) for name in ("batch 1", "batch 8")},
        "away": stage.away,
        "ended": stage.ended,
        "busy_share_of_the_waiting": max(stage.busy_share),
        "package_versions": stage.versions,
        "loads": loads,
        "seconds": time.perf_counter() - begun,
    }
    return result


def _best(found: Sequence[dict[str, float]]) -> dict[str, float]:
    """The highest value of each name."""
    return {name: max(each[name] for each in found) for name in found[0]}


def main() -> None:
    given = arguments(__doc__, 5)
    torch.set_num_threads(given.threads)
    shape = {**SMOKE, "n_positions": 64} if given.smoke else GPT1
    with tempfile.TemporaryDirectory() as folder:
        result = measure(given, shape, Path(folder))
    native_tables.describe(result, sizes(given), shape)
    save(result, given)


if __name__ == "__main__":
    main()
