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
from ogpt.decoding.native.core_weights import load_core, stored_dtype, unused_weights
from ogpt.decoding.native.library import Core, Shape
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.errors import BackendMissing, ConfigError, DecoderError, WeightsError
from ogpt.weights.arrays import Array
from ogpt.weights.opened import Opened
from ogpt.weights.precision import cast
from ogpt.weights.safetensors_file import open_safetensors, write_arrays
from tests.decoding.calls import extend
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
        (
            MATRIX,
            put(3.4e38),
            "bfloat16",
            "holds 3.4e.38; allowed in bfloat",
            "use float32",
        ),
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


class TestFromFiles:
    """What a file holds goes to the core without Python's reading it."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        write_arrays(tmp_path / "weights.safetensors", arrays_of(small_model()))
        return tmp_path / "weights.safetensors"

    @pytest.mark.parametrize("precision", library.PRECISIONS)
    @pytest.mark.parametrize("stored", ["float32", "bfloat16", "float16", "float64"])
    def test_the_same_bits_as_from_memory(
        self, tmp_path: Path, stored: str, precision: str
    ) -> None:
        arrays = {n: cast(n, array, stored) for n, array in arrays_of(small_model()).items()}
        write_arrays(tmp_path / "weights.safetensors", arrays)
        wide = {n: cast(n, array, "float32") for n, array in arrays.items()}
        config = small_model().config
        from_file = open_safetensors(tmp_path / "weights.safetensors")
        for threads in (1, 3):
            found = NativeDecoder(config, from_file, dtype=precision, threads=threads)
            expected = NativeDecoder(config, wide, dtype=precision)
            logits = [extend(decoder, 0, [1, 2, 130], "all") for decoder in (found, expected)]
            assert np.array_equal(*logits)

    @pytest.mark.parametrize("stored", ["float32", "bfloat16", "float16", "float64"])
    @pytest.mark.parametrize("name", [MATRIX, "transformer.positions_embed.weight"])
    def test_a_number_that_is_none(self, tmp_path: Path, stored: str, name: str) -> None:
        arrays = {n: cast(n, array, stored) for n, array in arrays_of(small_model()).items()}
        arrays[name].data.flat[[5, 17, 18]] = {"bfloat16": 0x7F81, "float16": np.inf}.get(
            stored, -np.nan
        )
        write_arrays(tmp_path / "weights.safetensors", arrays)
        with pytest.raises(WeightsError, match=f"{name} holds 3 numbers that are NaN"):
            load_core(small_model().config, open_safetensors(tmp_path / "weights.safetensors"))

    @pytest.mark.parametrize("threads", [1, 3])
    @pytest.mark.parametrize("kept", [0.0, 0.5, 0.9])
    def test_a_file_that_is_cut_after_it_was_opened(
        self, file: Path, threads: int, kept: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened = open_safetensors(file)
        with open(file, "r+b") as stream:
            stream.truncate(int(file.stat().st_size * kept))
        with pytest.raises(WeightsError, match="has changed since it was opened"):
            load_core(small_model().config, opened, threads=threads)
        # and where nobody looks before the core reads
        monkeypatch.setattr(Opened, "check_unchanged", lambda self: None)
        with pytest.raises(WeightsError, match=r"is damaged: it has \d+ bytes after") as caught:
            load_core(small_model().config, opened, threads=threads)
        assert "restore the file" in caught.value.hint

    def test_a_file_that_is_gone(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        opened = open_safetensors(file)
        file.unlink()
        monkeypatch.setattr(Opened, "check_unchanged", lambda self: None)
        with pytest.raises(WeightsError, match=r"the weights file .* cannot be read: No such"):
            load_core(small_model().config, opened)


def test_every_float16_is_widened_exactly() -> None:
    model = small_model(vocab_size=2**16 // 48 + 1)
    arrays = arrays_of(model)
    numbers = np.resize(np.arange(2**16, dtype=np.uint16), (model.config.vocab_size, 48))
    numbers = numbers.view(np.float16)  # in order: the smallest are not lost beside large ones
    numbers[~np.isfinite(numbers)] = 0
    logits = []
    for dtype in (np.float16, np.float32):
        embedding = Array(np.dtype(dtype).name, numbers.astype(dtype))
        arrays["transformer.tokens_embed.weight"] = embedding
        logits.append(extend(NativeDecoder(model.config, arrays), 0, [1, 7, 9], "all"))
    assert np.array_equal(*logits)
    assert (logits[0] != 0).sum(1).min() > 1200  # of 1366 rows, some are all infinite or NaN


def test_a_dtype_that_is_none() -> None:
    arrays = changed(MATRIX, lambda data: data.astype(np.int8), "int8")
    with pytest.raises(WeightsError, match=f"{MATRIX} has dtype int8; allowed: float32") as caught:
        load_core(small_model().config, arrays)
    assert "quantized folder" in caught.value.hint


def test_too_large_for_float32() -> None:
    arrays = changed(MATRIX, lambda data: data.astype(np.float64) * 1e40, "float64")
    with pytest.raises(WeightsError, match="too large for float32"):
        load_core(small_model().config, arrays)


@pytest.mark.parametrize(("layers", "more"), [(slice(1), False), (slice(20), True)])
def test_missing_weights(layers: slice, more: bool) -> None:
    arrays = arrays_of(small_model())
    for name in [name for name in arrays if ".h.1." in name or ".h.0.mlp" in name][layers]:
        del arrays[name]
    with pytest.raises(WeightsError, match=r"lacks weights of the model: transformer\.h") as caught:
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
    expected = extend(native(same), 0, [1, 2, 3])
    found = extend(native(model.to(getattr(torch, dtype))), 0, [1, 2, 3])
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
    with pytest.raises(DecoderError, match=f"cannot allocate {shape.nbytes:,} bytes") as caught:
        Core(shape)
    assert "address space" in str(caught.value)
    assert caught.value.hint == "use fewer slots or a smaller dtype"


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
    assert found.stdout.startswith(
        f"the native decoder cannot allocate {needed} bytes for weights and"
    )
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
    with pytest.raises(
        DecoderError, match="cannot start 1 threads, or there is too little memory"
    ) as caught:
        extend(decoder, 0, [1, 2])
    assert "fewer threads" in caught.value.hint
    assert decoder.length(0) == 0


class TestKernels:
    def test_the_best_is_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(library.KERNELS_VARIABLE, raising=False)
        available = library.available_kernels()
        assert available[-1] == "portable"
        assert list(available) == [name for name in library.KERNELS if name in available]
        assert native(small_model()).kernels == available[0]
        for dtype in ("float32", "bfloat16", "int8", "int4"):
            unasked = [name for name in available if (name, dtype) != ("amx", "bfloat16")]
            assert library.chosen_kernels(dtype) == unasked[0]

    def test_tiles_of_bfloat16_are_for_those_who_ask(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(library, "available_kernels", lambda: library.KERNELS)
        monkeypatch.delenv(library.KERNELS_VARIABLE, raising=False)
        assert library.chosen_kernels("bfloat16") == "avx512_bf16"
        assert library.chosen_kernels("int8") == "amx"
        monkeypatch.setenv(library.KERNELS_VARIABLE, "amx")
        assert library.chosen_kernels("bfloat16") == "amx"

    def test_a_name_that_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(library.KERNELS_VARIABLE, "sse9")
        with pytest.raises(ConfigError, match="OGPT_KERNELS is 'sse9'; allowed: amx") as caught:
            native(small_model())
        assert "unset it" in caught.value.hint

    def test_what_the_processor_lacks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(library.KERNELS_VARIABLE, "avx512_bf16")
        monkeypatch.setattr(library, "available_kernels", lambda: ("portable",))
        with pytest.raises(DecoderError, match="'avx512_bf16'; allowed on this CPU: p") as caught:
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

    @pytest.mark.parametrize(
        ("functions", "seen"),
        [({}, "none"), ({"ogpt_abi_version": lambda: 1}, "1")],
        ids=["before versions", "older"],
    )
    def test_of_another_version(
        self, functions: dict[str, Any], seen: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(**functions))
        with pytest.raises(BackendMissing, match=f"interface version {seen}; allowed: 2") as caught:
            library.load_library()
        assert str(library.LIBRARY) in str(caught.value)
        assert "reinstall ogpt" in caught.value.hint
        assert not library.is_built()

    def test_there(self) -> None:
        assert library.is_built()
        assert library.LIBRARY.is_file()
