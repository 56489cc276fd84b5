"""The numbers of the benchmark of decoding on a GPU."""

import numpy as np

from benchmarks import gpu_decoding
from benchmarks.measuring import Result

SHAPE = {"n_layer": 3, "n_head": 1, "n_embd": 4, "n_positions": 64, "vocab_size": 10}


def test_the_bytes_of_steps() -> None:
    weights = 10 * 4 + 3 * 12 * 16
    held = (33 + 34) * 2 * 3 * 4 * 2  # keys and values, of three layers, two bytes each
    assert gpu_decoding.bytes_of_steps(SHAPE, 1, 2, 2) == 2 * weights * 2 + held
    assert gpu_decoding.bytes_of_steps(SHAPE, 5, 2, 1) == 2 * weights + 5 * held


def test_shares_targets_and_pairs() -> None:
    def run(seconds: float) -> gpu_decoding.Run:
        return gpu_decoding.Run(np.zeros((3, 4), int), 1.0, 1.0 + seconds)

    names = ["ogpt", "ogpt deterministic", gpu_decoding.PEER]
    found = {name: [run(2.0), run(2.0)] for name in names}
    n_bytes = gpu_decoding.bytes_of_steps(SHAPE, 4, 2, 2)
    result = Result("made_up", "Made up", {}, {}, figures={"steps_s": {}, "equal_ids": {}})
    gpu_decoding._add(result, 4, 3, SHAPE, {**found, "bandwidth": [n_bytes / 1.5, n_bytes / 3]})
    assert result.targets == [
        {
            "what": "share of the bandwidth floor, ogpt, 4",
            "wanted": "at least 0.6",
            "found": 0.75,
            "met": True,
        }
    ]
    assert result.pairs["ogpt deterministic, 4 / ogpt, 4"] == [1.0, 1.0]
    assert result.tables[0].rows[0][2:] == ["1000.000", "75%"]
    assert result.tables[0].rows[2][2:] == ["", ""]
