"""The native core built for 64-bit ARM by a cross compiler, and run by an emulator."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ogpt.decoding.native.library import LIBRARY

CSRC = LIBRARY.parent / "csrc"
DRIVER = Path(__file__).with_name("driver.cpp")
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CSRC.is_dir(), reason="the sources of the core are not installed"),
    *(
        pytest.mark.skipif(shutil.which(tool) is None, reason=f"needs {tool}")
        for tool in (COMPILER, EMULATOR)
    ),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    program = tmp_path_factory.mktemp("arm") / "driver"
    flags = (
        "-std=c++17",
        "-ffp-contract=off",
        "-O2",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-psabi",
        "-static",
    )
    sources = map(str, [DRIVER, *sorted(CSRC.glob("*.cpp"))])
    command = [COMPILER, *flags, "-pthread", f"-I{CSRC}", *sources, "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def run(driver: Path, processor: str, kernels: str) -> list[str]:
    command = [EMULATOR, "-cpu", processor, str(driver), kernels]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout.split()


def test_same_bits_in_any_company(driver: Path) -> None:
    assert run(driver, "max", "neon") == ["neon", "portable"]


def test_a_processor_without_dot_products(driver: Path) -> None:
    assert run(driver, "cortex-a57", "portable") == ["portable"]
