"""The training loop: steps, reports, evaluations, checkpoints; a model is a TrainStep to it."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import Batch
from ogpt.errors import TrainingDiverged, TrainingInterrupted
from ogpt.folders.model_folder import CHECKPOINTS
from ogpt.folders.run_folder import RunFolder
from ogpt.generation.protocol.perplexity import bits_per_byte, perplexity
from ogpt.reporting import Reporter
from ogpt.training.cost import flops_utilization
from ogpt.training.schedule import warmup_cosine
from ogpt.training.step import TrainStep


class BatchSource(Protocol):
    """Where batches come from: a pure function of the global window index."""

    @property
    def n_windows(self) -> int:
        """Windows in one epoch."""
        ...

    def batch(self, first: int, count: int) -> Batch:
        """Windows first to first + count."""
        ...


@dataclass(frozen=True, slots=True)
class ValidText:
    """Held-out text: its windows, anew for each evaluation, and its size."""

    batches: Callable[[], Iterable[Batch]]
    n_tokens: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How well the model predicts the held-out text."""

    loss: float
    """Nats for each token."""
    perplexity: float
    bits_per_byte: float
    """Over the bytes of the original text."""
    tokens: int


def total_steps(settings: TrainingSettings, n_windows: int) -> int:
    """Optimizer steps of a run over `n_windows` windows an epoch, at least 1."""
    steps = max(1, math.ceil(settings.epochs * n_windows / settings.batch_size))
    return min(steps, settings.max_steps) if settings.max_steps else steps


def evaluate(train_step: TrainStep, valid: ValidText, windows: int = 0) -> Evaluation:
    """Score the held-out text, or its first `windows` windows (0: all)."""
    nats, tokens, seen = 0.0, 0, 0
    for batch in valid.batches():
        batch_nats, batch_tokens = train_step.evaluate(batch)
        nats += batch_nats
        tokens += batch_tokens
        seen += len(batch.ids)
        if windows and seen >= windows:
            break
    loss = nats / tokens
    text_bytes = round(valid.n_bytes * tokens / max(tokens, valid.n_tokens - 1))
    return Evaluation(loss, perplexity(loss), bits_per_byte(loss, tokens, text_bytes), tokens)


class Loop:
    """A run from its last checkpoint to its end."""

    def __init__(
        self,
        train_step: TrainStep,
        windows: BatchSource,
        valid: ValidText,
        settings: TrainingSettings,
        run: RunFolder,
        reporter: Reporter,
        add_files: Callable[[Path], None],
        state: dict[str, Any] | None,
    ) -> None:
        self.train_step = train_step
        self.windows = windows
        self.valid = valid
        self.settings = settings
        self.run_folder = run
        self.report = reporter
        self.add_files = add_files
        self.total = total_steps(settings, windows.n_windows)
        self.step = 0 if state is None else int(state["step"])
        self.best_loss = math.inf if state is None else float(state["best_loss"] or math.inf)
        self.saved_step = self.step if state is not None else -1
        self.saved_at = time.monotonic()

    def run(self) -> Evaluation:
        """Train to the end; return the evaluation on the whole held-out text.

        Raises:
            TrainingDiverged: a loss or gradient that is not finite; the weights are not touched.
            TrainingInterrupted: Ctrl-C or SIGTERM, after a checkpoint.
            StorageError: a checkpoint could not be written; the one before is whole.
        """
        with _stop_requests(self._tell_stop) as stop:
            began, tokens = time.perf_counter(), 0
            while self.step < self.total:
                tokens += self._train_one(began, tokens)
                at_end = self.step == self.total
                if self.step % self.settings.eval_every == 0 and not at_end:
                    self._evaluate_and_keep()
                    began, tokens = time.perf_counter(), 0
                if self._checkpoint_due() or (at_end and self.saved_step != self.step):
                    self._save(best=False, reason="the end" if at_end else "time to save")
                    began, tokens = time.perf_counter(), 0
                elif self.step % self.settings.log_every == 0:
                    began, tokens = time.perf_counter(), 0
                self._heed(stop)
            found = self._evaluate_and_keep()
            if self.settings.eval_windows:
                self._heed(stop)
                found = self._evaluate(0)
            self._heed(stop)
            return found

    def _tell_stop(self) -> None:
        text = "stopping: this step is finished and the run saved first (again to stop at once)"
        self.report("message", text=text)

    def _heed(self, stop: threading.Event) -> None:
        """Save and leave if a stop was asked for."""
        if not stop.is_set():
            return
        if self.saved_step != self.step:
            self._save(best=False, reason="interrupted")
        raise TrainingInterrupted(
            f"stopped after step {self.step} of {self.total}; the run is saved",
            hint="go on with the same command and --resume",
        )

    def _train_one(self, began: float, tokens_before: int) -> int:
        settings = self.settings
        first = self.step * settings.batch_size
        micro = settings.micro_batch_size
        parts = range(first, first + settings.batch_size, micro)
        batches = [self.windows.batch(start, micro) for start in parts]
        rate = self._rate()
        result = self.train_step.train(batches, self.step, rate)
        if not result.finite:
            raise self._diverged(
                f"step {self.step + 1}: loss {result.loss}, gradient norm {result.grad_norm}"
            )
        self.step += 1
        if self.step % settings.log_every == 0 or self.step == self.total:
            elapsed = time.perf_counter() - began
            tokens_per_s = (tokens_before + result.tokens) / elapsed
            self.report(
                "train",
                step=self.step,
                total_steps=self.total,
                epoch=self.step * settings.batch_size / self.windows.n_windows,
                loss=result.loss,
                learning_rate=rate,
                grad_norm=result.grad_norm,
                tokens=result.tokens,
                tokens_per_s=tokens_per_s,
                mfu=flops_utilization(
                    tokens_per_s, self.train_step.flops_per_token, self.train_step.peak_flops_per_s
                ),
                eta_s=(self.total - self.step) * result.tokens / tokens_per_s,
            )
        return result.tokens

    def _rate(self) -> float:
        """Learning rate of the next step."""
        settings = self.settings
        return settings.learning_rate * warmup_cosine(self.step, settings.warmup_steps, self.total)

    def _diverged(self, what: str) -> TrainingDiverged:
        name = self.run_folder.facts["last"]
        last = self.run_folder.path / CHECKPOINTS / name if name else "none yet"
        return TrainingDiverged(
            f"{what}, at learning rate {self._rate():.3g}; the last good checkpoint is {last}",
            hint="lower training.learning_rate or lengthen training.warmup_steps, and start "
            "from that checkpoint with --init",
        )

    def _evaluate(self, windows: int) -> Evaluation:
        found = evaluate(self.train_step, self.valid, windows)
        if not math.isfinite(found.loss):
            raise self._diverged(f"held-out loss {found.loss} after step {self.step}")
        return found

    def _evaluate_and_keep(self) -> Evaluation:
        found = self._evaluate(self.settings.eval_windows)  # best compares like with like
        self.report(
            "eval",
            step=self.step,
            loss=found.loss,
            perplexity=found.perplexity,
            bits_per_byte=found.bits_per_byte,
            tokens=found.tokens,
        )
        best = found.loss < self.best_loss
        if best:
            self.best_loss = found.loss
            self._save(best=True, reason="best so far")
        return found

    def _checkpoint_due(self) -> bool:
        if self.saved_step == self.step:
            return False
        every, minutes = self.settings.checkpoint_every, self.settings.checkpoint_minutes
        by_step = every > 0 and self.step % every == 0
        return by_step or (minutes > 0 and time.monotonic() - self.saved_at > 60 * minutes)

    def _save(self, *, best: bool, reason: str) -> None:
        # weights that the last update broke must not take the place of a good checkpoint
        loss, _ = self.train_step.evaluate(self.windows.batch(0, 1))
        if not math.isfinite(loss):
            raise self._diverged(f"loss {loss} after step {self.step}")
        state = {"best_loss": self.best_loss if math.isfinite(self.best_loss) else None}
        if best and self.saved_step == self.step:
            path = self.run_folder.mark_best(state)
        else:
            path = self.run_folder.save(
                self.train_step, self.step, best=best, state=state, add_files=self.add_files
            )
        self.saved_step, self.saved_at = self.step, time.monotonic()
        self.report("checkpoint", step=self.step, path=str(path), reason=reason)


@contextmanager
def _stop_requests(heard: Callable[[], None]) -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second one acts at once.

    `heard` is called at once, in a thread: what the signal interrupted may hold a lock or a file.
    """
    stop = threading.Event()
    told: list[threading.Thread] = []
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may handle signals
        return

    def request(number: int, frame: FrameType | None) -> None:
        stop.set()
        told.append(threading.Thread(target=heard))
        told[-1].start()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, request)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for thread in told:
            thread.join()
