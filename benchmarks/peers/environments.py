"""`make bench-peers`: an environment of its own for each peer that the project does not install.

They lie in build/peers, or where OGPT_BENCH_PEERS says, so that checkouts can share them. One that
was made from other requirements counts as missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ("openvino", "ctranslate2", "llama_cpp")
"""Each has NAME.txt, what is installed, and NAME_peer.py beside this file."""

BUILD = {
    # compiled for the processor at hand; its image part is not needed
    "CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF",
    "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
}


def folder() -> Path:
    """Where environments and model files of peers are."""
    return Path(os.environ.get("OGPT_BENCH_PEERS") or ROOT / "build" / "peers")


def python(name: str) -> Path:
    """The interpreter of a peer."""
    return folder() / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_set_up(name: str) -> bool:
    """Whether a peer's environment holds what its requirements ask for now."""
    stamp = _stamp(name)
    return stamp.is_file() and stamp.read_text("utf-8") == _requirements(name).read_text("utf-8")


def set_up(name: str) -> None:
    """Make the environment of a peer."""
    venv.create(folder() / name, clear=True, with_pip=True)
    command = [str(python(name)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["-r", str(_requirements(name))]
    subprocess.run(command, check=True, env={**os.environ, **BUILD})
    _stamp(name).write_text(_requirements(name).read_text("utf-8"), "utf-8")


def _requirements(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.txt")


def _stamp(name: str) -> Path:
    return folder() / name / "requirements.txt"


def main() -> int:
    failed = []
    for name in PEERS:
        if is_set_up(name):
            print(f"{name}: ready")
            continue
        print(f"{name}: setting up in {folder() / name}; llama_cpp is compiled, which takes long")
        try:
            set_up(name)
        except subprocess.CalledProcessError:
            failed.append(name)
    for name in failed:
        print(f"{name} could not be set up; pip's error stands above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
