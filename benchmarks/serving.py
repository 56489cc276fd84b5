"""`ogpt serve` under load: tokens/s over HTTP beside the decoder's own, and times that clients see.

GPT-1's shape with random weights in int8, and a KV cache in bfloat16. 1, 8, 32 and 64 clients send
one request each at the same moment, streamed or not; the decoder alone generates the same batches
in a process of its own. The clients are one further process on the same cores, whose CPU time is
stated. Each round has new prompts, the same for all, so that no server finds them in a cache. All
servers but the one in turn are stopped (SIGSTOP).

Other servers with OpenAI's /v1/completions take part, streamed, if OGPT_BENCH_SERVERS names a JSON
file (docs/benchmarks.md); `make bench-servers` writes it for vLLM, llama.cpp and OpenVINO. Where
one has another precision, `ogpt serve` takes part in that precision too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Any

from benchmarks.measuring import Result, Table, arguments, interleave, rates, save, spread
from benchmarks.peers.protocol import Setup
from benchmarks.peers.remote import Remote, environment
from benchmarks.sections import Section
from benchmarks.serving_load import completion
from benchmarks.serving_process import ServerProcess, ogpt_serve, write_model
from benchmarks.training_step import GPT1, SMOKE

CLIENTS = (1, 8, 32, 64)
BATCH = 32
"""Clients in the comparison with the decoder alone."""
BEST = "int8"
"""The precision in which ours is compared with all others."""
CACHE = "bfloat16"
ALONE = "decoder alone"
WHOLE, STREAMED = "whole", "streamed"
WAYS = (WHOLE, STREAMED)
FIRST = 4
"""Tokens of the request that wakes a server; it is not measured."""
AT_LEAST = {8: 1.8, 32: 1.2, 64: 1.5}
"""Times the tokens/s of the best other server, by number of clients."""
KEPT = (5, 25, 50, 75, 95, 99)
"""Percentiles of clients' times in the results file."""


@dataclass
class Contender:
    """A server, which runs in its turns only.

    Args:
        server: As it has started.
        fields: Added to each request.
        ways: Of WAYS, in which it takes part.
    """

    server: ServerProcess
    fields: Mapping[str, Any] = field(default_factory=dict)
    ways: Sequence[str] = (STREAMED,)

    def __post_init__(self) -> None:
        self.server.pause()

    def turns(self, section: Section, vocab_size: int) -> dict[str, Callable[[], dict[str, Any]]]:
        """For each way, what takes its next turn; the first one is the short trial.

        Each turn has its own prompts in each way.
        """
        numbers = {way: count(WAYS.index(way), len(WAYS)) for way in self.ways}

        def turn(way: str) -> dict[str, Any]:
            number = next(numbers[way])
            new = section.trial if number < len(WAYS) else section.new
            return self.run(section.prompts(vocab_size, turn=number), new, way == STREAMED)

        return {way: partial(turn, way) for way in self.ways}

    def run(self, prompts: list[list[int]], new: int, streams: bool) -> dict[str, Any]:
        """Wake the server, and send a request for each prompt from a new process."""
        requests = [completion(prompt, new, streams=streams, **self.fields) for prompt in prompts]
        order = {"port": self.server.port, "streams": streams, "requests": requests}
        short = {**requests[0], "prompt": prompts[0][::-1], "max_tokens": FIRST}
        with self.server.awake():
            self.server.post("/v1/completions", short)  # the first one after a pause may be slow
            before = self.server.cpu_seconds()
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.serving_load", "-"],
                check=True,
                input=json.dumps(order),
                stdout=subprocess.PIPE,
                text=True,
                env=environment(1),
            )
            spent = self.server.cpu_seconds() - before
        found: dict[str, Any] = json.loads(done.stdout)
        if found["tokens"] != len(prompts) * new:
            raise SystemExit(f"{found['tokens']} tokens came in place of {len(prompts) * new}")
        return {**found, "server_cpu_seconds": spent}


def others() -> dict[str, dict[str, Any]]:
    """The other servers of this run."""
    file = os.environ.get("OGPT_BENCH_SERVERS")
    found: dict[str, dict[str, Any]] = json.loads(Path(file).read_text("utf-8")) if file else {}
    return found


def ours(precision: str) -> str:
    """Name of our server."""
    return f"ogpt {precision}"


def sections(smoke: bool) -> list[Section]:
    """One for each number of clients."""
    sizes = (8, 6, 4) if smoke else (32, 96, 24)
    return [Section(_named(clients), clients, *sizes) for clients in CLIENTS]


def _named(clients: int) -> str:
    return f"{clients} client{'s' if clients > 1 else ''}"


def measure(given: Namespace, shape: dict[str, int], folder: Path) -> Result:
    """Measure all servers in turn, number of clients by number of clients."""
    name, title = "serving", "Serving over HTTP"
    if others():
        name, title = "servers", "Beside other servers"
    result = Result(name, title, {"shape": shape}, {})
    model = write_model(shape, folder, BEST)
    # the decoder's process looks for the folder of its dtype
    alone = Remote(
        Path(sys.executable),
        "benchmarks.native_contender",
        Setup(f"{BEST} {CACHE}", shape, given.threads, folder),
    )
    with ExitStack() as stack:
        stack.callback(alone.close)
        contenders = {}
        for precision in dict.fromkeys([BEST, *(one["precision"] for one in others().values())]):
            options = {"--slots": max(CLIENTS), "--max-queued": max(CLIENTS), "--dtype": precision}
            of = model if precision == BEST else folder / "float32"
            options["--cache-dtype"] = "float32" if precision == "float32" else CACHE
            server = ServerProcess(ogpt_serve(of, given.threads, options), given.threads)
            contenders[ours(precision)] = Contender(
                stack.enter_context(server),
                # each token is an event, also where its word is not whole, as with the others
                {"ignore_eos": True, "return_token_ids": True},
                (WHOLE, STREAMED) if precision == BEST else (STREAMED,),
            )
        for name, each in others().items():
            start_other(name, each, contenders, stack, result, given.threads)
        for section in sections(given.smoke):
            measure_section(result, section, contenders, alone, given)
    return result


def start_other(
    name: str,
    each: Mapping[str, Any],
    contenders: dict[str, Contender],
    stack: ExitStack,
    result: Result,
    threads: int,
) -> None:
    """Start another server; one that does not start is left out."""
    ready, more = each.get("ready", "/health"), each.get("environment")
    try:
        server = ServerProcess(each["command"], threads, ready, more=more)
    except SystemExit as error:
        leave_out(name, f"it did not start: {error}", result)
        return
    result.notes.append(f"{name}: {each['version']}")
    contenders[name] = Contender(stack.enter_context(server), each.get("fields", {}))


def leave_out(name: str, why: str, result: Result) -> None:
    """Say that another server takes no part, and why."""
    print(f"{name} is left out: {why}", file=sys.stderr)
    result.notes = [note for note in result.notes if not note.startswith(f"{name}: ")]
    result.notes.append(f"{name} is left out: it did not start or did not answer.")


def measure_section(
    result: Result,
    section: Section,
    contenders: dict[str, Contender],
    alone: Remote,
    given: Namespace,
) -> None:
    """Add the samples and figures of one number of clients."""
    vocab_size = result.settings["shape"]["vocab_size"]
    prompts = section.prompts(vocab_size)  # it keeps none, and sleeps between its turns
    turns: dict[str, Callable[[], Any]] = {
        ALONE: lambda: {"seconds": alone.generate(prompts, section.new).seconds}
    }
    alone.generate(prompts, section.trial)  # allocates memory
    for name, contender in list(contenders.items()):
        found = contender.turns(section, vocab_size)
        own = {f"{name}, {way}": turn for way, turn in found.items()}
        try:
            for turn in own.values():
                turn()
        except (subprocess.CalledProcessError, SystemExit, OSError) as error:
            if name not in others():
                raise
            leave_out(name, str(error), result)
            del contenders[name]
        else:
            turns |= own
    for name, taken in interleave(turns, given.rounds).items():
        title = f"{name}, {section.name}"
        result.samples[title] = [each["seconds"] for each in taken]
        if "cpu_seconds" in taken[0]:
            result.figures[title] = [
                {key: each[key] for key in ("cpu_seconds", "server_cpu_seconds", "first", "gaps")}
                for each in taken
            ]


def describe(result: Result, given: Namespace) -> None:
    """Add tables, pairs and targets."""
    speed, times = [], []
    for section in sections(given.smoke):
        for title, seconds in result.samples.items():
            name, _, of = title.rpartition(", ")
            if of != section.name:
                continue
            figures = result.figures.get(title, [])
            share = [
                each["cpu_seconds"] / second for each, second in zip(figures, seconds, strict=False)
            ]
            busy = f"{statistics.median(share):.0%}" if share else ""
            speed.append([section.name, name, spread(rates(section.tokens, seconds), 0), busy])
            if figures and figures[0]["gaps"]:
                times.append([section.name, name, *map(milliseconds, quantiles(figures))])
    result.tables = [
        Table(["clients", "", "tokens/s", "one core, by the clients"], speed),
        Table(
            ["clients", "", "first token, median", "p95", "between tokens, median", "p95"], times
        ),
    ]
    for section in sections(given.smoke):
        for way in (WHOLE, STREAMED):
            result.compare(f"{ours(BEST)}, {way}, {section.name}", f"{ALONE}, {section.name}")
    for way, wanted in ((WHOLE, 0.85), (STREAMED, 0.7)):
        pairs = result.pairs[f"{ours(BEST)}, {way}, {BATCH} clients / {ALONE}, {BATCH} clients"]
        result.target(
            f"tokens/s of {BATCH} clients, {way}, times the decoder's own",
            statistics.median(pairs),
            at_least=wanted,
        )
    add_others(result, others())
    result.add_pairs()
    result.notes.append(
        "All clients send at the same moment, so the first token of the last one waits for the "
        "prompts of all. Clients run on the same cores as the server."
    )


def add_others(result: Result, servers: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare with the best other server at each number of clients, and at equal precision."""
    for clients in CLIENTS:
        ending = f"{STREAMED}, {_named(clients)}"
        best = f"{ours(BEST)}, {ending}"
        names = [name for name in servers if f"{name}, {ending}" in result.samples]
        ratios = [result.compare(best, f"{name}, {ending}") for name in names]
        for name in names:
            equal = ours(servers[name]["precision"])
            if equal != ours(BEST):
                result.compare(f"{equal}, {ending}", f"{name}, {ending}")
        if ratios and clients in AT_LEAST:
            what = f"tokens/s of {clients} clients, times the best other server's"
            result.target(what, min(ratios), at_least=AT_LEAST[clients])
            soonest = min(quantiles(result.figures[f"{name}, {ending}"])[3] for name in names)
            late = quantiles(result.figures[best])[3] / soonest
            result.target(f"p95 between tokens of {clients} clients, ditto", late, at_most=1.0)


def quantiles(figures: list[dict[str, Any]]) -> list[float]:
    """Median and 95th percentile of the time to the first token, and of that between tokens."""
    found = []
    for name in ("first", "gaps"):
        values = sorted(value for each in figures for value in each[name])
        found += [values[len(values) // 2], values[int(0.95 * len(values))]]
    return found


def shorten(result: Result) -> None:
    """Keep percentiles of the thousands of times that clients saw."""
    for each in chain.from_iterable(result.figures.values()):
        for name in ("first", "gaps"):
            values = sorted(each[name])
            kept = {f"p{share}": values[share * len(values) // 100] for share in KEPT if values}
            each[name] = kept


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.1f} ms"


def main() -> None:
    given = arguments(__doc__, 5)
    shape = SMOKE if given.smoke else GPT1
    with tempfile.TemporaryDirectory() as folder:
        result = measure(given, shape, Path(folder))
    describe(result, given)
    shorten(result)
    save(result, given)


if __name__ == "__main__":
    main()
