"""`make bench-peers`: a separate environment for each baseline that the project does not install.

    python -m benchmarks.peers.environments [servers]

The environments are in build/peers, or in the folder OGPT_BENCH_PEERS, which checkouts can share.
An environment made from other requirements counts as missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
PEERS = ("openvino", "ctranslate2", "llama_cpp", "transformers_tf")
"""Each has NAME.txt (its requirements) and NAME_peer.py beside this file."""
SERVERS = ("vllm", "llama_server", "openvino_genai")
"""Each has NAME.txt, and its command in `servers`."""

BUILD = {
    # compiled for this processor; the image part is not needed
    "CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF",
    "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
}


def folder() -> Path:
    """Folder of the baselines' environments and model files."""
    return Path(os.environ.get("OGPT_BENCH_PEERS") or ROOT / "build" / "peers")


def python(name: str) -> Path:
    """Interpreter of a baseline."""
    return folder() / name / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_set_up(name: str) -> bool:
    """Whether the environment matches the current requirements."""
    stamp = _stamp(name)
    return stamp.is_file() and stamp.read_text("utf-8") == _requirements(name).read_text("utf-8")


def set_up(name: str) -> None:
    """Create the environment of a baseline."""
    venv.create(folder() / name, clear=True, with_pip=True)
    command = [str(python(name)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    command += ["--no-deps", "-r", str(_requirements(name))]  # the lists are complete
    subprocess.run(command, check=True, env={**os.environ, **BUILD})
    _stamp(name).write_text(_requirements(name).read_text("utf-8"), "utf-8")


def releases(name: str, *packages: str) -> str:
    """The releases of some packages of an environment."""
    pins = dict(line.split("==") for line in _requirements(name).read_text("utf-8").split())
    return ", ".join(f"{package} {pins[package]}" for package in packages)


def _requirements(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.txt")


def _stamp(name: str) -> Path:
    return folder() / name / "requirements.txt"


def main() -> int:
    failed = []
    for name in SERVERS if sys.argv[1:] == ["servers"] else PEERS:
        if is_set_up(name):
            print(f"{name}: ready")
            continue
        print(f"{name}: installing into {folder() / name}; llama_cpp is compiled, which takes long")
        try:
            set_up(name)
        except subprocess.CalledProcessError:
            failed.append(name)
    for name in failed:
        print(f"{name} could not be installed; pip's error is above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
