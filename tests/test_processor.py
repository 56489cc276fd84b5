"""What the CPU can do, read from what the kernel tells."""

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from ogpt import processor

X86 = (
    "processor\t: 0\nmodel name\t: A CPU 2 GHz\nflags\t\t: sse avx2 avx512_bf16\n\nprocessor: 1\n"
)
ARM = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd bf16 i8mm\n"
BARE = "processor\t: 0\n"


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "cpuinfo")
    processor.features.cache_clear()
    yield tmp_path / "cpuinfo"
    processor.features.cache_clear()


@pytest.mark.parametrize(
    ("text", "features", "multiplies"),
    [
        (X86, {"sse", "avx2", "avx512_bf16"}, True),
        (X86.replace("avx512_bf16", "fma"), {"sse", "avx2", "fma"}, False),
        (ARM, {"fp", "asimd", "bf16", "i8mm"}, True),
        (BARE, set(), False),
        (None, set(), False),
    ],
)
def test_features(cpuinfo: Path, text: str | None, features: set[str], multiplies: bool) -> None:
    if text is not None:
        cpuinfo.write_text(text)
    assert processor.features() == features
    assert processor.multiplies_bfloat16() is multiplies


@pytest.mark.parametrize(("text", "name"), [(X86, "A CPU 2 GHz"), (ARM, None), (None, None)])
def test_name(cpuinfo: Path, text: str | None, name: str | None) -> None:
    if text is not None:
        cpuinfo.write_text(text)
    assert processor.name() == (name or platform.machine())


def test_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert processor.cores() == 3


@pytest.mark.parametrize(("count", "cores"), [(8, 8), (None, 1)])
def test_cores_without_affinity(
    monkeypatch: pytest.MonkeyPatch, count: int | None, cores: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert processor.cores() == cores
