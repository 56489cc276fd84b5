"""Device, dtype, compilation and threads of a PyTorch run."""

from __future__ import annotations

import shutil
import sysconfig
import time
from pathlib import Path

import torch

from ogpt import notices, processor
from ogpt.config.pretrain_settings import TrainingSettings

COMPILE_PAYS_SECONDS = 60.0
"""Estimated seconds of training above which compiling, which takes about 30 s, pays."""

_FLOPS_PER_S = 1e11
"""Speed that the estimate assumes: about that of a few CPU cores."""

_MEASURE_SECONDS = 0.5
"""The best of many products is taken: other work on the machine rarely disturbs all of them."""


def choose_device() -> torch.device:
    """The GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of activations; weights and moments are always float32.

    auto uses bfloat16 only where the hardware multiplies it: emulated, it is slower than float32.
    bfloat16 on other hardware gives the notice `precision-emulated`.
    """
    if device.type == "cuda":
        multiplies = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        multiplies = processor.multiplies_bfloat16()
    if precision == "bfloat16" and not multiplies:
        notices.tell("precision-emulated", precision=precision)
    if precision == "bfloat16" or (precision == "auto" and multiplies):
        return torch.bfloat16
    return torch.float32


def choose_compile(setting: str, flops: float, device: torch.device) -> bool:
    """Whether to compile a run of `flops` floating-point operations.

    auto compiles a run that is long enough to earn the compiler's time back. Where a run should be
    compiled and no compiler is installed, the notice `compile-unavailable` says so.
    """
    pays = flops > COMPILE_PAYS_SECONDS * _FLOPS_PER_S
    if setting == "off" or (setting == "auto" and not pays):
        return False
    missing = compiler_missing(device)
    if missing:
        notices.tell("compile-unavailable", reason=missing)
    return not missing


def compiler_missing(device: torch.device) -> str:
    """What torch.compile lacks on this machine; empty if nothing."""
    if device.type == "cuda":
        return ""  # Triton brings its own
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "no C++ compiler was found (install g++)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "the headers of this Python were not found (install python3-dev)"
    return ""


def set_threads(settings: TrainingSettings) -> int:
    """Use settings.threads CPU threads, or all cores; return their number."""
    threads = settings.threads or processor.cores()
    torch.set_num_threads(threads)
    return threads


def best_matrix_product(dtype: torch.dtype, device: torch.device) -> float:
    """Operations per second of the best of many large matrix multiplications.

    MFU is relative to it: a data sheet's peak is not reached by any program, and a virtual CPU has
    none.
    """
    best, spent = 0.0, 0.0
    rows, inner, columns = (2048, 1024, 4096) if device.type == "cpu" else (8192, 8192, 8192)
    left = torch.randn(rows, inner, device=device).to(dtype)
    right = torch.randn(inner, columns, device=device).to(dtype)
    while spent < _MEASURE_SECONDS:
        begin = time.perf_counter()
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        best = max(best, 2.0 * rows * inner * columns / seconds)
        spent += seconds
    return best
