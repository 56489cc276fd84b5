import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ogpt.errors import StorageError, WeightsError
from ogpt.model.tensors import array_of, tensor_of
from ogpt.weights.arrays import Array
from ogpt.weights.safetensors_file import read_arrays, write_arrays

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
    found = read_arrays(file)
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(tensor_of(found[name]), tensor)


def test_reading_cannot_change_the_file(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    write_arrays(file, {"a": Array("float32", np.ones(4, np.float32))})
    before = file.read_bytes()
    read_arrays(file)["a"].data[0] = 5
    assert file.read_bytes() == before


def damage(file: Path, how: str) -> None:
    write_arrays(file, {"a": Array("float32", np.ones(4, np.float32))})
    whole = file.read_bytes()
    size = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + size])
    if how == "empty":
        file.write_bytes(b"")
    elif how == "cut":
        file.write_bytes(whole[:-4])
    elif how == "huge header":
        file.write_bytes((2**62).to_bytes(8, "little") + whole[8:])
    elif how == "not json":
        file.write_bytes(whole[:8] + b"x" * size + whole[8 + size :])
    else:
        if how == "shape":
            header["a"]["shape"] = [5]
        elif how == "dtype":
            header["a"]["dtype"] = "F9"
        elif how == "negative":
            header["a"]["data_offsets"] = [-8, 8]
        elif how == "list":
            header["a"] = []
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + whole[8 + size :])


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ("empty", "empty"),
        ("cut", "outside the file"),
        ("huge header", "header claims"),
        ("not json", "JSONDecodeError"),
        ("shape", r"16 bytes do not make shape \(5,\)"),
        ("dtype", "KeyError: 'F9'"),
        ("negative", "outside the file"),
        ("list", "TypeError"),
    ],
)
def test_damaged_files(how: str, match: str, tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    damage(file, how)
    with pytest.raises(WeightsError, match=match) as caught:
        read_arrays(file)
    assert "x.safetensors is damaged" in str(caught.value)
    assert "restore" in caught.value.hint


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights file") as caught:
        read_arrays(tmp_path / "none.safetensors")
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
