from pathlib import Path

import pytest

from ogpt import processor


@pytest.fixture
def cpuinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "_CPUINFO", file)
    processor.features.cache_clear()
    yield file
    processor.features.cache_clear()


def test_x86(cpuinfo: Path) -> None:
    cpuinfo.write_text("model name\t: A CPU @ 2 GHz\nflags\t\t: fpu avx2 amx_bf16\n")
    assert processor.features() == {"fpu", "avx2", "amx_bf16"}
    assert processor.multiplies_bfloat16()
    assert processor.name() == "A CPU @ 2 GHz"


def test_arm(cpuinfo: Path) -> None:
    cpuinfo.write_text("Features\t: fp asimd\n")
    assert not processor.multiplies_bfloat16()
    assert processor.name()


def test_nothing_told(cpuinfo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert processor.features() == frozenset()
    assert processor.name()
    cpuinfo.write_text("")
    processor.features.cache_clear()
    assert processor.features() == frozenset()
    monkeypatch.delattr(processor.os, "sched_getaffinity", raising=False)
    assert processor.cores() >= 1
