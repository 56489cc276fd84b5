"""The native core under the address, undefined-behaviour and thread sanitizers."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ogpt.decoding.native.library import LIBRARY

CSRC = LIBRARY.parent / "csrc"
DRIVER = Path(__file__).with_name("driver.cpp")
COMPILER = os.environ.get("CXX", "g++")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CSRC.is_dir(), reason="the sources of the core are not installed"),
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason="needs a C++ compiler"),
]


def build(folder: Path, sources: list[Path], *options: str) -> Path:
    program = folder / "driver"
    flags = (
        "-std=c++17",
        "-ffp-contract=off",
        "-O1",
        "-g",
        "-fno-omit-frame-pointer",
        "-Wno-psabi",
        "-pthread",
    )
    command = [COMPILER, *flags, *options, f"-I{CSRC}", *map(str, sources), "-o", str(program)]
    subprocess.run(command, check=True)
    return program


def run(program: Path, *kernels: str) -> subprocess.CompletedProcess[str]:
    settings = {"UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "halt_on_error=1"}
    return subprocess.run(
        [str(program), *kernels],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


SANITIZERS = {
    "address and undefined": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}


def test_no_address_and_nothing_undefined_is_found(tmp_path: Path) -> None:
    sources = [DRIVER, *sorted(CSRC.glob("*.cpp"))]
    result = run(build(tmp_path, sources, *SANITIZERS["address and undefined"]))
    assert result.returncode == 0, result.stdout + result.stderr


def test_no_race_is_found(tmp_path: Path) -> None:
    sources = [DRIVER, *sorted(CSRC.glob("*.cpp"))]
    result = run(build(tmp_path, sources, *SANITIZERS["thread"]), "portable")  # threads are alike
    assert result.returncode == 0, result.stdout + result.stderr


FAULTS = {  # what a kernel, a pack or a barrier may do wrong
    "address and undefined": "int main(int n, char**) { int* a = new int[n]; return a[n]; }",
    "thread": """
        #include <thread>
        int shared = 0;
        int main() {
          std::thread other([] { for (int i = 0; i < 1000; ++i) ++shared; });
          for (int i = 0; i < 1000; ++i) ++shared;
          other.join();
        }""",
}


@pytest.mark.parametrize("name", SANITIZERS)
def test_a_planted_fault_is_found(tmp_path: Path, name: str) -> None:
    source = tmp_path / "fault.cpp"
    source.write_text(FAULTS[name])
    assert run(build(tmp_path, [source], *SANITIZERS[name])).returncode != 0
