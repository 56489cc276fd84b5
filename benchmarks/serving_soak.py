"""`ogpt serve` under abuse: clients that leave, crowds, slow readers, and memory over time.

    python -m benchmarks.serving_soak --minutes 30

- 200 requests of the longest length are abandoned after 0.5 s; then one is answered, and no slot is
  in use
- 1,000 streams at once against a queue of 64: each is answered whole, or refused with 429 and
  `Retry-After`
- slow readers: clients beside others that do not read their streams
- an idle server uses no CPU
- `kill -9` amid 1,000 streams: each client sees that its stream is cut, and a new server on the
  same port answers
- memory of the server over many minutes of all of these and of requests that are refused

The clients run in this process, on the same cores as the server.
"""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks.measuring import Result, Table, arguments, save
from benchmarks.serving_load import Exchange, completion
from benchmarks.serving_process import ServerProcess, ogpt_serve, write_model
from benchmarks.training_step import GPT1, SMOKE

SLOTS = 16
QUEUE = 64
ROUNDS = 5
"""Of the ordinary clients, without and with slow ones beside them."""
PATIENCE = 600.0
"""Seconds after which a client that waits has been forgotten."""
WARM_UP = 0.1
"""Share of the minutes before memory is compared."""


class Abuse:
    """Clients of one server.

    Args:
        server: A server with SLOTS slots and a queue of QUEUE.
        shape: Of its model.
        is_small: Whether to use few clients.
    """

    def __init__(self, server: ServerProcess, shape: dict[str, int], is_small: bool) -> None:
        self.server = server
        self.shape = shape
        self.is_small = is_small
        self.numbers = random.Random(0)

    def content(self, new: int, streams: bool = True) -> dict[str, Any]:
        """A request for `new` tokens after a prompt of 8."""
        ids = [self.numbers.randrange(1, self.shape["vocab_size"]) for _ in range(8)]
        return completion(ids, new, streams=streams, min_tokens=new)

    async def start(self, new: int, streams: bool = True) -> Exchange:
        """Send one request."""
        exchange = await Exchange(self.server.port).connect()
        exchange.send(self.content(new, streams))
        return exchange

    async def ask(self, new: int, streams: bool = True) -> Exchange:
        """Send one request and wait for its response."""
        exchange = await self.start(new, streams)
        await asyncio.wait_for(exchange.over, PATIENCE)
        return exchange

    @property
    def longest(self) -> int:
        """New tokens of the longest text that the context holds."""
        return self.shape["n_positions"] - 8

    async def abandoned(self) -> dict[str, float]:
        """Leave many requests after half a second; return seconds until one is answered."""
        count = 20 if self.is_small else 200
        exchanges = [await self.start(self.longest, streams=n % 2 == 0) for n in range(count)]
        await asyncio.sleep(0.5)
        for each in exchanges:
            each.transport.abort()
        begin = time.perf_counter()
        refused = 0
        while (answered := await self.ask(8)).status == 429 and refused < 100:
            refused += 1
            await asyncio.sleep(0.05)
        seconds = time.perf_counter() - begin
        if answered.status != 200:
            raise SystemExit(f"status {answered.status} after {count} clients have left")
        await asyncio.sleep(0.2)
        metrics = await asyncio.to_thread(self.server.metrics)
        return {
            "seconds": seconds,
            "refused": refused,
            "running": metrics["ogpt:num_requests_running"],
            "waiting": metrics["ogpt:num_requests_waiting"],
        }

    async def crowd(self) -> dict[str, float]:
        """Many streams at once; count how each ended."""
        count = 120 if self.is_small else 1000
        exchanges = await asyncio.gather(
            *(Exchange(self.server.port).connect() for _ in range(count))
        )
        begin = time.perf_counter()
        for each in exchanges:
            each.send(self.content(16))
        await asyncio.wait([each.over for each in exchanges], timeout=PATIENCE)
        found = {"answered": 0.0, "refused": 0.0, "neither": 0.0}
        for each in exchanges:
            if each.status == 200 and bytes(each.body).endswith(b"data: [DONE]\n\n"):
                found["answered"] += 1
            elif each.status == 429 and each.retry_after.isdecimal():
                found["refused"] += 1
            else:
                found["neither"] += 1
        return {**found, "seconds": time.perf_counter() - begin}

    async def slow_readers(self) -> dict[str, float]:
        """Tokens/s of ordinary clients, without and with clients that do not read beside them."""
        new = min(self.longest, 64)

        async def once() -> float:
            begin = time.perf_counter()
            found = await asyncio.gather(*(self.ask(new) for _ in range(4)))
            if {each.status for each in found} != {200}:
                raise SystemExit("an ordinary client was refused beside slow readers")
            return 4 * new / (time.perf_counter() - begin)

        async def ordinary() -> float:
            return statistics.median([await once() for _ in range(ROUNDS)])

        await once()
        before = await ordinary()
        # they hold slots until their texts end, as any others; then they only hold connections
        slow = [await self.start(new) for _ in range(8)]
        for each in slow:
            each.transport.pause_reading()
        while (await asyncio.to_thread(self.server.metrics))["ogpt:num_requests_running"]:
            await asyncio.sleep(0.05)
        after = await ordinary()
        for each in slow:
            each.transport.resume_reading()
        await asyncio.wait([each.over for each in slow], timeout=PATIENCE)
        late = sum(each.status != 200 or not each.ended for each in slow)
        return {"tokens_per_s_before": before, "tokens_per_s_beside": after, "not_whole": late}

    async def idle(self) -> dict[str, float]:
        """CPU time of the server without requests."""
        before, begin = self.server.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(1 if self.is_small else 10)
        used = self.server.cpu_seconds() - before
        return {"cpu_seconds": used, "share": used / (time.perf_counter() - begin)}

    async def refused(self) -> None:
        """Requests that are wrong, each in its way."""
        for content in (
            {"prompt": [-1]},
            {"prompt": []},
            {"prompt": 5},
            {"n": 10**30},
            {"seed": "x"},
        ):
            exchange = await Exchange(self.server.port).connect()
            exchange.send(content)
            await asyncio.wait_for(exchange.over, PATIENCE)
            if exchange.status != 400:
                raise SystemExit(f"status {exchange.status} for {content}")

    async def soak(self, seconds: float) -> list[tuple[float, int]]:
        """All of these over and over; return times and resident bytes of the server."""
        # the KV cache is in memory once it was written
        await asyncio.gather(*(self.ask(self.longest, False) for _ in range(SLOTS)))
        begin, found = time.perf_counter(), []
        while not found or time.perf_counter() < begin + seconds:
            exchanges = [
                await self.start(self.numbers.randrange(1, self.longest), n % 2 == 0)
                for n in range(SLOTS)
            ]
            await asyncio.sleep(0.3)
            for each in exchanges[::3]:
                each.transport.abort()
            await asyncio.wait([each.over for each in exchanges], timeout=PATIENCE)
            await self.refused()
            found.append((time.perf_counter() - begin, self.server.resident_bytes()))
        return found


async def killed(command: list[str], shape: dict[str, int], given: Namespace) -> dict[str, float]:
    """Kill a server amid many streams, and start it again on the same port."""
    count = 60 if given.smoke else 1000
    with ServerProcess(command, given.threads) as server:
        abuse = Abuse(server, shape, given.smoke)
        exchanges = await asyncio.gather(*(Exchange(server.port).connect() for _ in range(count)))
        for each in exchanges:
            each.send(abuse.content(abuse.longest))
        while not all(each.status for each in exchanges):
            await asyncio.sleep(0.01)
        begin = time.perf_counter()
        server.kill()
        await asyncio.wait([each.over for each in exchanges], timeout=PATIENCE)
        cut = time.perf_counter() - begin
        whole = sum(each.ended > 0 for each in exchanges)
        over = sum(each.over.done() for each in exchanges)
        found = {
            "streams": count,
            "cut": over - whole,
            "hanging": count - over,
            "cut_seconds": cut,
        }
    begin = time.perf_counter()
    with ServerProcess(command, given.threads, port=server.port) as again:
        answered = await Abuse(again, shape, given.smoke).ask(8)
        if answered.status != 200:
            raise SystemExit(f"status {answered.status} of the server that was started again")
        return {**found, "restart_seconds": time.perf_counter() - begin}


async def measure(abuse: Abuse, given: Namespace, result: Result) -> None:
    """Run all parts, one after another."""
    parts: dict[str, Any] = {
        "abandoned": abuse.abandoned,
        "crowd": abuse.crowd,
        "slow_readers": abuse.slow_readers,
        "idle": abuse.idle,
    }
    for name, part in parts.items():
        result.figures[name] = await part()
    minutes = 0.05 if given.smoke else given.minutes
    memory = await abuse.soak(60 * minutes)
    result.figures["memory"] = memory
    late = [size for second, size in memory if second >= WARM_UP * memory[-1][0]]
    result.figures["growth_percent"] = 100 * (late[-1] / late[0] - 1)


def describe(result: Result) -> None:
    """Add the table and the targets."""
    found = result.figures
    left, crowd, slow = found["abandoned"], found["crowd"], found["slow_readers"]
    idle, killed = found["idle"]["share"], found["killed"]
    share = slow["tokens_per_s_beside"] / slow["tokens_per_s_before"]
    sizes = [size for _, size in found["memory"]]
    result.tables.append(
        Table(
            ["", ""],
            [
                ["one request after the abandoned ones, seconds", f"{left['seconds']:.2f}"],
                ["refused before it, times", f"{left['refused']}"],
                ["texts that run or wait then", f"{left['running'] + left['waiting']:.0f}"],
                ["streams of the crowd: answered", f"{crowd['answered']:.0f}"],
                ["refused (429)", f"{crowd['refused']:.0f}"],
                ["neither", f"{crowd['neither']:.0f}"],
                ["tokens/s beside slow readers, of those without", f"{share:.2f}"],
                ["CPU of the idle server, of one core", f"{idle:.2%}"],
                ["streams when the server was killed", f"{killed['streams']:.0f}"],
                ["cut", f"{killed['cut']:.0f}"],
                ["seconds until all clients knew", f"{killed['cut_seconds']:.2f}"],
                ["seconds until a new server answered", f"{killed['restart_seconds']:.2f}"],
                ["minutes of the soak", f"{found['memory'][-1][0] / 60:.1f}"],
                ["resident memory, MB, median", f"{statistics.median(sizes) / 1e6:,.0f}"],
                ["growth after the first tenth, percent", f"{found['growth_percent']:.2f}"],
            ],
        )
    )
    result.target("seconds of one request after the abandoned ones", left["seconds"], at_most=2)
    result.target("slots in use after them", left["running"] + left["waiting"], at_most=0)
    result.target("streams neither answered nor refused", crowd["neither"], at_most=0)
    result.target("tokens/s beside slow readers, of those without", share, at_least=0.9)
    result.target("CPU of the idle server, of one core", idle, at_most=0.01)
    result.target("clients that wait for a killed server", killed["hanging"], at_most=0)
    result.target("seconds until all clients knew", killed["cut_seconds"], at_most=5)
    result.target("growth of memory, percent", found["growth_percent"], at_most=2)


def main() -> None:
    given = arguments(__doc__, 1, minutes=30)
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, max(least, 8192)), most))
    shape = {**SMOKE, "n_positions": 64} if given.smoke else GPT1
    result = Result("serving_soak", "Serving under abuse", {"shape": shape}, {})
    options = {"--slots": SLOTS, "--max-queued": QUEUE}
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(shape, Path(folder), "int8")
        with ServerProcess(ogpt_serve(model, given.threads, options), given.threads) as server:
            asyncio.run(measure(Abuse(server, shape, given.smoke), given, result))
        options["--max-queued"] = 1000
        command = ogpt_serve(model, given.threads, options)
        result.figures["killed"] = asyncio.run(killed(command, shape, given))
    describe(result)
    save(result, given)


if __name__ == "__main__":
    main()
