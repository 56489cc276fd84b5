"""`ogpt pretrain --plan`: what a run would cost, measured before it starts."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar

from ogpt.config.described import check_names
from ogpt.data.shards import Shards
from ogpt.errors import DataError
from ogpt.reporting import Reporter, silent
from ogpt.training.step import TrainStep
from ogpt.weights.shapes import parameter_count
from ogpt.workflows.pretrain import pretrain
from ogpt.workflows.pretrain_setup import (
    PretrainRequest,
    Setup,
    resolve_settings,
    set_up,
)
from ogpt.workflows.training_backend import make_pretrain_step, make_scorer

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Plan:
    """Estimated cost of a run."""

    parameters: int
    train_tokens: int
    valid_tokens: int
    tokens_per_step: int
    total_steps: int
    epochs: float
    flops: float
    """Of the whole run."""
    memory_bytes: int
    """Estimate of the peak."""
    dtype: str
    compile: str
    threads: int
    device: str
    peak_flops_per_s: float
    """Of the best matrix multiplication measured in that dtype."""
    tokens_per_s: float
    """Measured on a few micro-batches of the real shape."""
    mfu: float
    evaluations_s: float
    """Of all evaluations on the validation set."""
    probes_s: float
    """Of all measurements of the zero-shot probes."""
    eta_s: float
    """Of the whole run."""


def _same_arguments(function: Callable[P, Any]) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Give a function the arguments of another one: for mypy, help() and the API reference."""

    def decorate(decorated: Callable[..., R]) -> Callable[P, R]:
        own = inspect.signature(decorated)
        arguments = inspect.signature(function, eval_str=True)  # its names may be unknown here
        signature = arguments.replace(return_annotation=own.return_annotation)
        decorated.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it
        return decorated

    return decorate


@_same_arguments(pretrain)
def plan(*, reporter: Reporter = silent, **arguments: Any) -> Plan:
    """Estimate what `pretrain` with the same arguments would cost; nothing is trained.

    The text is prepared as for the run, in a temporary folder that is removed, unless `out` holds
    its shards already: nothing is left behind. Tokens per second are measured on micro-batches of
    the real shape, compiled if the run will be.
    """
    check_names(plan, arguments)
    request = PretrainRequest.of(**arguments)
    settings = resolve_settings(request)
    with TemporaryDirectory(prefix="ogpt-plan-") as temporary:
        work = request.out if _holds_shards(request.out) else Path(temporary)
        return _plan(set_up(request, settings, work, reporter))


def _holds_shards(out: Path) -> bool:
    """Whether `pretrain` has prepared the text in `out` to the end."""
    try:
        Shards.open(out / "shards")
    except DataError:
        return False
    return True


def _plan(setup: Setup) -> Plan:
    training, length = setup.settings.training, setup.config.n_positions
    step = make_pretrain_step(setup.config, setup.init, training, setup.run_tokens)
    tokens_per_s = _measured_speed(setup, step)
    step_tokens = training.batch_size * length
    evaluations_s = _evaluation_seconds(setup, step)
    probes_s = _evaluations(setup) * _probe_seconds(setup, step)
    training_s = setup.run_tokens / tokens_per_s
    return Plan(
        parameters=parameter_count(setup.config),
        train_tokens=len(setup.shards.train),
        valid_tokens=len(setup.shards.valid),
        tokens_per_step=step_tokens,
        total_steps=setup.total_steps,
        epochs=setup.total_steps * training.batch_size / setup.train.n_windows,
        flops=step.flops_per_token * setup.run_tokens,
        memory_bytes=step.memory_bytes,
        dtype=str(step.description["dtype"]),
        compile=str(step.description["compile"]),
        threads=int(step.description["threads"]),
        device=str(step.description["device"]),
        peak_flops_per_s=step.peak_flops_per_s,
        tokens_per_s=tokens_per_s,
        mfu=tokens_per_s * step.flops_per_token / step.peak_flops_per_s,
        evaluations_s=evaluations_s,
        probes_s=probes_s,
        eta_s=training_s + evaluations_s + probes_s,
    )


def _measured_speed(setup: Setup, step: TrainStep) -> float:
    """Tokens per second of training: the median of 3 micro-batches."""
    micro = setup.settings.training.micro_batch_size
    step.train([setup.train.batch(0, micro)], 0, 0.0)  # compiles, and touches all memory once
    rates = []
    for number in range(1, 4):
        begin = time.perf_counter()
        step.train([setup.train.batch(number * micro, micro)], number, 0.0)
        rates.append(micro * setup.config.n_positions / (time.perf_counter() - begin))
    return sorted(rates)[1]


def _evaluations(setup: Setup) -> int:
    """Evaluations of the run, each of which measures the probes too."""
    return -(-setup.total_steps // setup.settings.training.eval_every)


def _evaluation_seconds(setup: Setup, step: TrainStep) -> float:
    """Estimate for all evaluations, from one micro-batch of the validation set."""
    training, windows = setup.settings.training, max(1, setup.valid.n_windows)
    batch = next(setup.valid.sequential(training.micro_batch_size))
    begin = time.perf_counter()
    step.evaluate(batch)
    seconds_per_window = (time.perf_counter() - begin) / len(batch)
    each = min(training.eval_windows or windows, windows)
    whole = windows if training.eval_windows else 0  # the last one is of the whole set
    return seconds_per_window * (_evaluations(setup) * each + whole)


def _probe_seconds(setup: Setup, step: TrainStep) -> float:
    """Estimate for one measurement of the probes; 0 without them."""
    if setup.probes is None:
        return 0.0
    return setup.probes.seconds(make_scorer(step))
