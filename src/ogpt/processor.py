"""CPU features, as reported by the kernel."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

MOST_THREADS = 1024
"""Maximum number of threads of a setting. Some thousands exhaust what the system gives a user."""

_CPUINFO = Path("/proc/cpuinfo")


@cache
def features() -> frozenset[str]:
    """Names of instruction sets, such as avx512_bf16 and amx_bf16; empty outside Linux."""
    if not _CPUINFO.exists():
        return frozenset()
    for line in _CPUINFO.read_text("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):  # x86, Arm
            return frozenset(value.split())
    return frozenset()


def multiplies_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 matrices in hardware (x86: AMX, AVX-512; Arm: BF16)."""
    return bool(features() & {"amx_bf16", "avx512_bf16", "bf16"})


def name() -> str:
    """Model name of the processor, or else its architecture."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text("utf-8", "replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.machine()


def cores() -> int:
    """Number of cores that this process may use."""
    # Containers and taskset restrict the affinity, which cpu_count ignores.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
