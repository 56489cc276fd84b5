"""Load the native decoder once, in a separate process: time to first token, and memory.

The time starts after the imports. The folder is on disk, and in the page cache if it was read
before. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.native_contender import open_native
from benchmarks.peers.protocol import Setup
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Part
from ogpt.generation.searching.sampling import search

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory_bytes(name: str) -> int:
    """VmRSS (resident memory) or VmHWM (its peak) on Linux; 0 on other systems."""
    if not _STATUS.exists():
        return 0
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def main() -> None:
    given = json.loads(sys.argv[1])
    prompt, new = given.pop("prompt"), given.pop("new")
    setup = Setup(**{**given, "folder": Path(given["folder"])})
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # man 5 proc: resets VmHWM to the current resident memory
    before = memory_bytes("VmRSS")
    begin = time.perf_counter()
    decoder = open_native(setup, slots=1)
    np.argmax(decoder.run([Part(0, prompt)]).logits)
    seconds = time.perf_counter() - begin
    for _ in search(decoder, [prompt], GenerationSettings(max_new_tokens=new, do_sample=False)):
        pass
    found = {
        "seconds": seconds,
        "resident_bytes": memory_bytes("VmRSS") - before,
        "peak_bytes": memory_bytes("VmHWM") - before,
        "decoder_bytes": decoder.nbytes,
        "kernels": decoder.kernels,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
