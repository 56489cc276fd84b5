"""`ogpt pretrain --plan`: what a run would cost, measured before it starts."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar

from ogpt.data.shards import Shards
from ogpt.errors import DataError
from ogpt.reporting import Reporter, silent
from ogpt.training.step import TrainStep
from ogpt.weights.shapes import parameter_count
from ogpt.workflows.pretrain import pretrain
from ogpt.workflows.pretrain_setup import (
    PretrainRequest,
    Setup,
    make_train_step,
    resolve_settings,
    set_up,
)

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
    eta_s: float


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
    step = make_train_step(setup)
    tokens_per_s = _measured_speed(setup, step)
    step_tokens = training.batch_size * length
    return Plan(
        parameters=parameter_count(setup.config),
        train_tokens=len(setup.shards.train),
        valid_tokens=len(setup.shards.valid),
        tokens_per_step=step_tokens,
        total_steps=setup.total_steps,
        epochs=setup.total_steps * training.batch_size / setup.train.n_windows,
        flops=step.flops_per_token * setup.total_steps * step_tokens,
        memory_bytes=step.memory_bytes,
        dtype=str(step.description["dtype"]),
        compile=str(step.description["compile"]),
        threads=int(step.description["threads"]),
        device=str(step.description["device"]),
        peak_flops_per_s=step.peak_flops_per_s,
        tokens_per_s=tokens_per_s,
        mfu=tokens_per_s * step.flops_per_token / step.peak_flops_per_s,
        eta_s=setup.total_steps * step_tokens / tokens_per_s,
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
