"""`ogpt doctor`: what this machine offers, what is missing, and the command that fixes it."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ogpt import processor
from ogpt.decoding.native.library import available_kernels
from ogpt.errors import BackendMissing
from ogpt.version import __version__

CORE = ("numpy", "tokenizers", "huggingface_hub", "filelock", "typer", "rich")
EXTRAS = {
    "torch": ("torch",),
    "tf": ("tensorflow", "keras", "optree"),
    "original": ("spacy", "ftfy"),
    "data": ("pyarrow", "zstandard"),
    "eval": ("scikit-learn", "scipy"),
    "report": ("matplotlib", "tensorboard"),
    "h5": ("h5py",),
    "serve": ("fastapi", "uvicorn", "httptools", "prometheus-client", "sqlalchemy", "alembic"),
    "postgres": ("psycopg",),
    "chat": ("jinja2",),
}
"""The optional packages, by the extra that installs them (as in pyproject.toml)."""

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "bf16")


@dataclass(frozen=True, slots=True)
class Check:
    """One checked item."""

    name: str
    value: str
    fix: str = ""
    """Command that fixes it; empty: nothing is missing."""


def doctor() -> list[Check]:
    """Check the packages, the processor, the compiler, the native decoder and the GPU."""
    return [
        Check("ogpt", __version__),
        Check("python", f"{platform.python_version()} on {platform.platform()}"),
        *packages(),
        *machine(),
        *compiler(),
        native_decoder(),
        gpu(),
    ]


def packages() -> list[Check]:
    """The version of each package of the core and the extras."""
    checks = [_package(name, "pip install ogpt") for name in CORE]
    for extra, names in EXTRAS.items():
        checks += [_package(name, f"pip install 'ogpt[{extra}]'") for name in names]
    return checks


def machine() -> list[Check]:
    """Cores, and the instructions that determine which precision is fast."""
    found = [name for name in INSTRUCTIONS if name in processor.features()]
    multiplied = processor.multiplies_bfloat16()
    return [
        Check("processor", processor.name()),
        Check("cores", f"{processor.cores()} of {os.cpu_count()}"),
        Check("instructions", " ".join(found) or "none of " + " ".join(INSTRUCTIONS)),
        Check("bfloat16", "multiplied by the processor" if multiplied else "slower than float32"),
        Check("amx", _amx()),
    ]


def kernel_grants_amx() -> bool:
    """Whether Linux permits this process to use the AMX tiles (x86-64 only)."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    arch_prctl, request_permission, tile_data = 158, 0x1023, 18  # linux: asm/prctl.h
    status: int = ctypes.CDLL(None).syscall(arch_prctl, request_permission, tile_data)
    return status == 0


def compiler() -> list[Check]:
    """Requirements of torch.compile: a C++ compiler and Python's headers."""
    names = (os.environ.get("CXX", ""), "g++", "clang++", "c++")
    found = next(filter(None, map(shutil.which, filter(None, names))), None)
    version, fix = "missing: training runs without torch.compile", "apt install g++"
    if found is not None:
        output = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
        version, fix = (output.stdout.splitlines() or [found])[0], ""
    header = Path(sysconfig.get_path("include")) / "Python.h"
    headers = Check("python headers", str(header))
    if not header.is_file():
        headers = Check("python headers", f"missing: {header}", "apt install python3-dev")
    return [Check("c++ compiler", version, fix), headers]


def native_decoder() -> Check:
    """Whether the native decoder is built, and the kernels it can use, the preferred one first."""
    try:
        return Check("native decoder", f"built; kernels: {', '.join(available_kernels())}")
    except BackendMissing as error:
        return Check(
            "native decoder", "missing: PyTorch is used instead, which is much slower", error.hint
        )


def gpu() -> Check:
    """The GPU that PyTorch finds."""
    try:
        import torch
    except ImportError:
        return Check("gpu", "not checked: torch is missing", "pip install 'ogpt[torch]'")
    if not torch.cuda.is_available():
        build = torch.version.cuda or "none"
        return Check("gpu", f"none (CUDA of this torch build: {build}); the processor is used")
    card = torch.cuda.get_device_properties(0)
    return Check("gpu", f"{card.name}, {card.total_memory / 2**30:.0f} GiB")


def _package(name: str, fix: str) -> Check:
    try:
        return Check(name, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, "missing", fix)


def _amx() -> str:
    if "amx_tile" not in processor.features():
        return "not in this processor"
    if kernel_grants_amx():
        return "granted by the kernel"
    return "in the processor, but not granted by the kernel"
