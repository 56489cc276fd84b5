"""`doctor` reports what is there, what is missing, and the command that fixes it."""

import ctypes
import platform
import re
import shutil
import sys
import sysconfig
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from ogpt import processor
from ogpt.errors import BackendMissing
from ogpt.workflows import doctor as diagnosing
from ogpt.workflows.doctor import Check, doctor

ROOT = Path(__file__).parents[2]


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_everything_is_looked_at() -> None:
    checks = by_name(doctor())
    assert {
        "ogpt",
        "python",
        "torch",
        "cores",
        "bfloat16",
        "amx",
        "gpu",
        "c++ compiler",
        "native decoder",
    } <= set(checks)
    assert all(check.value for check in checks.values())
    assert checks["numpy"] == Check("numpy", metadata.version("numpy"))


def test_packages_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    def names(requirements: list[str]) -> tuple[str, ...]:
        return tuple(re.split("[>[]", requirement)[0] for requirement in requirements)

    assert names(project["dependencies"]) == diagnosing.CORE
    extras = project["optional-dependencies"]
    assert {
        extra: names(extras[extra]) for extra in extras if extra not in ("all", "dev", "docs")
    } == diagnosing.EXTRAS


def test_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def without_zstandard(name: str) -> str:
        if name == "zstandard":
            raise metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(metadata, "version", without_zstandard)
    assert by_name(diagnosing.packages())["zstandard"] == Check(
        "zstandard", "missing", "pip install 'ogpt[data]'"
    )


@pytest.mark.parametrize(
    ("features", "bfloat16", "amx"),
    [
        (set(), "slower than float32", "not in this processor"),
        ({"avx2", "avx512_bf16"}, "multiplied by the processor", "not in this processor"),
        ({"amx_tile", "amx_bf16"}, "multiplied by the processor", "in the processor, but not"),
    ],
)
def test_processor(
    monkeypatch: pytest.MonkeyPatch, features: set[str], bfloat16: str, amx: str
) -> None:
    monkeypatch.setattr(processor, "features", lambda: frozenset(features))
    monkeypatch.setattr(diagnosing, "kernel_grants_amx", lambda: False)
    checks = by_name(diagnosing.machine())
    assert checks["bfloat16"].value == bfloat16
    assert checks["amx"].value.startswith(amx)
    shown = checks["instructions"].value
    assert set(shown.split()) == features if features else shown.startswith("none of")


def test_amx_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "features", lambda: frozenset({"amx_tile"}))
    monkeypatch.setattr(diagnosing, "kernel_grants_amx", lambda: True)
    assert by_name(diagnosing.machine())["amx"].value == "granted by the kernel"


class TestKernelGrantsAmx:
    @pytest.mark.parametrize(("status", "granted"), [(0, True), (-1, False)])
    def test_the_kernel_is_asked(
        self, monkeypatch: pytest.MonkeyPatch, status: int, granted: bool
    ) -> None:
        asked = []

        def syscall(*numbers: int) -> int:
            asked.append(numbers)
            return status

        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(syscall=syscall))
        assert diagnosing.kernel_grants_amx() is granted
        assert asked == [(158, 0x1023, 18)]

    @pytest.mark.parametrize(("system", "machine"), [("darwin", "x86_64"), ("linux", "aarch64")])
    def test_other_machines_are_not(
        self, monkeypatch: pytest.MonkeyPatch, system: str, machine: str
    ) -> None:
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(platform, "machine", lambda: machine)
        assert diagnosing.kernel_grants_amx() is False


class TestCompiler:
    def test_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setattr(
            shutil, "which", lambda name: sys.executable if name == "clang++" else None
        )
        check = by_name(diagnosing.compiler())["c++ compiler"]
        assert check == Check("c++ compiler", f"Python {platform.python_version()}")

    def test_named_by_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        monkeypatch.setenv("CXX", "my-c++")
        monkeypatch.setattr(shutil, "which", asked.append)
        check = by_name(diagnosing.compiler())["c++ compiler"]
        assert asked[0] == "my-c++"
        assert check.value == "missing: training runs without torch.compile"
        assert check.fix == "apt install g++"

    def test_headers_missing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
        check = by_name(diagnosing.compiler())["python headers"]
        assert check == Check(
            "python headers", f"missing: {tmp_path / 'Python.h'}", "apt install python3-dev"
        )

    def test_headers_found(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "Python.h").touch()
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
        assert by_name(diagnosing.compiler())["python headers"].fix == ""


class TestNativeDecoder:
    def test_built(self) -> None:
        check = diagnosing.native_decoder()
        assert check.value.startswith("built; kernels: ")
        assert check.value.endswith("portable")

    def test_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing() -> tuple[str, ...]:
            raise BackendMissing("not built", hint="build it")

        monkeypatch.setattr(diagnosing, "available_kernels", missing)
        assert diagnosing.native_decoder() == Check(
            "native decoder", "missing: PyTorch is used instead, which is much slower", "build it"
        )


class TestGpu:
    def test_without_torch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        assert diagnosing.gpu().fix == "pip install 'ogpt[torch]'"

    def test_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert diagnosing.gpu().value.startswith("none")

    def test_a_card(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        card = SimpleNamespace(name="A card", total_memory=80 * 2**30)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
        assert diagnosing.gpu() == Check("gpu", "A card, 80 GiB")
