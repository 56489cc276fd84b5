"""The built wheel and sdist are whole: installed with the source tree away, everything runs."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from ogpt.decoding.native.library import LIBRARY as LIBRARY_FILE
from ogpt.version import __version__
from tests.contracts.sources import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

IMPORT_ALL = """
import importlib, importlib.util, pkgutil, sys
import ogpt
left = {"ogpt.__main__", "ogpt.serving.documents.migrations.env"}  # Alembic runs the latter
if importlib.util.find_spec("triton") is None:  # it comes with PyTorch's CUDA build
    left |= {"ogpt.model.cuda.triton_kernels", "ogpt.model.cuda.fused_step"}
without_tf = importlib.util.find_spec("tensorflow") is None
for module in pkgutil.walk_packages(ogpt.__path__, "ogpt."):
    of_tf = module.name.startswith(("ogpt.tf.", "ogpt.training.tf_"))
    if module.name not in left and not (without_tf and of_tf):
        importlib.import_module(module.name)
from ogpt.config.loader import load_settings, preset_names
for name in preset_names():
    load_settings(name)
sys.stdout.write(ogpt.__file__)
"""

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
NATIVE = "ogpt/decoding/native/"
LIBRARY = NATIVE + LIBRARY_FILE.name


def outcome(
    *command: str | Path, cwd: Path, path: Path | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """Run a command with the environment variables `settings`."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(path or ""), "OMP_NUM_THREADS": "1", **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def run(*command: str | Path, cwd: Path, path: Path | None = None, **settings: str) -> str:
    result = outcome(*command, cwd=cwd, path=path, **settings)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, so that building leaves nothing behind in it."""
    source = tmp_path_factory.mktemp("source") / "ogpt"
    unwanted = (
        ".*cache",
        "__pycache__",
        "*.egg-info",
        ".git",
        ".venv",
        "runs",
        "build",
        "libogpt.*",
    )
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*unwanted))
    return source


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", out)
    run(*command, cwd=source, OGPT_REQUIRE_NATIVE="1")
    return out


@pytest.fixture(scope="module")
def site(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel is installed; what it depends on is where the tests run."""
    site = tmp_path_factory.mktemp("site")
    wheel = next(built.glob("*.whl"))
    run(*PIP, "install", "--quiet", "--no-deps", "--target", site, wheel, cwd=site)
    return site


def files_below(folder: Path) -> set[str]:
    """Names of all files below a folder, as they stand in its parent."""
    names = {file.relative_to(folder.parent).as_posix() for file in folder.rglob("*.*")}
    return {name for name in names if ".egg-info" not in name}


def test_wheel_holds_every_file(source: Path, built: Path) -> None:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    assert {"ogpt/py.typed", "ogpt/config/presets/paper.toml", "ogpt/recipes/report.html"} <= names
    needless = {name for name in files_below(source / "src" / "ogpt") if "/csrc/" in name}
    expected = files_below(source / "src" / "ogpt") - needless | {LIBRARY}
    assert expected == {name for name in names if name.startswith("ogpt/")}
    licences = f"ogpt-{__version__}.dist-info/licenses/"
    assert {licences + "LICENSE", licences + "THIRD_PARTY_NOTICES.md"} <= names


def test_the_wheel_is_for_every_python_of_this_platform(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.name.startswith(f"ogpt-{__version__}-py3-none-")
    assert not wheel.name.endswith("-any.whl")


def test_without_a_compiler(source: Path, tmp_path: Path) -> None:
    command = (*PIP, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", tmp_path, source)
    run(*command, cwd=tmp_path, CC="false", CXX="false")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert LIBRARY not in names
    assert NATIVE + "library.py" in names
    refused = outcome(*command, cwd=tmp_path, CC="false", CXX="false", OGPT_REQUIRE_NATIVE="1")
    assert refused.returncode != 0
    assert "libogpt" in refused.stdout + refused.stderr


def test_an_editable_install_builds_in_place(source: Path, tmp_path: Path) -> None:
    command = (*PIP, "install", "--no-build-isolation", "--no-deps", "--target", tmp_path)
    try:
        run(*command, "-e", source, cwd=tmp_path, OGPT_REQUIRE_NATIVE="1")
        assert (source / "src" / LIBRARY).is_file()
    finally:
        (source / "src" / LIBRARY).unlink(missing_ok=True)


def test_sdist_holds_what_the_tests_need(source: Path, built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for folder in ("src", "tests", "docs", "benchmarks"):
        assert files_below(source / folder) <= names
    assert {"Makefile", "constraints.txt", ".ci/run", "README.md", "CHANGELOG.md"} <= names
    assert "setup.py" in names


def test_everything_imports_from_the_wheel(site: Path, tmp_path: Path) -> None:
    where = run(sys.executable, "-c", IMPORT_ALL, cwd=tmp_path, path=site)
    assert Path(where).is_relative_to(site)


def test_the_command_runs_from_the_wheel(site: Path, tmp_path: Path) -> None:
    ogpt = site / "bin" / "ogpt"
    assert run(ogpt, "--version", cwd=tmp_path, path=site) == f"ogpt {__version__}\n"
    assert "train-tokenizer" in run(ogpt, "--help", cwd=tmp_path, path=site)
    assert "built; kernels: " in run(ogpt, "doctor", cwd=tmp_path, path=site)
    assert "--help" in run(sys.executable, "-m", "ogpt", "--help", cwd=tmp_path, path=site)


def test_a_small_story_runs_from_the_wheel(site: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat . the dog sat on the log .\n" * 400)
    ogpt = site / "bin" / "ogpt"
    settings = [
        word
        for setting in (
            "model.n_layer=1",
            "model.n_embd=16",
            "model.n_head=2",
            "model.n_positions=16",
            "tokenizer.vocab_size=60",
            "training.max_steps=3",
            "training.warmup_steps=1",
            "training.batch_size=4",
            "training.micro_batch_size=4",
            "training.threads=1",
            "training.compile=off",
        )
        for word in ("--set", setting)
    ]
    train = ["pretrain", "--data", "text.txt", "--out", "run", *settings]
    run(ogpt, *train, cwd=tmp_path, path=site)
    run(ogpt, "generate", "run", "the cat", "--max-new-tokens", "5", cwd=tmp_path, path=site)
    assert "n_layer" in run(ogpt, "info", "run", cwd=tmp_path, path=site)
