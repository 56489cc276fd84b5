"""Device, dtype, compilation and threads of a PyTorch run."""

from __future__ import annotations

import shutil
import sysconfig
import time
from pathlib import Path

import torch

from ogpt import notices, processor
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.training.run_precision import compiling_pays, uses_bfloat16

_MEASURE_SECONDS = 0.5
"""The best of many products is taken: other work on the machine rarely disturbs all of them."""


def choose_device() -> torch.device:
    """The GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def choose_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The dtype of activations; see uses_bfloat16."""
    if device.type == "cuda":
        multiplies = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        multiplies = processor.multiplies_bfloat16()
    return torch.bfloat16 if uses_bfloat16(precision, multiplies) else torch.float32


def choose_compile(setting: str, flops: float, device: torch.device) -> bool:
    """Whether to compile a run of `flops` floating-point operations; see compiling_pays.

    Where a run should be compiled and no compiler is installed, the notice `compile-unavailable`
    says so.
    """
    if not compiling_pays(setting, flops):
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
