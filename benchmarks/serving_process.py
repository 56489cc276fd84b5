"""A server of a benchmark as a process, and a model folder for it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

from benchmarks.contenders import fill
from benchmarks.peers.remote import environment
from benchmarks.peers.vocabulary import vocabulary
from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.rounding import write_rounded
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.tokens.fast import OpenAIGPTTokenizerFast

STARTS_IN = 600.0
"""Seconds until a server must answer: some compile first."""


class ServerProcess:
    """Starts a server on a free port and waits until it answers; `with` ends it.

    Args:
        command: With "{port}" where the port belongs.
        threads: CPU threads.
        ready: Path that answers 200 when the server is ready.
        port: To listen on; 0: any that is free.
        more: Environment variables of its own.

    Raises:
        SystemExit: it ended, or did not answer in time.
    """

    def __init__(
        self,
        command: Sequence[str],
        threads: int,
        ready: str = "/health",
        *,
        port: int = 0,
        more: Mapping[str, str] | None = None,
    ) -> None:
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))
            self.port: int = free.getsockname()[1]
        words = [word.replace("{port}", str(self.port)) for word in command]
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # until `close`
        self._process = subprocess.Popen(
            words,
            stdout=self._log,
            stderr=self._log,
            env={**environment(threads), **(more or {})},
        )
        end = time.monotonic() + STARTS_IN
        while not self.answers(ready):
            if self._process.poll() is not None or time.monotonic() > end:
                self._log.seek(0)
                said = self._log.read()[-2000:]
                self.close()
                raise SystemExit(f"{said}\nthe server did not start: {' '.join(words)}")
            time.sleep(0.02)

    def answers(self, path: str) -> bool:
        """Whether a path has status 200 now."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    def post(self, path: str, content: Mapping[str, Any]) -> None:
        """Send a request and wait for its answer, whatever it says."""
        body, kind = json.dumps(content).encode(), {"content-type": "application/json"}
        request = Request(f"http://127.0.0.1:{self.port}{path}", body, kind)
        with urlopen(request, timeout=STARTS_IN) as answer:
            answer.read()

    def metrics(self) -> dict[str, float]:
        """The sum of each metric over its labels."""
        found: dict[str, float] = {}
        with urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            for line in answer.read().decode().splitlines():
                if not line.startswith("#"):
                    name, value = line.rsplit(" ", 1)
                    name = name.partition("{")[0]
                    found[name] = found.get(name, 0.0) + float(value)
        return found

    def resident_bytes(self) -> int:
        """Resident memory of the process."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def cpu_seconds(self) -> float:
        """CPU time of the process and its children since their start."""
        every = [one.cpu_times() for one in self._tree()]
        return sum(times.user + times.system for times in every)

    def pause(self) -> None:
        """Stop the process and its children, so that none of their threads takes CPU time."""
        self._send(signal.SIGSTOP)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """Let a paused server run for as long as the block does."""
        self._send(signal.SIGCONT)
        try:
            yield
        finally:
            self.pause()

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End the process, also where it is paused."""
        self._send(signal.SIGCONT)
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._send(signal.SIGKILL)
            self._process.wait()
        self._log.close()

    def _tree(self) -> list[psutil.Process]:
        """The process, if it has not ended, and its children."""
        if self._process.poll() is not None:
            return []
        process = psutil.Process(self._process.pid)
        return [process, *process.children(recursive=True)]

    def _send(self, number: int) -> None:
        for one in self._tree():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                one.send_signal(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def ogpt_serve(folder: Path, threads: int, options: Mapping[str, object]) -> list[str]:
    """The command of ogpt's server on a free port."""
    command = [sys.executable, "-m", "ogpt", "serve", str(folder), "--port", "{port}"]
    command += ["--threads", str(threads)]
    return command + [str(word) for pair in options.items() for word in pair]


def write_model(shape: dict[str, int], folder: Path, dtype: str = "") -> Path:
    """A folder with random weights and a tokenizer of the vocabulary's size.

    Args:
        shape: n_layer, n_head, n_embd, n_positions, vocab_size.
        folder: Empty or missing.
        dtype: As in `ogpt quantize --to`; empty: float32.

    Returns:
        The folder to serve.
    """
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**shape))
    fill(model)
    whole = folder / "float32"
    model.save_pretrained(whole)
    words, merges = vocabulary(shape["vocab_size"])
    tokenizer = OpenAIGPTTokenizerFast(
        vocab={word: number for number, word in enumerate(words)}, merges=merges
    )
    tokenizer.save_pretrained(whole)
    if not dtype:
        return whole
    (folder / dtype).mkdir()
    write_rounded(whole, folder / dtype, dtype, lambda done, total: None)
    tokenizer.save_pretrained(folder / dtype)
    return folder / dtype
