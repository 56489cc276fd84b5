"""The dtype and the compiler that a PyTorch run gets."""

from __future__ import annotations

import shutil
import sysconfig
import time
from pathlib import Path

import torch

from ogpt import notices, processor
from ogpt.config.pretrain_settings import TrainingSettings

COMPILE_PAYS_SECONDS = 60.0
"""Estimated training time from which the compiler's half minute is earned back."""

_MEASURE_SECONDS = 0.5  # other work on the machine rarely lasts through all of it


def choose_device() -> torch.device:
    """The GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of activations; weights and moments are float32 always.

    auto means bfloat16 only where the processor multiplies it; asked for elsewhere, it is told.
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
    """Whether to compile a run of `flops` floating-point operations in all.

    Tells `compile-unavailable` where it was wanted and cannot be.
    """
    pays = flops > COMPILE_PAYS_SECONDS * 1e11
    if setting == "off" or (setting == "auto" and not pays):
        return False
    missing = compiler_missing(device)
    if missing:
        notices.tell("compile-unavailable", reason=missing)
    return not missing


def compiler_missing(device: torch.device) -> str:
    """What torch.compile lacks here; empty if nothing."""
    if device.type == "cuda":
        return ""
    if not any(shutil.which(name) for name in ("g++", "clang++", "c++")):
        return "no C++ compiler was found (install g++)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "the headers of this Python were not found (install python3-dev)"
    return ""


def set_threads(settings: TrainingSettings) -> int:
    """Use settings.threads CPU threads, or all cores; return how many."""
    threads = settings.threads or processor.cores()
    torch.set_num_threads(threads)
    return threads


def best_matrix_product(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second of the best matrix product seen in half a second of large ones."""
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
