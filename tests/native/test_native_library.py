"""Finding, loading and asking the native core; weights that it must not be given."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ogpt.decoding.native import library
from ogpt.decoding.native.library import Core, Shape
from ogpt.decoding.native.loading import load_core, stored_dtype, unused_weights
from ogpt.errors import BackendMissing, ConfigError, DecoderError, WeightsError
from ogpt.weights.arrays import Array
from tests.native.models import arrays_of, native, small_model

MATRIX = "transformer.h.1.mlp.c_fc.weight"


def changed(
    name: str, change: Callable[[np.ndarray], np.ndarray], dtype: str = "float32"
) -> dict[str, Array]:
    arrays = arrays_of(small_model())
    arrays[name] = Array(dtype, change(arrays[name].data.copy()))
    return arrays


def put(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(data: np.ndarray) -> np.ndarray:
        data.flat[[5, 17]] = value
        return data

    return change


@pytest.mark.parametrize(
    ("name", "change", "dtype", "match", "hint"),
    [
        (MATRIX, put(np.nan), "float32", "mlp.c_fc.weight holds 2 numbers that are NaN", "diverg"),
        ("transformer.h.0.ln_1.bias", put(np.inf), "float32", "ln_1.bias holds 2", "diverged"),
        ("transformer.tokens_embed.weight", put(-np.inf), "float32", "embed.weight", "diverged"),
        (MATRIX, put(3.4e38), "bfloat16", "holds 3.4e.38, which is too large", "use float32"),
        (MATRIX, lambda data: data.T, "float32", r"shape \(192, 48\);.*\(48, 192\)", "belong"),
    ],
)
def test_weights_that_are_refused(
    name: str, change: Any, dtype: str, match: str, hint: str
) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        load_core(small_model().config, changed(name, change), precision=dtype)
    assert name in str(caught.value)
    assert hint in caught.value.hint


def test_a_dtype_that_is_none() -> None:
    arrays = changed(MATRIX, lambda data: data.astype(np.int8), "int8")
    with pytest.raises(WeightsError, match=f"{MATRIX} is of int8; allowed: float32") as caught:
        load_core(small_model().config, arrays)
    assert "quantised folder" in caught.value.hint


def test_too_large_for_float32() -> None:
    arrays = changed(MATRIX, lambda data: data.astype(np.float64) * 1e40, "float64")
    with pytest.raises(WeightsError, match="too large for float32"):
        load_core(small_model().config, arrays)


@pytest.mark.parametrize(("layers", "more"), [(slice(1), False), (slice(20), True)])
def test_missing_weights(layers: slice, more: bool) -> None:
    arrays = arrays_of(small_model())
    for name in [name for name in arrays if ".h.1." in name or ".h.0.mlp" in name][layers]:
        del arrays[name]
    with pytest.raises(WeightsError, match=r"do not fit: missing transformer\.h") as caught:
        load_core(small_model().config, arrays)
    assert str(caught.value).endswith(" and more") is more
    assert "belong together" in caught.value.hint


def test_what_a_file_stores() -> None:
    arrays = arrays_of(small_model())
    assert stored_dtype(arrays) == "float32"
    assert stored_dtype({}) == "float32"
    config = small_model().config
    assert unused_weights(arrays, config) == []
    embedding = arrays["transformer.tokens_embed.weight"]
    copy = {**arrays, "lm_head.weight": embedding}
    assert unused_weights(copy, config) == []
    other = {**arrays, "lm_head.weight": Array("float32", embedding.data + 1)}
    assert unused_weights(other, config) == ["lm_head.weight"]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_dtypes_are_widened_exactly(dtype: str) -> None:
    import torch

    model = small_model().to(getattr(torch, dtype))
    same = model.float() if dtype != "float64" else small_model()
    expected = native(same).extend(0, [1, 2, 3])
    found = native(model.to(getattr(torch, dtype))).extend(0, [1, 2, 3])
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(100, 64, 64, 1, 1, slots=2**32),
        Shape(2**40, 64, 64, 1, 1),
        Shape(2, 2**31, 1, 1, 1),
        Shape(2, 2, 2**29, 1, 1),
    ],
    ids=str,
)
def test_memory_that_cannot_be_had(shape: Shape) -> None:
    with pytest.raises(DecoderError, match=f"cannot have {shape.nbytes:,} bytes") as caught:
        Core(shape)
    assert "address space" in str(caught.value)
    assert caught.value.hint == "give fewer slots or a smaller dtype"


def test_memory_that_the_system_refuses() -> None:
    program = (
        "import resource, sys\n"
        "from ogpt.decoding.native.library import Core, Shape\n"
        "from ogpt.errors import DecoderError\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2**30, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    Core(Shape(1000, 512, 768, 12, 12, slots=200))\n"
        "except DecoderError as error:\n"
        "    sys.stdout.write(str(error))\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    needed = f"{Shape(1000, 512, 768, 12, 12, slots=200).nbytes:,}"
    assert found.stdout.startswith(f"the native decoder cannot have {needed} bytes for weights and")
    assert "not enough memory" in found.stdout


@pytest.mark.parametrize("precision", library.PRECISIONS)
@pytest.mark.parametrize("half_cache", [False, True])
def test_the_bytes_that_are_told_are_those_that_are_taken(precision: str, half_cache: bool) -> None:
    shape = Shape(5000, 700, 192, 3, 3, precision, slots=5, half_cache=half_cache)
    core = Core(shape)
    small = 4 * (700 * 192 + 3 * 20 * 192 + 5000) + 2 * 2**21  # positions, norms, whole pages
    assert shape.nbytes <= core.nbytes <= shape.nbytes + small
    core.close()


def test_a_core_that_runs_out() -> None:
    decoder = native(small_model())
    core = decoder._core
    assert core is not None
    core._library = SimpleNamespace(ogpt_run=lambda *arguments: 1)
    with pytest.raises(DecoderError, match="cannot have 1 threads, or memory for them") as caught:
        decoder.extend(0, [1, 2])
    assert "fewer threads" in caught.value.hint
    assert decoder.length(0) == 0


class TestKernels:
    def test_the_best_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(library.KERNELS_VARIABLE, raising=False)
        available = library.available_kernels()
        assert available[-1] == "portable"
        assert list(available) == [name for name in library.KERNELS if name in available]
        assert native(small_model()).kernels == available[0]

    def test_a_name_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(library.KERNELS_VARIABLE, "sse9")
        with pytest.raises(ConfigError, match="OGPT_KERNELS is 'sse9'; allowed: amx") as caught:
            native(small_model())
        assert "unset it" in caught.value.hint

    def test_what_the_processor_lacks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(library.KERNELS_VARIABLE, "avx512_bf16")
        monkeypatch.setattr(library, "available_kernels", lambda: ("portable",))
        with pytest.raises(DecoderError, match="'avx512_bf16'; this processor has port") as caught:
            native(small_model())
        assert "unset it" in caught.value.hint

    def test_those_that_make_no_model_are_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stand_in = SimpleNamespace(
            ogpt_create=lambda shape, name, *_: name == b"portable", ogpt_destroy=lambda model: None
        )
        monkeypatch.setattr(library, "load_library", lambda: stand_in)
        assert library.available_kernels.__wrapped__() == ("portable",)


class TestLibrary:
    @pytest.fixture(autouse=True)
    def load_again(self) -> Any:
        library.load_library.cache_clear()
        yield
        library.load_library.cache_clear()

    def test_missing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(library, "LIBRARY", tmp_path / "libogpt.so")
        with pytest.raises(BackendMissing, match=r"not built: .*libogpt\.so") as caught:
            native(small_model())
        assert "apt install g++" in caught.value.hint
        assert not library.is_built()

    def test_of_another_version(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
        with pytest.raises(BackendMissing, match="no attribute 'ogpt_create'"):
            library.load_library()

    def test_there(self) -> None:
        assert library.is_built()
        assert library.LIBRARY.is_file()
