"""The training loop: steps, reports, evaluations, checkpoints; a model is a TrainStep to it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import Batch
from ogpt.errors import TrainingDiverged, TrainingInterrupted
from ogpt.folders.model_folder import CHECKPOINTS
from ogpt.folders.run_folder import RunFolder
from ogpt.reporting import Reporter
from ogpt.training.cost import flops_utilization
from ogpt.training.interrupts import stop_requests
from ogpt.training.objective import LOSS, Total, Totals, added_totals, means
from ogpt.training.schedule import Schedule
from ogpt.training.step import TrainStep

Measures = dict[str, float]
"""Named results of an evaluation; "loss" is among them."""

Probes = Callable[[], Iterable[Mapping[str, Any]]]
"""Measures the model on more than the validation set, such as the paper's zero-shot probes;
returns the fields of one `probe` event each."""


class BatchSource(Protocol):
    """Batches to train on: a pure function of the global window index, so that a run can resume."""

    @property
    def n_windows(self) -> int:
        """Windows (or examples) in one epoch."""
        ...

    def batch(self, first: int, count: int) -> Batch:
        """Windows first to first + count of the endless sequence of epochs."""
        ...


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """Validation set: a fresh pass over its batches per evaluation, and what follows from it."""

    batches: Callable[[], Iterable[Batch]]
    derived: Callable[[Totals, Sequence[NDArray[Any]]], Measures]
    """Totals and predictions of all batches -> measures beside the objective's means: perplexity
    of a language model, or a score such as F1, which is no mean over examples."""


@dataclass(frozen=True, slots=True)
class BestBy:
    """The measure of the validation set that decides which checkpoint is best."""

    measure: str = LOSS
    greater_is_better: bool = False

    def improves(self, measures: Measures, best: float | None) -> bool:
        """Whether an evaluation is better than the best value so far; None: there is none yet."""
        value = measures[self.measure]
        if math.isnan(value):  # a correlation of constants, say; nothing compares with it
            return False
        return best is None or (value > best if self.greater_is_better else value < best)


def total_steps(settings: TrainingSettings, n_windows: int) -> int:
    """Optimizer steps of a run over `n_windows` windows per epoch, at least 1."""
    steps = max(1, math.ceil(settings.epochs * n_windows / settings.batch_size))
    return min(steps, settings.max_steps) if settings.max_steps else steps


def evaluate(train_step: TrainStep, valid: ValidationSet, windows: int = 0) -> Measures:
    """Evaluate on the validation set, or on its first `windows` windows; 0 uses all."""
    totals: dict[str, Total] = {}
    predictions: list[NDArray[Any]] = []
    seen = 0
    for batch in valid.batches():
        result = train_step.evaluate(batch)
        totals = added_totals(totals, result.totals)
        if result.predictions is not None:
            predictions.append(result.predictions)
        seen += len(batch)
        if windows and seen >= windows:
            break
    return means(totals, train_step.objective.coefficients) | valid.derived(totals, predictions)


class Loop:
    """A run from its last checkpoint to its end.

    Args:
        train_step: The model and its optimizer.
        source: Batches to train on.
        valid: The validation set.
        settings: Batch sizes, rates, and how often to report, evaluate and save.
        schedule: Factor of the learning rate for each step.
        best: What decides which checkpoint is best.
        task: Name of the work, for reports.
        run: Where checkpoints go.
        reporter: Receives the events (`ogpt.reporting`).
        add_files: Adds what else belongs in a model folder: tokenizer, card.
        state: What the last checkpoint remembers; None starts at step 0.
        probes: Called after each evaluation; by default there are none.
    """

    def __init__(
        self,
        train_step: TrainStep,
        source: BatchSource,
        valid: ValidationSet,
        settings: TrainingSettings,
        *,
        schedule: Schedule,
        best: BestBy,
        task: str,
        run: RunFolder,
        reporter: Reporter,
        add_files: Callable[[Path], None],
        state: Mapping[str, Any] | None,
        probes: Probes = tuple,
    ) -> None:
        self.train_step = train_step
        self.source = source
        self.valid = valid
        self.settings = settings
        self.schedule = schedule
        self.best = best
        self.task = task
        self.run_folder = run
        self.reporter = reporter
        self.add_files = add_files
        self.probes = probes
        self.total = total_steps(settings, source.n_windows)
        self.step = 0 if state is None else int(state["step"])
        self.best_value: float | None = None if state is None else state["best_value"]
        self.saved_step = -1 if state is None else self.step
        self.saved_at = time.monotonic()
        self._began = self.saved_at - (0.0 if state is None else state.get("seconds", 0.0))
        self._restart_clock()

    @property
    def seconds(self) -> float:
        """Wall time of the run up to now, evaluations and checkpoints included.

        Steps that a kill lost and that are taken again count once.
        """
        return time.monotonic() - self._began

    def run(self) -> Measures:
        """Train to the end; return the measures on the whole validation set.

        Raises:
            TrainingDiverged: a loss or gradient that is not finite; the update was not applied.
            TrainingInterrupted: Ctrl-C, SIGTERM or SIGHUP, after a checkpoint.
            StorageError: a checkpoint could not be written; the one before is whole.
        """
        with stop_requests(self._announce_stop) as stop:
            self._restart_clock()
            while self.step < self.total:
                self._train_one()
                at_end = self.step == self.total
                if self.step % self.settings.eval_every == 0 and not at_end:
                    self._evaluate_and_keep()
                if self._checkpoint_due() or (at_end and self.saved_step != self.step):
                    self._save(best=False, reason="the end" if at_end else "time to save")
                self._stop_if_requested(stop)
            found = self._evaluate_and_keep()
            if self.settings.eval_windows:
                self._stop_if_requested(stop)
                found = self._evaluate(0)
            self._stop_if_requested(stop)
            return found

    def _train_one(self) -> None:
        settings = self.settings
        first = self.step * settings.batch_size
        micro = settings.micro_batch_size
        parts = range(first, first + settings.batch_size, micro)
        batches = [self.source.batch(start, micro) for start in parts]
        tokens = sum(batch.n_tokens for batch in batches)
        rate = self._rate()
        result = self.train_step.train(batches, self.step, rate)
        if not result.finite:
            raise self._diverged(
                f"step {self.step + 1}: loss {result.loss}, gradient norm {result.grad_norm}"
            )
        self.step += 1
        self._tokens += tokens
        if self.step % settings.log_every == 0 or self.step == self.total:
            tokens_per_s = self._tokens / (time.perf_counter() - self._clock)
            self._report(
                "train",
                total_steps=self.total,
                epoch=self.step * settings.batch_size / self.source.n_windows,
                **result.measures,
                learning_rate=rate,
                grad_norm=result.grad_norm,
                tokens=tokens,
                tokens_per_s=tokens_per_s,
                mfu=flops_utilization(
                    tokens_per_s, self.train_step.flops_per_token, self.train_step.peak_flops_per_s
                ),
                eta_s=(self.total - self.step) * tokens / tokens_per_s,
            )
            self._restart_clock()

    def _evaluate_and_keep(self) -> Measures:
        # always on the same windows: `best` must compare values of one text
        found = self._evaluate(self.settings.eval_windows)
        self._report("eval", **found)
        # before the checkpoint: a run that resumes from it has the probes of its step already
        for probe in self.probes():
            self._report("probe", **probe)
        if self.best.improves(found, self.best_value):
            self.best_value = found[self.best.measure]
            self._save(best=True, reason="best so far")
        self._restart_clock()
        return found

    def _evaluate(self, windows: int) -> Measures:
        found = evaluate(self.train_step, self.valid, windows)
        if not math.isfinite(found[LOSS]):
            raise self._diverged(f"validation loss {found[LOSS]} after step {self.step}")
        return found

    def _checkpoint_due(self) -> bool:
        if self.saved_step == self.step:
            return False
        every, minutes = self.settings.checkpoint_every, self.settings.checkpoint_minutes
        by_step = every > 0 and self.step % every == 0
        return by_step or (minutes > 0 and time.monotonic() - self.saved_at > 60 * minutes)

    def _save(self, *, best: bool, reason: str) -> None:
        # A finite gradient can still move the weights to where the loss is not a number, and the
        # next step would find out too late: the last good checkpoint would be gone by then.
        probe = self.train_step.evaluate(self.source.batch(0, 1))
        loss = means(probe.totals, self.train_step.objective.coefficients)[LOSS]
        if not math.isfinite(loss):
            raise self._diverged(f"loss {loss} after step {self.step}")
        state = {"best_value": self.best_value, "seconds": self.seconds}
        if best and self.saved_step == self.step:
            path = self.run_folder.mark_best(state)
        else:
            path = self.run_folder.save(self.step, best=best, state=state, write=self._write)
        self.saved_step, self.saved_at = self.step, time.monotonic()
        self._report("checkpoint", path=str(path), reason=reason)
        self._restart_clock()

    def _write(self, folder: Path) -> None:
        self.train_step.save(folder)
        self.add_files(folder)

    def _stop_if_requested(self, stop: threading.Event) -> None:
        """Save and raise, if Ctrl-C, SIGTERM or SIGHUP came."""
        if not stop.is_set():
            return
        if self.saved_step != self.step:
            self._save(best=False, reason="interrupted")
        raise TrainingInterrupted(
            f"stopped after step {self.step} of {self.total}; the run is saved",
            hint="resume with the same command and --resume",
        )

    def _announce_stop(self) -> None:
        text = "stopping: this step is finished and the run saved first (again to stop at once)"
        self.reporter("message", text=text)

    def _diverged(self, what: str) -> TrainingDiverged:
        name = self.run_folder.facts["last"]
        last, again = "there is no checkpoint yet", ""
        if name:
            last = f"the last good checkpoint is {self.run_folder.path / CHECKPOINTS / name}"
            again = " from that checkpoint (pretrain --init, finetune --model)"
        return TrainingDiverged(
            f"{what}, at learning rate {self._rate():.3g}; {last}",
            hint="lower learning_rate, or lengthen the warm-up (training.warmup_steps, "
            f"finetune.warmup_fraction), and start another run{again}",
        )

    def _rate(self) -> float:
        """Learning rate of the next step."""
        return self.settings.learning_rate * self.schedule(self.step)

    def _report(self, kind: str, **fields: Any) -> None:
        self.reporter(kind, task=self.task, step=self.step, **fields)

    def _restart_clock(self) -> None:
        """Measure speed from now: evaluations and checkpoints are not training time."""
        self._clock, self._tokens = time.perf_counter(), 0
