"""What a loaded model takes beside its packed weights and its cache: next to nothing."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.rounding import round_matrix
from ogpt.weights.arrays import Array
from ogpt.weights.precision import cast
from ogpt.weights.quantized import is_quantized, quantization_config, quantized_arrays
from ogpt.weights.safetensors_file import write_arrays
from ogpt.weights.shapes import weight_shapes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux tells of memory"),
]

MOST = 1.15  # of the packed weights and the cache
SIZES = {"vocab_size": 40_000, "n_positions": 512, "n_embd": 512, "n_layer": 12, "n_head": 8}

MEASURE = """
import json, sys
from pathlib import Path
import numpy as np
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.native.library import chosen_kernels
from ogpt.generation.protocol.decoder import Part
from ogpt.weights.model_weights import open_weights

def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    told = dict(line.split(":") for line in lines)
    return [int(told[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")]

folder, dtype, fault = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "fault"
chosen_kernels(dtype)
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = memory()[0]
kept = dict(open_weights(folder)) if fault else None
decoder = open_decoder(folder, decoder="native", dtype=dtype, threads=2)
loaded = memory()[0]
decoder.run([Part(0, range(100))])
for token in range(20):
    decoder.run([Part(0, [token])])
print(json.dumps([(bytes - before) / decoder.nbytes for bytes in [loaded, *memory()]]))
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One model in every form that a folder can have."""
    random = np.random.default_rng(0)
    config = OpenAIGPTConfig(**SIZES)
    arrays = {
        name: Array("float32", random.standard_normal(shape, np.float32) * np.float32(0.02))
        for name, shape in weight_shapes(config).items()
    }
    made = {}
    for form in ("float32", "bfloat16", "int8", "int4"):
        made[form] = tmp_path_factory.mktemp(form)
        stored = {}
        for name, array in arrays.items():
            if form.startswith("int") and is_quantized(name):
                stored |= quantized_arrays(name, round_matrix(name, array.data, form))
            else:
                stored[name] = cast(name, array, "bfloat16" if form == "bfloat16" else "float32")
        write_arrays(made[form] / "model.safetensors", stored)
        if form.startswith("int"):
            config.quantization_config = quantization_config(form)  # type: ignore[attr-defined]
        config.save_pretrained(made[form])
    return made


def measure(folder: Path, dtype: str, *fault: str) -> list[float]:
    """Resident after loading and after some steps, and at most: shares of weights and cache."""
    command = [sys.executable, "-c", MEASURE, str(folder), dtype, *(fault or ["right"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found: list[float] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("form", "dtype"),
    [
        ("float32", "float32"),
        ("float32", "bfloat16"),
        ("float32", "int8"),
        ("float32", "int4"),
        ("bfloat16", "bfloat16"),
        ("bfloat16", "float32"),
        ("int8", "int8"),
        ("int4", "int4"),
    ],
)
def test_memory_is_that_of_weights_and_cache(
    folders: dict[str, Path], form: str, dtype: str
) -> None:
    shares = measure(folders[form], dtype)
    assert max(shares) < MOST
    assert min(shares) > 0.5  # it measures at all


def test_arrays_that_stay_are_noticed(folders: dict[str, Path]) -> None:
    assert min(measure(folders["bfloat16"], "bfloat16", "fault")) > MOST
