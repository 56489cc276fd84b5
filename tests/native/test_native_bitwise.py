"""The same ids give the same bits: in any company, on any threads, in any pieces (DESIGN, 7)."""

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ogpt.decoding.native import library
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.generation.protocol.decoder import Computed, Part
from ogpt.weights.arrays import Array
from tests.decoding.calls import extend, step
from tests.native.models import DTYPES, arrays_of, random_ids, small_model

T = 80
SHAPES: list[dict[str, Any]] = [
    {"n_positions": 91},  # several pages
    # several panels and groups
    {"n_positions": 90, "n_embd": 320, "n_head": 4, "vocab_size": 200, "n_layer": 1},
    # several pieces of a panel in every dtype (products.inc)
    {"n_positions": 90, "n_embd": 704, "n_head": 4, "vocab_size": 70, "n_layer": 1},
]
KERNELS = library.available_kernels()


@pytest.fixture(scope="module", params=SHAPES, ids=str)
def parts(request: pytest.FixtureRequest) -> tuple[Any, dict[str, Array], list[int]]:
    model = small_model(5, **request.param)
    return model.config, arrays_of(model), random_ids(T, model.config.vocab_size, 1)


def one_by_one(decoder: NativeDecoder, ids: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Logits (T, V) and last hidden states (T, C)."""
    rows = [decoder.run([Part(0, [token])], hidden=True) for token in ids]
    return np.concatenate([row.logits for row in rows]), np.concatenate(
        [states_of(row)[0] for row in rows]
    )


def states_of(found: Computed) -> tuple[np.ndarray, ...]:
    assert found.hidden is not None
    return found.hidden


@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize(
    ("dtype", "cache_dtype"),
    [*((dtype, "float32") for dtype in DTYPES), ("bfloat16", "bfloat16")],
)
def test_same_bits(
    parts: Any, monkeypatch: pytest.MonkeyPatch, kernels: str, dtype: str, cache_dtype: str
) -> None:
    config, arrays, ids = parts
    monkeypatch.setenv(library.KERNELS_VARIABLE, kernels)
    options: Any = {"dtype": dtype, "cache_dtype": cache_dtype}
    alone = NativeDecoder(config, arrays, **options)
    expected, hidden = one_by_one(alone, ids)
    alone.close()
    draw = random.Random(f"{kernels} {dtype}")
    for threads in (1, 2, 3):
        decoder = NativeDecoder(config, arrays, slots=9, threads=threads, **options)
        found = decoder.run([Part(0, ids, "all")], hidden=True)
        assert np.array_equal(found.logits, expected)
        assert np.array_equal(states_of(found)[0], hidden)
        decoder.free(0)
        at = 0
        while at < T:  # in pieces
            end = min(T, at + draw.randint(1, 13))
            assert np.array_equal(extend(decoder, 0, ids[at:end], "all"), expected[at:end])
            at = end
        # in company: other texts, other lengths
        others = [random_ids(draw.randint(1, 75), config.vocab_size, slot) for slot in range(8)]
        decoder.free(0)
        slots = [3, 0, *range(4, 9), 1, 2]
        prompts = zip(slots, [others[0], ids, *others[1:]], strict=True)
        found = decoder.run([Part(*each) for each in prompts], hidden=True)
        assert np.array_equal(found.logits[1], expected[-1])
        assert np.array_equal(states_of(found)[1], hidden)
        for place in (66, 17, 3):  # rewound, and copied
            decoder.truncate(0, place)
            decoder.copy(0, 4)
            order = draw.sample(range(9), 9)
            rows = step(decoder, order, [ids[place]] * 9)
            for slot in (0, 4):
                assert np.array_equal(rows[order.index(slot)], expected[place])
        scores = decoder.score(4, ids[18:30], ids[19:31])
        again = decoder.score(0, ids[18:30], ids[19:31])
        assert np.array_equal(scores.log_probs, again.log_probs)
        decoder.close()


@pytest.mark.parametrize("dtype", DTYPES)
def test_another_order_of_summation_is_caught(parts: Any, dtype: str) -> None:
    """The comparison sees what a sum in another order changes."""
    config, arrays, ids = parts
    ids = ids[:32]  # or int8 rounds a few inputs the other way, which is no small change
    first = NativeDecoder(config, arrays, dtype=dtype)
    states = states_of(first.run([Part(0, ids)], hidden=True))[0]
    turned = dict(arrays)  # the inputs of an MLP's second matrix, and what makes them, reversed
    for name in ("transformer.h.0.mlp.c_fc.weight", "transformer.h.0.mlp.c_fc.bias"):
        turned[name] = Array("float32", arrays[name].data[..., ::-1])
    name = "transformer.h.0.mlp.c_proj.weight"
    turned[name] = Array("float32", arrays[name].data[::-1])
    other = NativeDecoder(config, turned, dtype=dtype)
    found = states_of(other.run([Part(0, ids)], hidden=True))[0]
    # in the states, as narrow logits may swallow it
    assert not np.array_equal(found, states)
    assert np.abs(found - states).max() < 1e-2 * np.abs(states).max()


@pytest.fixture
def _another_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(library.KERNELS_VARIABLE, "avx2")
    library.load_library.cache_clear()
    yield
    library.load_library.cache_clear()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("_another_library")
@pytest.mark.parametrize("fault", [False, True])
@pytest.mark.skipif("avx2" not in KERNELS, reason="needs AVX2")
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_compiler_that_fuses_here_and_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: bool
) -> None:
    """Tuned for some processors, gcc fuses products and sums in some loops and not in others.

    From version 13 on it does so for all. Left to it, four queries get other bits than one.
    """
    csrc = library.LIBRARY.parent / "csrc"
    flags = ["-std=c++17", "-O3", "-ffp-contract=off", "-mtune=znver3", "-Wno-psabi", "-fPIC"]
    if fault:
        flags.remove("-ffp-contract=off")
        flags += ["-include", str(Path(__file__).with_name("fused_apart.h"))]
    for source in csrc.glob("*.cpp"):
        unused = source.name.startswith("kernels") and source.name != "kernels_avx2.cpp"
        some = [*flags, "-O0"] if unused else flags
        compiled = tmp_path / f"{source.stem}.o"
        subprocess.run(["g++", *some, "-c", source, "-o", compiled], check=True)
    built = tmp_path / library.LIBRARY.name
    subprocess.run(["g++", "-shared", "-pthread", "-o", built, *tmp_path.glob("*.o")], check=True)
    monkeypatch.setattr(library, "LIBRARY", built)
    model = small_model(5, **SHAPES[0])
    config, arrays, ids = model.config, arrays_of(model), random_ids(T, 131, 1)
    expected, _ = one_by_one(NativeDecoder(config, arrays), ids)
    found = extend(NativeDecoder(config, arrays), 0, ids, "all")
    assert np.array_equal(found, expected) != fault


@pytest.mark.skipif(len(KERNELS) < 2, reason="this processor has one set of kernels")
def test_kernels_may_differ_in_bits_only(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config, arrays, ids = parts
    found = []
    for kernels in (KERNELS[0], "portable"):
        monkeypatch.setenv(library.KERNELS_VARIABLE, kernels)
        found.append(extend(NativeDecoder(config, arrays), 0, ids, "all"))
    assert found[0] is not None
    assert found[1] is not None
    assert not np.array_equal(found[0], found[1])
    assert np.abs(found[0] - found[1]).max() < 1e-4 * np.abs(found[0]).max()
