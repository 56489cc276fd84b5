import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ogpt.errors import StorageError, WeightsError
from ogpt.model.tensors import array_of, tensor_of
from ogpt.weights.arrays import Array
from ogpt.weights.safetensors_file import open_safetensors, write_arrays

TENSORS = {
    "a.weight": torch.randn(3, 5),
    "b": torch.randn(4).to(torch.bfloat16),
    "c": torch.randn(2, 1).half(),
    "d": torch.arange(6).view(2, 3),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.zeros(0, 3),
    "flags": torch.tensor([True, False]),
}


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    write_arrays(file, {name: array_of(tensor) for name, tensor in TENSORS.items()})
    found = load_file(file)
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_we_read_what_the_package_writes(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file(TENSORS, file)
    found = open_safetensors(file)
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensor_of(found[name]), tensor)


def entry(**changed: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changed}


def put(file: Path, header: object, data: bytes = b"\0\0\0\0") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data)


HOLE = {"a": entry(), "b": entry(data_offsets=[8, 12])}
OVERLAP = {"a": entry(shape=[2], data_offsets=[0, 8]), "b": entry(data_offsets=[4, 8])}
TWICE = b'{"a":' + json.dumps(entry()).encode() + b',"a":' + json.dumps(entry()).encode() + b"}"
BAD_HEADERS: dict[str, tuple[object, str]] = {
    "not json": (b"x" * 9, "its JSON is invalid"),
    "deep": (b'{"a":' * 100_000, "its JSON is invalid"),
    "twice": (TWICE, "'a' is there more than once"),
    "list": ([], r"its header is \[\], not a JSON object"),
    "metadata": ({"__metadata__": {"a": 1}}, "'a': 1}, not an object of strings"),
    "no metadata": ({"__metadata__": []}, r"\[\], not an object of strings"),
    "no entry": ({"a": []}, r"'a' is \[\]; it needs dtype"),
    "no shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, "it needs dtype, shape"),
    "dtype": ({"a": entry(dtype="F9")}, "'a' has dtype 'F9'; allowed: "),
    "dtype list": ({"a": entry(dtype=["F32"])}, "allowed: .'F64'"),
    "shape": ({"a": entry(shape=[5])}, r"4 bytes, which do not fit its shape \[5\] of float32"),
    "shape text": ({"a": entry(shape="1")}, "shape '1'; allowed: at most 32 sizes"),
    "shape float": ({"a": entry(shape=[1.0])}, r"shape \[1.0\]"),
    "shape bool": ({"a": entry(shape=[True])}, r"shape \[True\]"),
    "shape negative": ({"a": entry(shape=[-1, -1])}, r"shape \[-1, -1\]"),
    "shape huge": ({"a": entry(shape=[2**63])}, "shape"),
    "rank": ({"a": entry(shape=[1] * 33)}, "at most 32 sizes"),
    "overflow": ({"a": entry(shape=[2**62, 0, 2**62], data_offsets=[0, 0])}, "0 bytes, which"),
    "wraps to 4": ({"a": entry(shape=[2**32, 2**32 + 1])}, "4 bytes, which"),
    "offsets": ({"a": entry(data_offsets=[0, 4, 8])}, "allowed: .begin, end"),
    "offsets negative": ({"a": entry(data_offsets=[-4, 0])}, r"\[-4, 0\]; allowed"),
    "offsets backwards": ({"a": entry(data_offsets=[4, 0])}, r"\[4, 0\]; allowed"),
    "outside": ({"a": entry(shape=[2], data_offsets=[0, 8])}, "its arrays end at byte"),
    "left over": ({}, "its arrays end at byte 10; the file has 14"),
    "late begin": ({"a": entry(data_offsets=[4, 8])}, "'a' begins at byte"),
    "hole": (HOLE, "'b' begins at byte"),
    "overlap": (OVERLAP, "'b' begins at byte"),
}


@pytest.mark.parametrize("how", BAD_HEADERS)
def test_bad_headers(how: str, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    header, match = BAD_HEADERS[how]
    put(file, header)
    with pytest.raises(WeightsError, match=match) as caught:
        open_safetensors(file)
    assert "x.safetensors is damaged" in str(caught.value)
    assert "restore" in caught.value.hint


def test_the_good_entry_is_good(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    put(file, {"a": entry(comment=1), "b": entry(shape=[0, 7], data_offsets=[0, 0])})
    assert {name: found.shape for name, found in open_safetensors(file).entries.items()} == {
        "a": (1,),
        "b": (0, 7),
    }


def test_a_huge_header_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    for claimed in (2**64 - 1, 2**40, 7):
        file.write_bytes(claimed.to_bytes(8, "little") + b"{}    ")
        with pytest.raises(
            WeightsError, match=f"header claims {claimed} bytes; allowed: 6"
        ) as caught:
            open_safetensors(file)
        assert "restore" in caught.value.hint
    with open(file, "wb") as stream:  # a sparse file takes no room
        stream.truncate(2**30)
        stream.seek(0)
        stream.write((20_000_000).to_bytes(8, "little"))
    with pytest.raises(WeightsError, match="claims 20000000 bytes; allowed: 10000000"):
        open_safetensors(file)


def test_files_cut_short_at_every_offset(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    write_arrays(file, {"a": Array("float32", np.ones(4, np.float32))})
    whole = file.read_bytes()
    for size in range(len(whole)):
        file.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="is damaged") as caught:
            open_safetensors(file)
        assert "restore" in caught.value.hint


def test_a_file_cut_short_after_opening(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    write_arrays(file, {"a": Array("float32", np.ones(4, np.float32))})
    opened = open_safetensors(file)
    assert opened["a"].data.tolist() == [1, 1, 1, 1]
    with open(file, "r+b") as stream:
        stream.truncate(file.stat().st_size - 4)
    with pytest.raises(WeightsError, match="changed since it was opened"):
        opened["a"]


def test_opening_reads_no_array(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    put(file, {"a": entry(shape=[2**36], data_offsets=[0, 2**38])}, b"")
    with open(file, "r+b") as stream:  # a sparse file takes no room
        stream.truncate(file.stat().st_size + 2**38)
    opened = open_safetensors(file)
    assert "a" in opened
    assert list(opened) == ["a"]
    assert len(opened) == 1


def test_arrays_belong_to_who_asked(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    write_arrays(file, {"a": Array("float32", np.ones(4, np.float32))})
    before = file.read_bytes()
    opened = open_safetensors(file)
    opened["a"].data[0] = 5
    assert opened["a"].data[0] == 1
    assert opened["a"].data.flags.owndata
    assert file.read_bytes() == before


def test_mutated_headers_never_surprise(tmp_path: Path) -> None:
    """Only WeightsError comes out, and nothing that the package refuses is taken."""
    file = tmp_path / "x.safetensors"
    write_arrays(
        file,
        {
            "h.0.weight": Array("float32", np.ones((2, 3), np.float32)),
            "b": Array("int64", np.array(7)),
        },
    )
    whole = bytearray(file.read_bytes())
    header_end = 8 + int.from_bytes(whole[:8], "little")
    dice = random.Random(4)
    taken = 0
    for _ in range(500):
        mutated = bytearray(whole)
        for _ in range(dice.choice([1, 1, 2, 5])):
            place = dice.randrange(header_end)
            mutated[place] = dice.choice([dice.randrange(256), *b'0123456789{}[]",:'])
        file.write_bytes(mutated)
        try:
            opened = dict(open_safetensors(file))
        except WeightsError:
            continue
        taken += 1
        theirs = load_file(file)
        assert set(opened) == set(theirs)
        for name, array in opened.items():
            assert tuple(theirs[name].shape) == array.data.shape
    assert taken > 10  # names and comments may change


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the weights file") as caught:
        open_safetensors(tmp_path / "none.safetensors")
    assert "model.safetensors" in caught.value.hint


def test_a_full_disk_leaves_the_file_before_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.safetensors"
    write_arrays(file, {"a": Array("float32", np.ones(4, np.float32))})
    before = file.read_bytes()

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "ascontiguousarray", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_arrays(file, {"a": Array("float32", np.zeros(400, np.float32))})
    assert "free some space" in caught.value.hint
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
