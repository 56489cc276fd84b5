"""Intel's tiles (AMX) on processors that lack them: each tile instruction traps and is emulated.

The vectors beside them are then those of AVX2. Where the processor has tiles, it is what is tested.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ogpt.decoding.native.library import LIBRARY

CSRC = LIBRARY.parent / "csrc"
HERE = Path(__file__).parent
COMPILER = os.environ.get("CXX", "g++")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FLAGS = (
    "-std=c++17",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-psabi",
    f"-I{CSRC}",
)
TRAPPED = (*FLAGS, "-O2", "-g", "-pthread", "-DOGPT_TRAPPED_TILES", "-Wl,--wrap=syscall")


def has_avx2() -> bool:
    info = Path("/proc/cpuinfo")
    return sys.platform == "linux" and info.is_file() and " avx2 " in info.read_text()


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not CSRC.is_dir(), reason="the sources of the core are not installed"),
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason="needs a C++ compiler"),
    pytest.mark.skipif(
        platform.machine() != "x86_64" or not has_avx2(), reason="needs Linux and AVX2"
    ),
]


def build(target: Path, sources: list[Path], *options: str) -> Path:
    command = [COMPILER, *options, *map(str, sources), "-o", str(target)]
    subprocess.run(command, check=True)
    return target


def run(program: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(program), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def compiled(folder: Path, *options: str) -> list[Path]:
    """The kernels, and what tiles_driver.cpp needs beside them."""
    trap = build(folder / "trap.o", [HERE / "trapped_tiles.cpp"], *TRAPPED, "-O3", "-c")
    names = ("kernels_amx", "packing", "rounding", "numbers")
    return [trap] + [
        build(folder / f"{name}.o", [CSRC / f"{name}.cpp"], *TRAPPED, *options, "-c")
        for name in names
    ]


def test_sums_are_those_of_the_plain_order(tmp_path: Path) -> None:
    """To the bit, at 1 to 70 rows, for any part of the outputs; nothing else is read or written."""
    sources = [HERE / "tiles_driver.cpp", *compiled(tmp_path, *SANITIZERS)]
    result = run(build(tmp_path / "driver", sources, *TRAPPED, *SANITIZERS))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Without sanitizers, with which the kernels take a minute and a half to compile."""
    return compiled(tmp_path_factory.mktemp("kernels"))


FAULTS = {
    "kNone": "",
    "kPanelsBeyond": "float32",
    "kRowLeftOut": "float32",
    "kRowsSwapped": "float32",
    "kBlockForgotten": "bfloat16",
    "kNibblesWrong": "int4",
}
"""What tiles_driver.cpp can plant, and the first precision in which its comparison finds it."""


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(tmp_path: Path, kernels: list[Path], name: str) -> None:
    sources = [HERE / "tiles_driver.cpp", *kernels]
    result = run(build(tmp_path / "driver", sources, *TRAPPED, f"-DOGPT_FAULT={name}"))
    found = FAULTS[name]
    assert result.returncode == bool(found)
    assert result.stdout.split()[-1:] == found.split()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sources = [HERE / "driver.cpp", HERE / "trapped_tiles.cpp", *sorted(CSRC.glob("*.cpp"))]
    return build(tmp_path_factory.mktemp("whole") / "driver", sources, *TRAPPED)


def test_a_model_gives_the_same_bits_in_any_company(whole: Path) -> None:
    result = run(whole, "amx")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.split()[0] == "amx"


def test_where_the_system_refuses_tiles_the_next_kernels_are_taken(whole: Path) -> None:
    result = run(whole, "none", OGPT_REFUSE_TILES="1")
    assert result.returncode == 0
    assert "avx2" in result.stdout.split()
    assert "amx" not in result.stdout.split()


def test_the_kernels_of_a_build_use_tiles(tmp_path: Path) -> None:
    disassembler = shutil.which("objdump")
    if disassembler is None:
        pytest.skip("needs objdump")
    kernels = build(tmp_path / "kernels.o", [CSRC / "kernels_amx.cpp"], *FLAGS, "-O3", "-c")
    code = subprocess.run(
        [disassembler, "-d", str(kernels)], capture_output=True, text=True, check=True
    ).stdout
    for instruction in ("ldtilecfg", "tdpbf16ps", "tdpbssd", "vpdpbusd", "tilerelease"):
        assert instruction in code
