"""Training contenders: each is a separate process that takes one step on request.

A separate process has its own peak memory, and uses no CPU while it waits.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.plain_gpt import PlainGPT

LEARNING_RATE = 2.5e-4
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Setup:
    """The work, the same for every contender."""

    shape: dict[str, int]
    """n_layer, n_head, n_embd, n_positions, vocab_size."""
    batch: int
    pdrop: float
    threads: int
    compiled: bool
    device: str = "cpu"

    @property
    def tokens(self) -> int:
        """Tokens of one step."""
        return self.batch * self.shape["n_positions"]


class Answer(NamedTuple):
    """Reply of a contender to one request."""

    seconds: float
    found: Any
    peak_bytes: int
    """Peak of resident (CPU) or allocated (GPU) memory since the last `forget`."""


Step = Callable[[], Any]


class Contender:
    """Handle of a contender's process."""

    def __init__(self, name: str, setup: Setup) -> None:
        self.name = name
        os.environ["OMP_NUM_THREADS"] = str(setup.threads)
        # threads that spin while they wait would take CPU time from the next contender
        os.environ["OMP_WAIT_POLICY"], os.environ["KMP_BLOCKTIME"] = "passive", "0"
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, setup), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self) -> Answer:
        """Take one step."""
        return self._ask("step")

    def forget(self) -> None:
        """Reset the memory peak."""
        self._ask("forget")

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join()

    def _ask(self, order: str) -> Answer:
        try:
            self._connection.send(order)
            return self._connection.recv()
        except (EOFError, OSError):
            raise SystemExit(f"the process of {self.name} ended; its error is above") from None


def _serve(connection: Connection, name: str, setup: Setup) -> None:
    torch.set_num_threads(setup.threads)
    torch.manual_seed(0)
    step = CONTENDERS[name](setup)
    while True:
        try:
            order = connection.recv()
        except EOFError:
            return  # closed from outside
        begin = time.perf_counter()
        found = None
        if order == "step":
            found = step()
            if setup.device == "cuda":
                torch.cuda.synchronize()
        else:
            _forget_peak(setup.device)
        connection.send(Answer(time.perf_counter() - begin, found, _peak_bytes(setup.device)))


def _ours(setup: Setup) -> Step:
    from ogpt.config.model import OpenAIGPTConfig
    from ogpt.config.pretrain_settings import TrainingSettings
    from ogpt.data.batch import Batch
    from ogpt.model.heads import OpenAIGPTLMHeadModel
    from ogpt.training.torch_objective import TorchLanguageModeling
    from ogpt.training.torch_step import TorchTrainStep

    pdrops = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), setup.pdrop)
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**setup.shape, **pdrops))
    fill(model)
    settings = TrainingSettings(
        precision="bfloat16",
        threads=setup.threads,
        weight_decay=WEIGHT_DECAY,
        clip_norm=CLIP_NORM,
    )
    train_step = TorchTrainStep(
        TorchLanguageModeling(model.to(setup.device)), settings, setup.compiled
    )
    batch = Batch(*(tensor.numpy() for tensor in ids_and_targets(setup)))

    def step() -> tuple[float, float]:
        result = train_step.train([batch], 0, LEARNING_RATE)
        return result.loss, result.grad_norm

    return step


def _transformers(setup: Setup) -> Step:
    from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

    pdrops = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), setup.pdrop)
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**setup.shape, **pdrops))
    ids, _ = ids_and_targets(setup)
    ids = ids.to(setup.device)
    return _torch_loop(model, lambda: model(ids, labels=ids).loss, setup)


def _plain(setup: Setup) -> Step:
    model = PlainGPT(**setup.shape, pdrop=setup.pdrop)
    ids, targets = (tensor.to(setup.device) for tensor in ids_and_targets(setup))
    compute = torch.compile(model) if setup.compiled else model
    return _torch_loop(model, lambda: compute(ids, targets), setup)


def _torch_loop(model: nn.Module, loss_of: Callable[[], Tensor], setup: Setup) -> Step:
    """A training step as in PyTorch's documentation."""
    fill(model)
    model.to(setup.device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
    )

    def step() -> tuple[float, float]:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(setup.device, torch.bfloat16):
            loss = loss_of()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        return loss.item(), norm.item()

    return step


def _products(setup: Setup) -> Step:
    """Measure bf16 matrix multiplications of the model's shapes, in operations per second."""
    N, C, V = setup.tokens, setup.shape["n_embd"], setup.shape["vocab_size"]
    shapes = {
        "attention in": (N, C, 3 * C),
        "attention out": (N, C, C),
        "MLP in": (N, C, 4 * C),
        "MLP out": (N, 4 * C, C),
        "MLP in, gradient of weights": (C, N, 4 * C),
        "head": (N, C, V),
    }

    def step() -> dict[str, float]:
        found = {}
        for name, (rows, inner, columns) in shapes.items():
            left = torch.randn(rows, inner, device=setup.device).bfloat16()
            right = torch.randn(inner, columns, device=setup.device).bfloat16()
            best = min(_seconds_of_product(left, right, setup.device) for _ in range(4))
            title = f"{name}, {rows} x {inner} x {columns}"
            found[title] = 2.0 * rows * inner * columns / best
        return found

    return step


def _seconds_of_product(left: Tensor, right: Tensor, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    begin = time.perf_counter()
    torch.mm(left, right)
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


PRODUCTS = "matrix multiplications"
CONTENDERS: dict[str, Callable[[Setup], Step]] = {
    "ogpt": _ours,
    "plain PyTorch": _plain,
    "transformers": _transformers,
    PRODUCTS: _products,
}


@torch.no_grad()
def fill(model: nn.Module) -> None:
    """Initialize each weight from a hash of its name, so that all contenders have the same weights.

    Every part of the model affects the loss, and greedy text does not repeat a single token:
    position embeddings are larger than in a fresh model, the rest is about the same.
    """
    std = 0.6 * model.transformer.tokens_embed.weight.shape[1] ** -0.5
    linear = {
        f"{name}.weight" for name, part in model.named_modules() if isinstance(part, nn.Linear)
    }
    for name, parameter in model.named_parameters():
        transposed = name in linear and "lm_head" not in name  # Conv1D keeps input x output
        shape = parameter.shape[::-1] if transposed else parameter.shape
        numbers = np.random.default_rng(zlib.crc32(name.encode()))
        drawn = torch.from_numpy(numbers.standard_normal(shape, np.float32))
        drawn *= 7 * std if "positions" in name else std
        if name.endswith(("ln_1.weight", "ln_2.weight")):
            drawn += 1.0
        parameter.copy_(drawn.t() if transposed else drawn)


def ids_and_targets(setup: Setup) -> tuple[Tensor, Tensor]:
    """Random ids (B, T), and the next id of each; -100 (ignored) after the last."""
    numbers = np.random.default_rng(0)
    shape = (setup.batch, setup.shape["n_positions"])
    ids = torch.from_numpy(numbers.integers(setup.shape["vocab_size"], size=shape))
    targets = torch.full_like(ids, -100)
    targets[:, :-1] = ids[:, 1:]
    return ids, targets


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _peak_bytes(device: str) -> int:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    if _STATUS.exists():  # getrusage includes the parent's memory, and cannot be reset
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif _CLEAR.exists():
        _CLEAR.write_text("5")  # man 5 proc: resets VmHWM to the current resident memory
