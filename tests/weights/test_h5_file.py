import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ogpt.errors import BackendMissing, WeightsError
from ogpt.layout import H5_FILE
from ogpt.weights import h5_file
from ogpt.weights.h5_file import open_h5
from ogpt.weights.names import stored_names, unused_names
from tests.golden.formula import formula

GOLDEN = Path(__file__).parents[1] / "golden" / "transformers_4.57.6"
NUMBERS = np.arange(12, dtype=np.float32).reshape(3, 4)
LN = "transformer/m/transformer/h_._0/ln_1/gamma:0"
FOLDERS = {
    "base": "base",
    "lm": "lm",
    "double_heads": "double",
    "sequence_classification": "classifier",
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_of_transformers_4(folder: str) -> None:
    """They hold the formula's weights, under the names of the PyTorch model of the same kind."""
    with gzip.open(GOLDEN / "tensorflow.json.gz") as stream:
        shapes = json.load(stream)["models"][FOLDERS[folder]]["parameters"]
    found = open_h5(GOLDEN / "tf" / folder / H5_FILE)
    names = stored_names(found, shapes)
    assert set(names) == set(shapes)
    assert unused_names(found, names) == []
    for name, array in formula(shapes).items():
        ours = found[names[name]]
        assert ours.dtype == "float32"
        assert np.array_equal(ours.data, array)
        assert ours.data.flags.c_contiguous


def write(file: Path, **datasets: Any) -> Path:
    with h5py.File(file, "w") as root:
        root[LN] = np.ones(3, np.float32)
        for path, value in datasets.items():
            root[path] = value
    return file


@pytest.mark.parametrize(
    "path",
    ["{}", "m/{}", "m/transformer/{}", "transformer/m/transformer/{}", "a/b/m/transformer/{}"],
)
def test_any_groups_around_the_layers(path: str, tmp_path: Path) -> None:
    file = tmp_path / H5_FILE
    names = {
        "tokens_embed/weight:0": ("transformer.tokens_embed.weight", NUMBERS),
        "positions_embed/embeddings:0": ("transformer.positions_embed.weight", NUMBERS),
        "h_._12/attn/c_attn/weight:0": ("transformer.h.12.attn.c_attn.weight", NUMBERS),
        "h_._12/attn/c_attn/bias:0": ("transformer.h.12.attn.c_attn.bias", NUMBERS[0]),
        "h_._0/ln_2/gamma": ("transformer.h.0.ln_2.weight", NUMBERS[1]),
        "h_._0/ln_2/beta": ("transformer.h.0.ln_2.bias", NUMBERS[2]),
        "multiple_choice_head/summary/kernel:0": ("multiple_choice_head.summary.weight", NUMBERS.T),
        "multiple_choice_head/summary/bias:0": ("multiple_choice_head.summary.bias", NUMBERS[0]),
        "score/kernel:0": ("score.weight", NUMBERS.T),
    }
    with h5py.File(file, "w") as root:
        for inner, (name, value) in names.items():
            stored = value.T if inner.endswith("kernel:0") else value
            root[path.format(inner)] = stored[None] if name.endswith("c_attn.bias") else stored
    found = open_h5(file)
    assert set(found) == {name for name, _ in names.values()}
    for name, value in names.values():
        assert found[name].data.tolist() == value.tolist()


def test_other_variables_keep_their_path(tmp_path: Path) -> None:
    found = open_h5(write(tmp_path / H5_FILE, **{"bert/m/bert/pooler/kernel:0": NUMBERS}))
    assert found["bert/m/bert/pooler/kernel:0"].data.tolist() == NUMBERS.tolist()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_float_types(dtype: str, tmp_path: Path) -> None:
    found = open_h5(write(tmp_path / H5_FILE, x=NUMBERS.astype(dtype)))["x"]
    assert found.dtype == np.dtype(dtype).newbyteorder("=").name
    assert found.data.dtype.isnative
    assert found.data.tolist() == NUMBERS.tolist()


def test_compressed_compact_empty_and_scalar_arrays(tmp_path: Path) -> None:
    file = write(tmp_path / H5_FILE, empty=NUMBERS[:0], scalar=np.float32(7))
    with h5py.File(file, "r+") as root:
        options = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        root.create_dataset("chunked", data=NUMBERS, chunks=(2, 3), **options)
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple((4,))
        made = h5py.h5d.create(root.id, b"compact", h5py.h5t.IEEE_F32LE, space, compact)
        h5py.Dataset(made)[...] = 5
    found = open_h5(file)
    assert found["chunked"].data.tolist() == NUMBERS.tolist()
    assert found["compact"].data.tolist() == [5, 5, 5, 5]
    assert found["empty"].data.shape == (0, 4)
    assert found["scalar"].data == 7


def test_opening_reads_no_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError

    file = write(tmp_path / H5_FILE)
    monkeypatch.setattr(h5py.Dataset, "read_direct", never)
    found = open_h5(file)
    assert "transformer.h.0.ln_1.weight" in found
    assert len(found) == 1


def soft(root: Any) -> None:
    root["out"] = h5py.SoftLink("/" + LN)


def external(root: Any) -> None:
    root["out"] = h5py.ExternalLink("other.h5", "/x")


def external_storage(root: Any) -> None:
    Path(root.filename).with_name("raw").write_bytes(bytes(16))
    raw = str(Path(root.filename).with_name("raw"))
    root.create_dataset("x", shape=(4,), dtype="f4", external=[(raw, 0, 16)])


def virtual(root: Any) -> None:
    layout = h5py.VirtualLayout(shape=(3,), dtype="f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", shape=(3,))
    root.create_virtual_dataset("x", layout)


def data_type(root: Any) -> None:
    root["x"] = np.dtype("f4")


def loop(root: Any) -> None:
    root["x/again"] = root["/"]


def two_names(root: Any) -> None:
    root["again"] = root["transformer"]


def same_weight(root: Any) -> None:
    root["h_._0/ln_1/gamma"] = np.ones(3, np.float32)


def lzf(root: Any) -> None:
    root.create_dataset("x", data=NUMBERS, chunks=(3, 4), compression="lzf")


def scale_offset(root: Any) -> None:
    root.create_dataset("x", data=NUMBERS.astype(int), chunks=(3, 4), scaleoffset=True)


def strings(root: Any) -> None:
    root["x"] = ["text"]


def references(root: Any) -> None:
    root.create_dataset("x", data=[root.ref], dtype=h5py.ref_dtype)


def ragged(root: Any) -> None:
    root.create_dataset("x", shape=(2,), dtype=h5py.vlen_dtype(np.float32))


def compound(root: Any) -> None:
    root["x"] = np.zeros(2, [("a", "f4")])


def integers(root: Any) -> None:
    root["x"] = [1, 2]


def long_floats(root: Any) -> None:
    root["x"] = np.zeros(2, np.longdouble)


def no_shape(root: Any) -> None:
    root["x"] = h5py.Empty("f4")


def never_written(root: Any) -> None:
    root.create_dataset("x", shape=(10**6, 10**6), dtype="f4")


def chunks_never_written(root: Any) -> None:
    root.create_dataset("x", shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000))


def bomb(root: Any) -> None:
    root.create_dataset("x", shape=(2**20,), dtype="f4", compression="gzip", chunks=(2**20,))
    root["x"][...] = 0


def chunk_bomb(root: Any) -> None:
    options = {"maxshape": (None,), "chunks": (2**22,), "compression": "gzip"}
    root.create_dataset("x", data=np.zeros(1, np.float32), **options)


def many_names(root: Any) -> None:
    root["x/0"] = np.zeros(10**4, np.float32)
    for i in range(1, 50):
        root[f"x/{i}"] = root["x/0"]


def odd_name(root: Any) -> None:
    root["\x1b[31m"] = NUMBERS


def deep(root: Any) -> None:
    root["/".join(["score"] * 200)] = NUMBERS


REFUSED: list[tuple[Callable[[Any], None], str]] = [
    (soft, "'out' is a SoftLink; allowed: Group, Dataset"),
    (external, "'out' is a ExternalLink; allowed: Group"),
    (external_storage, "'x' stores its data in other files; allowed: only this file"),
    (virtual, "'x' stores its data in other files"),
    (data_type, "'x' is a Datatype; allowed: Group"),
    (loop, "the group 'x/again' has two names"),
    (two_names, "the group '.*' has two names"),
    (same_weight, "are both 'transformer.h.0.ln_1.weight'"),
    (lzf, r"'x' uses the filters \[32000\]; allowed: .*'deflate'"),
    (scale_offset, r"'x' uses the filters \[6\]"),
    (strings, "'x' has the dtype object; allowed: float16, float32, float64"),
    (references, "'x' has the dtype object"),
    (ragged, "'x' has the dtype object"),
    (compound, r"'x' has the dtype \[\('a', '<f4'\)\]"),
    (integers, "'x' has the dtype int64"),
    (long_floats, "'x' has the dtype "),
    (no_shape, "'x' has no shape; allowed: an array"),
    (never_written, r"'x' has 0 bytes in a file of \d+; its shape \(1000000, 1000000\) needs 4000"),
    (chunks_never_written, r"'x' has 0 chunks; its shape .* needs 1000000$"),
    (bomb, r"its arrays up to 'x' take 41943\d\d bytes; allowed: 20 times"),
    (chunk_bomb, "its arrays up to 'x' take 167772"),
    (many_names, r"its arrays up to 'x/\d+' take"),
    (odd_name, r"'\\x1b\[31m' is not a printable name of at most 1000"),
    (deep, "'score/score/.*' is not a printable name of at most 1000 characters"),
]


@pytest.mark.parametrize(("how", "match"), REFUSED, ids=[how.__name__ for how, _ in REFUSED])
def test_what_keras_does_not_use(how: Callable[[Any], None], match: str, tmp_path: Path) -> None:
    file = write(tmp_path / H5_FILE)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros(3, np.float32)
    with h5py.File(file, "r+") as root:
        how(root)
    with pytest.raises(WeightsError, match=match) as caught:
        open_h5(file)
    assert f"{file} is not a file of Keras weights" in str(caught.value)
    assert "tf_model.h5 that transformers wrote" in caught.value.hint


def test_too_many_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / H5_FILE, **{f"x{i}": NUMBERS for i in range(4)})
    monkeypatch.setattr(h5_file, "_MAX_OBJECTS", 8)
    with pytest.raises(WeightsError, match="more than 8 groups and arrays") as caught:
        open_h5(file)
    assert "tf_model.h5" in caught.value.hint


def test_missing_and_changed_files(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the weights file") as caught:
        open_h5(tmp_path / H5_FILE)
    assert "check the path" in caught.value.hint
    found = open_h5(write(tmp_path / H5_FILE))
    write(tmp_path / H5_FILE, x=NUMBERS)
    with pytest.raises(WeightsError, match="changed since it was opened") as caught:
        found["transformer.h.0.ln_1.weight"]
    assert "load it again" in caught.value.hint


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / H5_FILE)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(
        BackendMissing, match=r"tf_model\.h5 needs h5py, which is not installed"
    ) as caught:
        open_h5(file)
    assert caught.value.hint == "pip install 'ogpt[h5]'"


def test_a_chunk_that_is_damaged(tmp_path: Path) -> None:
    file = write(tmp_path / H5_FILE)
    with h5py.File(file, "r+") as root:
        root.create_dataset("x", data=NUMBERS, chunks=(3, 4), compression="gzip", fletcher32=True)
        offset = root["x"].id.get_chunk_info(0).byte_offset
    whole = bytearray(file.read_bytes())
    whole[offset + 5] ^= 1
    file.write_bytes(whole)
    found = open_h5(file)
    with pytest.raises(WeightsError, match="is damaged: HDF5 cannot read it") as caught:
        found["x"]
    assert "restore" in caught.value.hint


def test_no_hdf5_and_files_cut_short(tmp_path: Path) -> None:
    file = tmp_path / H5_FILE
    whole = (GOLDEN / "tf" / "base" / H5_FILE).read_bytes()
    for size in [*range(0, 100, 7), *range(100, len(whole), len(whole) // 40), len(whole) - 1]:
        file.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="damaged: HDF5 cannot read it") as caught:
            open_h5(file)
        assert "restore" in caught.value.hint
    file.write_bytes(b"no HDF5 " * 100)
    with pytest.raises(WeightsError, match="file signature not found"):
        open_h5(file)


def test_an_empty_array_too_large_for_numpy(tmp_path: Path) -> None:
    file = write(tmp_path / H5_FILE)
    with h5py.File(file, "r+") as root:
        root.create_dataset("x", shape=(0, 2**40, 2**40), dtype="f4")
    with pytest.raises(WeightsError, match="HDF5 cannot read it") as caught:
        dict(open_h5(file))
    assert "restore" in caught.value.hint
