import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import Batch
from ogpt.errors import TrainingDiverged, TrainingInterrupted
from ogpt.folders.run_folder import RunFolder
from ogpt.training import loop as loop_module
from ogpt.training.loop import BestBy, Loop, Probes, ValidationSet, evaluate, total_steps
from ogpt.training.objective import Total
from ogpt.training.schedule import warmup_cosine
from ogpt.training.step import BatchResult, StepResult
from tests.training.counter import Counter, names, nothing

ROW = Batch(np.zeros((2, 4), np.int64), np.zeros((2, 4), np.int64))


class Source:
    n_windows = 20

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def batch(self, first: int, count: int) -> Batch:
        self.asked.append((first, count))
        return ROW


def tokens(totals: Any, predictions: Any) -> dict[str, float]:
    return {"tokens": totals["loss"].count}


def make(
    tmp_path: Path,
    step: Any,
    state: Any = None,
    best: BestBy | None = None,
    probes: Probes = tuple,
    **settings: Any,
) -> Loop:
    chosen = TrainingSettings(
        **{
            "epochs": 1.0,
            "batch_size": 4,
            "micro_batch_size": 2,
            "warmup_steps": 0,
            "learning_rate": 0.1,
            "log_every": 1,
            "checkpoint_minutes": 0,
            **settings,
        }
    )
    events: list[tuple[str, dict[str, Any]]] = []
    run = RunFolder.create(tmp_path / "run", "")
    made = Loop(
        step,
        Source(),
        ValidationSet(lambda: [ROW, ROW], tokens),
        chosen,
        schedule=lambda step: warmup_cosine(step, chosen.warmup_steps, 5),
        best=best or BestBy(),
        task="counting",
        run=run,
        reporter=lambda kind, **fields: events.append((kind, fields)),
        add_files=nothing,
        state=state,
        probes=probes,
    )
    made.events = events  # type: ignore[attr-defined]
    return made


def kinds(loop: Loop, kind: str) -> list[dict[str, Any]]:
    return [fields for seen, fields in loop.events if seen == kind]  # type: ignore[attr-defined]


def test_steps_of_a_run() -> None:
    assert total_steps(TrainingSettings(epochs=1.0, batch_size=4, micro_batch_size=2), 20) == 5
    assert total_steps(TrainingSettings(epochs=1.5, batch_size=8), 20) == 4
    assert total_steps(TrainingSettings(epochs=0.001, batch_size=8), 20) == 1
    assert total_steps(TrainingSettings(max_steps=3), 10_000) == 3


def test_a_run_to_its_end(tmp_path: Path) -> None:
    loop = make(tmp_path, Counter(), eval_every=2, checkpoint_every=3)
    found = loop.run()
    assert [event["step"] for event in kinds(loop, "train")] == [1, 2, 3, 4, 5]
    assert [event["step"] for event in kinds(loop, "eval")] == [2, 4, 5]
    asked = [part for part in loop.source.asked if part != (0, 1)]  # type: ignore[attr-defined]
    assert asked == [(first, 2) for first in range(0, 20, 2)]
    last = kinds(loop, "train")[-1]
    assert last["epoch"] == 1.0
    assert last["eta_s"] == 0
    assert last["learning_rate"] < kinds(loop, "train")[0]["learning_rate"]
    assert found["loss"] == pytest.approx((10 - loop.train_step.value) / 10)  # type: ignore[attr-defined]
    assert {event["task"] for _, event in loop.events} == {"counting"}  # type: ignore[attr-defined]
    assert names(loop.run_folder) == ["step-00000005"]  # best and last are one
    assert loop.run_folder.facts["best"] == "step-00000005"


def test_probes_follow_each_evaluation(tmp_path: Path) -> None:
    counter = Counter()
    loop = make(tmp_path, counter, eval_every=2, probes=lambda: [{"value": counter.value}] * 2)
    loop.run()
    seen = [kind for kind, _ in loop.events if kind != "train"]  # type: ignore[attr-defined]
    # before the checkpoint: what resumes from it has them
    assert seen[:4] == ["eval", "probe", "probe", "checkpoint"]
    probes = kinds(loop, "probe")
    assert [event["step"] for event in probes] == [2, 2, 4, 4, 5, 5]
    assert probes[-1]["value"] == counter.value > probes[0]["value"]
    assert {event["task"] for event in probes} == {"counting"}


def test_checkpoints_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 100_000, 40))
    monkeypatch.setattr(loop_module.time, "monotonic", lambda: float(next(clock)))
    loop = make(tmp_path, Counter(), eval_every=1000, checkpoint_every=0, checkpoint_minutes=1.0)
    loop.run()
    reasons = [event["reason"] for event in kinds(loop, "checkpoint")]
    assert reasons.count("time to save") >= 1


class Worse(Counter):
    """Better at the second evaluation than at any other."""

    def evaluate(self, batch: Batch) -> BatchResult:
        self.seen = getattr(self, "seen", 0) + 1
        return BatchResult({"loss": Total(1.0 if self.seen in (3, 4) else 5.0, 10)}, None)


def test_the_best_checkpoint_outlives_worse_ones(tmp_path: Path) -> None:
    loop = make(tmp_path, Worse(), eval_every=1, checkpoint_every=1)
    loop.run()
    assert names(loop.run_folder) == ["step-00000002", "step-00000005"]
    assert loop.run_folder.facts["best"] == "step-00000002"


def test_some_windows_while_training_all_at_the_end(tmp_path: Path) -> None:
    loop = make(tmp_path, Counter(), eval_every=2, eval_windows=2)
    assert loop.run()["tokens"] == 20
    assert [event["tokens"] for event in kinds(loop, "eval")] == [10, 10, 10]
    assert evaluate(loop.train_step, loop.valid, 1)["tokens"] == 10


class Diverging(Counter):
    def train(self, batches: list[Batch], step: int, learning_rate: float) -> StepResult:
        result = super().train(batches, step, learning_rate)
        return result._replace(measures={"loss": math.nan if step == 2 else 1.0})


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path: Path) -> None:
    loop = make(tmp_path, Diverging(), checkpoint_every=1, eval_every=1000)
    with pytest.raises(TrainingDiverged, match=r"step 3: loss nan.*rate.*step-00000002") as caught:
        loop.run()
    assert "--init" in caught.value.hint
    assert names(loop.run_folder) == ["step-00000002"]


class Broken(Counter):
    """The second update makes weights whose loss is not a number; its own loss was one."""

    def evaluate(self, batch: Batch) -> BatchResult:
        return BatchResult({"loss": Total(math.nan if self.taken >= 2 else 1.0, 10)}, None)

    taken = 0

    def train(self, batches: list[Batch], step: int, learning_rate: float) -> StepResult:
        self.taken = step + 1
        return super().train(batches, step, learning_rate)


def test_broken_weights_never_replace_a_good_checkpoint(tmp_path: Path) -> None:
    loop = make(tmp_path, Broken(), checkpoint_every=1, eval_every=1000)
    with pytest.raises(TrainingDiverged, match=r"loss nan after step 2, .*step-00000001$"):
        loop.run()
    assert names(loop.run_folder) == ["step-00000001"]


def test_an_evaluation_that_is_not_a_number_stops_the_run(tmp_path: Path) -> None:
    loop = make(tmp_path, Broken(), checkpoint_every=0, eval_every=2)
    with pytest.raises(TrainingDiverged, match=r"loss nan after step 2.*no checkpoint yet"):
        loop.run()


class InterruptedEvaluation(Counter):
    """Ctrl-C at the `call`-th evaluated batch."""

    def __init__(self, call: int) -> None:
        super().__init__()
        self.left = call

    def evaluate(self, batch: Batch) -> BatchResult:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return super().evaluate(batch)


@pytest.mark.parametrize(("steps", "call"), [(3, 1), (1, 2)])  # while training, and at the end
def test_a_stop_request_during_an_evaluation_keeps_it(
    tmp_path: Path, steps: int, call: int
) -> None:
    loop = make(tmp_path, InterruptedEvaluation(call), eval_every=1, max_steps=steps)
    with pytest.raises(TrainingInterrupted, match="after step 1"):
        loop.run()
    assert [event["step"] for event in kinds(loop, "eval")] == [1]
    assert loop.run_folder.facts["best"] == "step-00000001"


@pytest.fixture
def hang_up_ends() -> Iterator[None]:
    """SIGHUP as a terminal's process has it, also where the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Interrupting(Counter):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def train(self, batches: list[Batch], step: int, learning_rate: float) -> StepResult:
        if step == 1:
            os.kill(os.getpid(), self.number)
        return super().train(batches, step, learning_rate)


@pytest.mark.usefixtures("hang_up_ends")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_request_saves_first(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    loop = make(tmp_path, Interrupting(number))
    with pytest.raises(TrainingInterrupted, match="after step 2 of 5") as caught:
        loop.run()
    assert "--resume" in caught.value.hint
    assert names(loop.run_folder) == ["step-00000002"]
    assert signal.getsignal(number) is before
    (message,) = kinds(loop, "message")
    assert message["text"].startswith("stopping: this step is finished")


class HangingUp(Counter):
    """SIGHUP twice, as shell and kernel send it when a terminal is closed."""

    def train(self, batches: list[Batch], step: int, learning_rate: float) -> StepResult:
        if step == 1:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGHUP)
        return super().train(batches, step, learning_rate)


@pytest.mark.usefixtures("hang_up_ends")
def test_a_second_hang_up_does_not_end_the_process(tmp_path: Path) -> None:
    loop = make(tmp_path, HangingUp())
    with pytest.raises(TrainingInterrupted, match="after step 2 of 5"):
        loop.run()
    assert names(loop.run_folder) == ["step-00000002"]
    assert len(kinds(loop, "message")) == 1


def test_nohup_is_respected(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        loop = make(tmp_path, HangingUp())
        loop.run()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert loop.step == 5


def test_a_resumed_loop_continues(tmp_path: Path) -> None:
    loop = make(tmp_path, Counter(), {"step": 3, "best_value": 0.1, "seconds": 900.0})
    assert 900 < loop.seconds < 1000
    loop.run()
    assert [event["step"] for event in kinds(loop, "train")] == [4, 5]
    assert loop.best_value == 0.1


def test_outside_the_main_thread_no_signals_are_handled(tmp_path: Path) -> None:
    loop = make(tmp_path, Counter())
    thread = threading.Thread(target=loop.run)
    thread.start()
    thread.join()
    assert loop.step == 5
