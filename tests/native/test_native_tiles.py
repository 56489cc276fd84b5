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


def compile_comparison(folder: Path, *options: str) -> list[Path]:
    """What tiles_driver.cpp needs beside the kernels, compiled."""
    trap = build(folder / "trap.o", [HERE / "trapped_tiles.cpp"], *TRAPPED, "-O3", "-c")
    packing = [CSRC / f"{name}.cpp" for name in ("packing", "rounding", "numbers")]
    return [trap] + [
        build(folder / f"{source.stem}.o", [source], *TRAPPED, *options, "-c")
        for source in (HERE / "tiles_driver.cpp", *packing)
    ]


def test_sums_are_those_of_the_plain_order(tmp_path: Path) -> None:
    """To the bit, at 1 to 70 rows, for any part of the outputs; nothing else is read or written."""
    sources = [CSRC / "kernels_amx.cpp", *compile_comparison(tmp_path, *SANITIZERS)]
    result = run(build(tmp_path / "driver", sources, *TRAPPED, *SANITIZERS))
    assert result.returncode == 0, result.stdout + result.stderr


FAULTS = {
    "rows beyond the last are computed": ("tiles.h", "rows - kTile}", "kTile}"),
    "inputs and weights change places": ("tiles.h", "tmm%c2, %%tmm%c1, %%", "tmm%c1, %%tmm%c2, %%"),
    "a block forgets those before it": ("kernels_amx.cpp", "pair == 0", "pair >= 0"),
    "the halves of a byte are signed wrongly": ("kernels_amx.cpp", "& 15) - 8", "& 15) - 7"),
}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Without sanitizers, with which the kernels take a minute and a half to compile."""
    return compile_comparison(tmp_path_factory.mktemp("comparison"))


def test_the_kernels_without_a_fault_pass(tmp_path: Path, comparison: list[Path]) -> None:
    """As they are compiled for the faults, so that a fault is what fails there."""
    sources = [CSRC / "kernels_amx.cpp", *comparison]
    assert run(build(tmp_path / "driver", sources, *TRAPPED)).returncode == 0


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(tmp_path: Path, comparison: list[Path], name: str) -> None:
    file, right, wrong = FAULTS[name]
    copy = shutil.copytree(CSRC, tmp_path / "csrc")
    text = (copy / file).read_text()
    assert right in text
    (copy / file).write_text(text.replace(right, wrong))
    sources = [copy / "kernels_amx.cpp", *comparison]
    assert run(build(tmp_path / "driver", sources, *TRAPPED)).returncode != 0


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
