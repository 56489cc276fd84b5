"""`ogpt finetune --plan`: what a fine-tuning would cost, measured before it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ogpt.config.described import check_names
from ogpt.data.batch import Batch
from ogpt.tasks.batching import TaskBatches
from ogpt.tasks.task_source import TaskSource
from ogpt.training.step import TrainStep
from ogpt.weights.shapes import parameter_count
from ogpt.workflows.finetune import EVAL_EXAMPLES
from ogpt.workflows.finetune_setup import (
    FinetuneRequest,
    FinetuneSetup,
    finetune_settings,
    make_finetune_step,
    set_up_finetune,
)
from ogpt.workflows.finetune_sweep import sweep_points

_MEASURED = 3
"""Optimizer steps that are timed, after as many that are not: torch.compile may compile again for
the first lengths."""


@dataclass(frozen=True, slots=True)
class FinetunePlan:
    """Estimated cost of a fine-tuning."""

    parameters: int
    train_examples: int
    valid_examples: int
    test_examples: int
    missing: tuple[str, ...]
    """Sets that were not passed, or have no labels to score with."""
    tokens_per_example: float
    """Mean over the training examples, all their sequences together."""
    longest_tokens: int
    """Of a sequence."""
    examples_per_step: int
    total_steps: int
    """Of one run."""
    runs: int
    """Seeds times points of the grid."""
    flops: float
    """Of all runs."""
    memory_bytes: int
    """Estimate of the peak."""
    dtype: str
    compile: str
    threads: int
    device: str
    peak_flops_per_s: float
    """Of the best matrix multiplication measured in that dtype."""
    examples_per_s: float
    """Measured on a few batches of the training set."""
    mfu: float
    eta_s: float
    """Of all runs, with their evaluations and the scoring of test sets."""


def finetune_plan(
    *, seeds: int = 1, grid: str | Sequence[str] = (), **arguments: Any
) -> FinetunePlan:
    """Estimate what `finetune` or `finetune_sweep` would cost; nothing is trained or written.

    The data is read and checked as for the run, and speed is measured on its batches.

    Args:
        seeds: As in `ogpt.finetune_sweep`.
        grid: As in `ogpt.finetune_sweep`.
        **arguments: Those of `ogpt.finetune`.

    Raises:
        OgptError: as in `ogpt.finetune`.
    """
    arguments.pop("reporter", None)
    check_names(finetune_plan, arguments, FinetuneRequest, TaskSource)
    request = FinetuneRequest.of(**arguments)
    settings = finetune_settings(request)
    points = sweep_points(request, settings.finetune.seed, seeds, grid)
    setup = set_up_finetune(request, settings)
    return _plan(setup, make_finetune_step(setup), runs=seeds * len(points))


def _plan(setup: FinetuneSetup, step: TrainStep, runs: int) -> FinetunePlan:
    train_s, train_tokens = _timed(setup, step)
    valid = next(iter(setup.valid.values()))
    valid_s = _evaluation_seconds(step.evaluate, valid)
    test_tokens = sum(one.encoded.n_tokens for one in setup.test.values())
    test_s = 0.0
    if test_tokens:  # in float32
        test_s = _evaluation_seconds(step.predict, valid) * test_tokens / valid.encoded.n_tokens
    tokens_per_example = setup.train.encoded.n_tokens / setup.train.n_windows
    run_tokens = setup.run_tokens
    tokens_per_s = train_tokens / train_s
    evaluations = -(-setup.total_steps // setup.training.eval_every)
    flops = step.flops_per_token * run_tokens
    return FinetunePlan(
        parameters=parameter_count(setup.folder.config, setup.folder.architecture),
        train_examples=setup.train.n_windows,
        valid_examples=sum(one.n_windows for one in setup.valid.values()),
        test_examples=sum(one.n_windows for one in setup.test.values()),
        missing=_missing(setup),
        tokens_per_example=tokens_per_example,
        longest_tokens=int(setup.train.lengths.max()),
        examples_per_step=setup.section.batch_size,
        total_steps=setup.total_steps,
        runs=runs,
        flops=runs * flops,
        memory_bytes=step.memory_bytes,
        dtype=str(step.description["dtype"]),
        compile=str(step.description["compile"]),
        threads=int(step.description["threads"]),
        device=str(step.description["device"]),
        peak_flops_per_s=step.peak_flops_per_s,
        examples_per_s=tokens_per_s / tokens_per_example,
        mfu=tokens_per_s * step.flops_per_token / step.peak_flops_per_s,
        eta_s=runs * (run_tokens / tokens_per_s + evaluations * valid_s + test_s),
    )


def _missing(setup: FinetuneSetup) -> tuple[str, ...]:
    if not setup.data.test:
        return ("test",)
    return tuple(f"labels of {name}" for name in setup.data.test if name not in setup.test)


def _timed(setup: FinetuneSetup, step: TrainStep) -> tuple[float, int]:
    """Seconds and tokens of a few optimizer steps."""
    size, micro = setup.training.batch_size, setup.training.micro_batch_size
    steps = [
        [setup.train.batch(start, micro) for start in range(first, first + size, micro)]
        for first in range(0, 2 * _MEASURED * size, size)
    ]
    for number, batches in enumerate(steps[:_MEASURED]):
        step.train(batches, number, 0.0)
    timed = steps[_MEASURED:]

    def train() -> None:
        for number, batches in enumerate(timed, start=_MEASURED):
            step.train(batches, number, 0.0)

    return _seconds(train), sum(batch.n_tokens for batches in timed for batch in batches)


def _evaluation_seconds(evaluate: Callable[[Batch], Any], batches: TaskBatches) -> float:
    """Estimate for one pass over the validation set, from a batch of average length."""
    order = batches.longest_first
    middle = range(0, len(order), EVAL_EXAMPLES)
    first = middle[len(middle) // 2]
    batch = batches.of(order[first : first + EVAL_EXAMPLES].tolist())
    seconds = _seconds(lambda: evaluate(batch))
    return seconds * batches.encoded.n_tokens / batch.n_tokens


def _seconds(work: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
