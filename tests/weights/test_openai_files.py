import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ogpt.errors import StorageError, WeightsError
from ogpt.layout import SHAPES_FILE
from ogpt.notices import collecting
from ogpt.weights.arrays import Array
from ogpt.weights.openai_files import Sizes, open_openai, openai_sizes, write_openai

V, P, C, LAYERS = 11, 8, 4, 2
REAL_SHAPES = Path(__file__).parents[3] / "shared" / "data" / "gpt1_vocab" / SHAPES_FILE

# as OpenAI's train.py and graph have them, in its order
SHAPES = [[P, C], [V, C]]
NAMES = ["positions_embed.weight", "tokens_embed.weight"]
for i in range(LAYERS):
    for part, width, out in [("attn.c_attn", C, 3 * C), ("attn.c_proj", C, C)]:
        SHAPES += [[1, width, out], [out]]
        NAMES += [f"h.{i}.{part}.weight", f"h.{i}.{part}.bias"]
    SHAPES += [[C], [C]]
    NAMES += [f"h.{i}.ln_1.weight", f"h.{i}.ln_1.bias"]
    for part, width, out in [("mlp.c_fc", C, 4 * C), ("mlp.c_proj", 4 * C, C)]:
        SHAPES += [[1, width, out], [out]]
        NAMES += [f"h.{i}.{part}.weight", f"h.{i}.{part}.bias"]
    SHAPES += [[C], [C]]
    NAMES += [f"h.{i}.ln_2.weight", f"h.{i}.ln_2.bias"]
TOTAL = sum(map(math.prod, SHAPES))
ROW = np.arange(TOTAL, dtype=np.float32)


def squeezed(shape: list[int]) -> list[int]:
    return shape[1:] if len(shape) == 3 else shape


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint made as OpenAI's code reads it: ten parts of one row."""
    (tmp_path / SHAPES_FILE).write_text(json.dumps(SHAPES))
    for i, part in enumerate(np.array_split(ROW, 10)):
        np.save(tmp_path / f"params_{i}.npy", part)
    return tmp_path


def as_openai_reads(folder: Path) -> list[np.ndarray[Any, Any]]:
    """The parameters, by the recipe of train.py."""
    shapes = json.loads((folder / SHAPES_FILE).read_text())
    offsets = np.cumsum([np.prod(shape) for shape in shapes])
    parts = [np.load(folder / f"params_{n}.npy") for n in range(10)]
    params = np.split(np.concatenate(parts, 0), offsets)[:-1]
    return [param.reshape(shape) for param, shape in zip(params, shapes, strict=True)]


def test_arrays_are_named_by_their_order(folder: Path) -> None:
    found = open_openai(folder)
    assert list(found) == NAMES
    assert len(found) == 2 + 12 * LAYERS
    for name, theirs, shape in zip(NAMES, as_openai_reads(folder), SHAPES, strict=True):
        array = found[name]
        assert array.dtype == "float32"
        assert array.data.tolist() == theirs.reshape(squeezed(shape)).tolist()


@pytest.mark.parametrize("count", [1, 3, 60])
def test_any_number_of_files(count: int, folder: Path) -> None:
    for file in folder.glob("*.npy"):
        file.unlink()
    cuts = sorted(random.Random(count).choices(range(TOTAL), k=count - 1))
    for i, part in enumerate(np.split(ROW, cuts)):  # some are empty
        np.save(folder / f"params_{i}.npy", part)
    found = open_openai(folder)
    assert np.array_equal(np.concatenate([found[name].data.ravel() for name in NAMES]), ROW)


def test_the_shapes_tell_the_configuration(folder: Path) -> None:
    assert openai_sizes(folder) == Sizes(V, P, C, LAYERS)


@pytest.mark.skipif(not REAL_SHAPES.exists(), reason="the real shapes are not here")
def test_the_real_shapes() -> None:
    assert openai_sizes(REAL_SHAPES.parent) == Sizes(40478, 512, 768, 12)


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_openai(out, open_openai(folder))
    files = {file.name for file in out.iterdir()}
    assert files == {SHAPES_FILE, *(f"params_{i}.npy" for i in range(10))}
    for file in files - {SHAPES_FILE}:
        assert (out / file).read_bytes() == (folder / file).read_bytes()
    assert json.loads((out / SHAPES_FILE).read_text()) == SHAPES


def named(**changed: Array) -> dict[str, Array]:
    arrays = {}
    for name, shape in zip(NAMES, SHAPES, strict=True):
        data = np.arange(math.prod(shape), dtype=np.float32).reshape(squeezed(shape))
        arrays[f"transformer.{name}"] = Array("float32", data)
    return {**arrays, **changed}


def test_other_names_and_files_of_an_earlier_save(tmp_path: Path) -> None:
    np.save(tmp_path / "params_10.npy", ROW)
    write_openai(tmp_path, named())
    assert not (tmp_path / "params_10.npy").exists()
    found = open_openai(tmp_path)
    for name, array in named().items():
        assert found[name.removeprefix("transformer.")].data.tolist() == array.data.tolist()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_weights_widen_exactly(dtype: str, tmp_path: Path) -> None:
    bits = np.arange(C, dtype=np.uint16) + 0x3F80
    narrow = Array(dtype, bits.view(np.float16) if dtype == "float16" else bits)
    write_openai(tmp_path, named(**{"transformer.h.0.ln_1.bias": narrow}))
    wide = open_openai(tmp_path)["h.0.ln_1.bias"].data
    if dtype == "float16":
        assert np.array_equal(wide, narrow.data.astype(np.float32))
    else:
        assert wide.tolist() == [1.0, 1.0078125, 1.015625, 1.0234375]


def test_heads_are_left_out_with_a_notice(tmp_path: Path) -> None:
    embedding = named()["transformer.tokens_embed.weight"]
    score = Array("float32", np.ones((2, C), np.float32))
    with collecting() as told:
        write_openai(tmp_path, named(**{"lm_head.weight": embedding}))
    assert told == []
    with collecting() as told:
        other = Array("float32", embedding.data + 1)
        write_openai(tmp_path, named(**{"lm_head.weight": other, "score.weight": score}))
    assert [notice.kind for notice in told] == ["weights-left-out"]
    assert "lm_head.weight, score.weight" in told[0].message


def floats(*shape: int) -> Array:
    return Array("float32", np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"transformer.h.0.ln_1.bias": floats(C + 1)},
            r"h.0.ln_1.bias is float32 \(5,\); allowed: \(4,\)",
        ),
        (
            {"transformer.h.1.ln_2.bias": Array("float64", np.zeros(C))},
            r"is float64 \(4,\); allowed: \(4,\) of float32, float16, bfloat16",
        ),
        ({"transformer.h.3.ln_1.bias": floats(C)}, r"\['h.2.attn.c_attn.bias', .* are missing"),
        ({"transformer.tokens_embed.weight": floats(V)}, r"shapes \[\(11,\), \(8, 4\)\]; allowed"),
        ({"transformer.tokens_embed.weight": None}, r"embeddings of shapes \[\(8, 4\)\]; allowed"),
    ],
)
def test_what_cannot_be_written(change: dict[str, Any], match: str, tmp_path: Path) -> None:
    arrays = {name: array for name, array in named(**change).items() if array is not None}
    with pytest.raises(WeightsError, match=match) as caught:
        write_openai(tmp_path, arrays)
    assert "convert the weights first" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_weights_without_layers(tmp_path: Path) -> None:
    arrays = {name: array for name, array in named().items() if ".h." not in name}
    with pytest.raises(WeightsError, match="0 layers and embeddings") as caught:
        write_openai(tmp_path, arrays)
    assert "complete GPT-1" in caught.value.hint


def test_stale_files_that_stay(tmp_path: Path) -> None:
    (tmp_path / "params_10.npy").mkdir()
    with pytest.raises(StorageError, match="params_10") as caught:
        write_openai(tmp_path, named())
    assert "choose another folder" in caught.value.hint


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        ({}, "contains {}; allowed: a list of shapes"),
        ([1], r"contains \[1\]; allowed: a list of shapes"),
        ([[1, -1]], "contains .*; allowed: a list of shapes"),
        ([[1, 2.0]], "contains .*; allowed: a list of shapes"),
        ([[2**31, 1]], "contains .*; allowed: a list of shapes"),
        ([[True, 1]], "contains .*; allowed: a list of shapes"),
    ],
)
def test_no_shapes(shapes: object, match: str, folder: Path) -> None:
    (folder / SHAPES_FILE).write_text(json.dumps(shapes))
    with pytest.raises(WeightsError, match=f"params_shapes.json is damaged: it {match}") as caught:
        open_openai(folder)
    assert "restore" in caught.value.hint


@pytest.mark.parametrize(
    ("shapes", "match"),
    [
        ([], r"0 shapes, first \[\] and \[\]; allowed: 2 matrices and 12"),
        (SHAPES[:-1], "25 shapes"),
        ([*SHAPES, [1]], "27 shapes"),
        (SHAPES[:2], "2 shapes"),
        ([SHAPES[0], [V], *SHAPES[2:]], r"first \[8, 4\] and \[11\]"),
        (
            [SHAPES[0], [V, C + 1], *SHAPES[2:]],
            r"tokens_embed.weight has shape \[11, 5\]; allowed: \[11, 4",
        ),
        ([*SHAPES[:-1], [C + 1]], r"h.1.ln_2.bias has shape \[5\]; allowed: \[4\]"),
        ([*SHAPES[:2], [2, C, 3 * C], *SHAPES[3:]], r"c_attn.weight has shape \[2, 4, 12\]"),
    ],
)
def test_shapes_of_another_model(shapes: object, match: str, folder: Path) -> None:
    (folder / SHAPES_FILE).write_text(json.dumps(shapes))
    with pytest.raises(WeightsError, match=match) as caught:
        open_openai(folder)
    assert "finetune-transformer-lm" in caught.value.hint


@pytest.mark.parametrize("missing", [SHAPES_FILE, "params_0.npy", "params_4.npy"])
def test_missing_files(missing: str, folder: Path) -> None:
    (folder / missing).unlink()
    with pytest.raises(WeightsError, match=f"the weights file .*{missing}") as caught:
        open_openai(folder)
    assert "check the path" in caught.value.hint


def test_no_chunks_at_all(folder: Path) -> None:
    for file in folder.glob("*.npy"):
        file.unlink()
    with pytest.raises(WeightsError, match=r"the weights file .*params_0\.npy"):
        open_openai(folder)


def test_numbers_missing_or_left_over(folder: Path) -> None:
    (folder / "params_9.npy").unlink()
    with pytest.raises(WeightsError, match=rf"9 files .* have \d+ .* requires {TOTAL}") as caught:
        open_openai(folder)
    np.save(folder / "params_9.npy", ROW)
    with pytest.raises(WeightsError, match=rf"10 files .* have \d+ .* requires {TOTAL}"):
        open_openai(folder)
    assert "restore" in caught.value.hint


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.zeros(3), r"it contains float64 \(3,\); allowed: one-dimensional float32"),
        (np.zeros(3, ">f4"), r"it contains >f4 \(3,\)"),
        (np.zeros((3, 1), np.float32), r"it contains float32 \(3, 1\)"),
        (np.array([None]), "it contains object"),
    ],
)
def test_other_arrays(array: Any, match: str, folder: Path) -> None:
    np.save(folder / "params_3.npy", array)
    with pytest.raises(WeightsError, match=match) as caught:
        open_openai(folder)
    assert "params_3.npy is damaged" in str(caught.value)
    assert "restore" in caught.value.hint


def test_files_cut_short_at_every_offset(folder: Path) -> None:
    file = folder / "params_5.npy"
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match=r"params_5\.npy is damaged") as caught:
            open_openai(folder)
        assert "restore" in caught.value.hint
    file.write_bytes(whole + b"\0")
    with pytest.raises(
        WeightsError, match=f"it has {len(whole) + 1} bytes; its header of .* promises"
    ):
        open_openai(folder)


def test_a_file_that_changes_after_opening(folder: Path) -> None:
    opened = open_openai(folder)
    file = folder / "params_0.npy"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(WeightsError, match=r"params_0.npy has changed since it was opened"):
        opened[NAMES[0]]


def test_nothing_is_unpickled(folder: Path) -> None:
    shutil.copyfile(folder / "params_0.npy", folder / "kept")
    np.save(folder / "params_0.npy", np.array([print], object), allow_pickle=True)
    with pytest.raises(WeightsError, match="it contains object"):
        open_openai(folder)


@pytest.mark.parametrize(
    "header", [b"(" * 9000, b"{" * 200, b"'" * 3, b"{'shape': (1L,), 'descr': 1}", b"[" * 9999]
)
def test_odd_headers(header: bytes, folder: Path) -> None:
    size = len(header).to_bytes(2, "little")
    (folder / "params_2.npy").write_bytes(b"\x93NUMPY\x01\0" + size + header)
    with pytest.raises(WeightsError, match=r"it is not a readable .npy file") as caught:
        open_openai(folder)
    assert "restore" in caught.value.hint


def test_mutated_files_never_surprise(folder: Path) -> None:
    dice = random.Random(4)
    for name in ("params_7.npy", SHAPES_FILE):
        file = folder / name
        whole = file.read_bytes()
        for _ in range(300):
            mutated = bytearray(whole)
            for _ in range(dice.choice([1, 1, 2, 5])):
                place = dice.randrange(min(len(whole), 200))
                mutated[place] = dice.choice([dice.randrange(256), *b"0123456789{}[](),'L<>f"])
            file.write_bytes(mutated)
            try:
                found = dict(open_openai(folder))
            except WeightsError:
                continue
            assert list(found) == NAMES
        file.write_bytes(whole)
