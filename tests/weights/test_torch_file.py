import io
import random
import struct
import tarfile
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ogpt.errors import WeightsError
from ogpt.model.tensors import tensor_of
from ogpt.notices import collecting
from ogpt.weights import pickled_tensors, tensor_pickle, torch_file, zip_records
from ogpt.weights.pickled_tensors import PickledTensor
from ogpt.weights.torch_file import open_bin

GENERATIONS = {"zip": True, "legacy": False}


@pytest.fixture(params=GENERATIONS)
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[object], Path]:
    def save(value: object) -> Path:
        file = tmp_path / "pytorch_model.bin"
        torch.save(value, file, _use_new_zipfile_serialization=GENERATIONS[request.param])
        return file

    return save


def tied() -> nn.Module:
    model = nn.Module()
    model.embed = nn.Embedding(7, 4)
    model.head = nn.Linear(4, 7, bias=False)
    model.head.weight = model.embed.weight
    model.norm = nn.BatchNorm1d(3)  # an integer buffer
    return model


def values() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(5, 6, generator=generator)
    return {
        "base": base,
        "transposed": base.t(),
        "row": base[2],
        "column": base[:, 3],
        "inside": base[1:4, 2:5],
        "every other": base[::2, ::3],
        "permuted": torch.randn(2, 3, 4, generator=generator).permute(2, 0, 1),
        "expanded": torch.randn(3, 1, generator=generator).expand(3, 5),
        "scalar": torch.tensor(2.5),
        "scalar inside": base[4, 5],
        "empty": torch.zeros(0, 3),
        "empty inside": base[5:],
        "empty and wide": torch.zeros(0, 50_000, 1_000),
        "parameter": nn.Parameter(torch.randn(4, generator=generator)),
        "buffer": nn.Parameter(torch.randn(4, generator=generator), requires_grad=False),
        "float64": torch.randn(3, generator=generator, dtype=torch.float64),
        "float16": torch.randn(3, generator=generator).half(),
        "bfloat16": torch.randn(3, generator=generator).bfloat16(),
        "int64": torch.tensor([-(2**40), 3]),
        "int32": torch.tensor([-70_000, 3], dtype=torch.int32),
        "int16": torch.tensor([-300, 3], dtype=torch.int16),
        "int8": torch.tensor([-3, 3], dtype=torch.int8),
        "uint8": torch.tensor([250, 3], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "nan": torch.tensor([float("nan"), float("inf"), -0.0]),
    }


def bits(tensor: torch.Tensor) -> bytes:
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.view(torch.int16)
    return tensor.numpy().tobytes()


def differing(file: Path, expected: dict[str, torch.Tensor]) -> list[str]:
    """The names under which what we read is not, bit for bit, what torch holds."""
    arrays = open_bin(file)
    assert list(arrays) == list(expected)
    assert len(arrays) == len(expected)

    def same(name: str) -> bool:
        found, want = tensor_of(arrays[name]), expected[name].detach()
        kinds = found.dtype == want.dtype and found.shape == want.shape
        return kinds and bits(found) == bits(want)

    return [name for name in expected if not same(name)]


@pytest.mark.parametrize("content", ["values", "state dict", "float64", "bfloat16", "many"])
def test_what_torch_writes_is_read_as_torch_reads_it(
    content: str, save: Callable[[object], Path]
) -> None:
    value: dict[str, torch.Tensor] = {
        "values": values(),
        "state dict": tied().state_dict(),
        "float64": tied().double().state_dict(),
        "bfloat16": tied().bfloat16().state_dict(),
        "many": {f"h.{n}.weight": torch.full((2,), n) for n in range(300)},
    }[content]
    if content == "state dict":
        assert isinstance(value, OrderedDict)
        assert value._metadata  # type: ignore[attr-defined]
    file = save(value)
    expected = torch.load(file, weights_only=True)
    assert differing(file, expected) == []
    assert differing(file, value) == []


def test_parameters_with_attributes(save: Callable[[object], Path]) -> None:
    parameter = nn.Parameter(torch.ones(2))
    parameter.note = "kept by torch, of no use here"  # type: ignore[attr-defined]
    file = save({"a": parameter})
    assert differing(file, {"a": torch.ones(2)}) == []


def contiguous(size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(size[i + 1 :])) for i in range(len(size)))


FAULTS: dict[str, Callable[[PickledTensor], PickledTensor]] = {
    "the stride": lambda t: PickledTensor(t.storage, t.offset, t.size, contiguous(t.size)),
    "the offset": lambda t: PickledTensor(t.storage, 0, t.size, t.stride),
}
CAUGHT = {
    "the stride": {"transposed", "permuted", "every other", "column", "inside"},
    "the offset": {"row", "column", "inside", "scalar inside"},
}


@pytest.mark.parametrize("ignored", FAULTS)
def test_a_reader_that_ignores_a_fact_is_caught(
    ignored: str, save: Callable[[object], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save({name: t for name, t in values().items() if name != "expanded"})  # stays inside
    expected = torch.load(file, weights_only=True)
    right = tensor_pickle._Machine.tensor
    monkeypatch.setattr(
        tensor_pickle._Machine, "tensor", lambda self, *given: FAULTS[ignored](right(self, *given))
    )
    monkeypatch.setattr(torch_file, "_check_extent", lambda *given: None)
    assert set(differing(file, expected)) == CAUGHT[ignored]


def test_bfloat16_taken_for_float16_is_caught(
    save: Callable[[object], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save(values())
    monkeypatch.setitem(tensor_pickle._STORAGES, "torch.BFloat16Storage", "float16")
    assert differing(file, values()) == ["bfloat16"]


def test_arrays_are_the_callers_own(save: Callable[[object], Path]) -> None:
    file = save(tied().state_dict())
    before = file.read_bytes()
    arrays = open_bin(file)
    first, again, tied_to_it = (arrays[n].data for n in ["embed.weight"] * 2 + ["head.weight"])
    first[:] = 5
    assert first.flags.c_contiguous
    assert np.array_equal(again, tied_to_it)
    assert not np.array_equal(first, again)
    assert file.read_bytes() == before


def test_names_are_known_without_reading(
    save: Callable[[object], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = open_bin(save({"a": torch.ones(2), "b": torch.ones(3)}))
    monkeypatch.setattr(torch_file.Opened, "read_into", None)
    assert list(arrays) == ["a", "b"]
    assert "a" in arrays
    assert "c" not in arrays
    with pytest.raises(KeyError, match="c"):
        arrays["c"]


def test_memory_is_one_array_at_a_time(save: Callable[[object], Path]) -> None:
    big = {f"w{n}": torch.randn(1_000, 1_000) for n in range(4)}
    file = save(big | {"t": big["w0"].t(), "few": big["w1"][:10]})
    size = 4_000_000
    tracemalloc.start()
    try:
        arrays = open_bin(file)
        assert tracemalloc.get_traced_memory()[1] < 500_000
        for name in arrays:
            tracemalloc.reset_peak()
            arrays[name]
            peak = tracemalloc.get_traced_memory()[1]
            assert peak < {"t": 2.1, "few": 0.2}.get(name, 1.1) * size, (name, peak)
    finally:
        tracemalloc.stop()


def test_a_file_that_changes_after_opening(save: Callable[[object], Path]) -> None:
    file = save({"a": torch.ones(2_000)})
    arrays = open_bin(file)
    file.write_bytes(file.read_bytes()[:-5_000])
    with pytest.raises(WeightsError, match="changed since it was opened"):
        arrays["a"]


# Checkpoints around a state dict


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_a_state_dict_inside_a_checkpoint(wrapper: str, save: Callable[[object], Path]) -> None:
    whole = {
        "epoch": 3,
        "lr": 0.1,
        "big": 2**40,
        "negative": -(2**40),
        "none": None,
        "list": [1, [2, "x"]],
        wrapper: tied().state_dict(),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "groups": [{"betas": (0.9, 0.99)}]},
    }
    file = save(whole)
    with collecting() as notices:
        found = open_bin(file)
    expected = torch.load(file, weights_only=True)[wrapper]
    assert [n.kind for n in notices] == ["checkpoint-parts-ignored"]
    assert notices[0].message == (
        f"{file} holds more than weights: reading only {wrapper!r} and ignoring 'epoch', 'lr', "
        "'big', 'negative', 'none', 'list', 'optimizer'"
    )
    assert torch.equal(tensor_of(found["embed.weight"]), expected["embed.weight"])
    file = save({wrapper: {"a": torch.ones(2)}})
    with collecting() as notices:
        assert differing(file, {"a": torch.ones(2)}) == []
    assert notices == []


def test_a_weight_may_be_called_model(save: Callable[[object], Path]) -> None:
    assert list(open_bin(save({"model": torch.ones(2)}))) == ["model"]


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (torch.ones(2), "contains a tensor; allowed: a dict of names"),
        ([torch.ones(2)], "contains a list; allowed: a dict of names"),
        ({"a": torch.ones(2), "epoch": 3}, "has 3 under the key 'epoch'; allowed: tensors"),
        ({0: torch.ones(2)}, "has a tensor under the key 0; allowed: tensors"),
        ({"weights": {"a": torch.ones(2)}}, "has a dict under the key 'weights'.*state_dict or"),
        ({"model": {"a": {"b": torch.ones(1)}}}, "has a dict under the key 'a'"),
    ],
)
def test_what_is_no_state_dict(value: object, match: str, save: Callable[[object], Path]) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        open_bin(save(value))
    assert "model.state_dict()" in caught.value.hint


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"a": torch.ones(2).to_sparse()}, "torch._utils._rebuild_sparse_tensor"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "torch.ComplexFloatStorage"),
        ({"a": torch.ones(2).to(torch.float8_e5m2)}, "torch._utils._rebuild_tensor_v3"),
        ({"a": torch.device("cpu")}, "torch.device"),
        ({"a": torch._neg_view(torch.ones(2))}, "lazily negated or conjugated"),
        (nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
    ],
)
def test_tensors_of_other_kinds(value: object, named: str, save: Callable[[object], Path]) -> None:
    with pytest.raises(WeightsError) as caught:
        open_bin(save(value))
    assert named in str(caught.value)
    assert "only tensors" in caught.value.hint


# Damage and attacks


def read_all(file: Path) -> int:
    """Bytes of all that the file holds."""
    return sum(array.data.nbytes for array in open_bin(file).values())


def small() -> dict[str, Any]:
    return {"w": torch.arange(6.0).view(2, 3), "b": torch.ones(2), "e": torch.zeros(0)}


def test_a_file_cut_anywhere(save: Callable[[object], Path]) -> None:
    file = save(small())
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(WeightsError) as caught:
            read_all(file)
        assert str(file) in str(caught.value)
        assert caught.value.hint


def mutated(whole: bytes, chance: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(data))
        size = chance.choice([1, 1, 2, 4, 8])
        match chance.randrange(6):
            case 0:
                data[at] ^= 1 << chance.randrange(8)
            case 1:
                data[at : at + size] = chance.randbytes(size)
            case 2:
                data[at : at + size] = chance.choice([b"\x00", b"\xff", b"\x7f"]) * size
            case 3:
                del data[at : at + size]
            case 4:
                data[at:at] = data[at : at + size]
            case 5:
                other = chance.randrange(len(data))
                data[at : at + size] = data[other : other + size]
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files(seed: int, save: Callable[[object], Path]) -> None:
    file = save(small())
    whole = file.read_bytes()
    chance = random.Random(seed)
    refused = 0
    for _ in range(250):
        file.write_bytes(mutated(whole, chance))
        try:
            assert read_all(file) <= 3 * torch_file.EXPANDED_LIMIT
        except WeightsError:
            refused += 1
    assert refused > 60  # the others changed numbers, names, or bytes that nobody reads


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "starts with b''"),
        (b"PK", "starts with b'PK'"),
        (b"\x89HDF\r\n\x1a\n", r"starts with b'\\x89HDF"),
        (b"\x80\x04\x95" + b"\x00" * 20, "is not a file of torch.save"),
        (b"version https://git-lfs.github.com/spec/v1\n", "starts with b'version '"),
    ],
)
def test_not_a_file_of_torch(content: bytes, match: str, tmp_path: Path) -> None:
    file = tmp_path / "x.bin"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=match) as caught:
        open_bin(file)
    assert "restore" in caught.value.hint


def test_the_tar_form_is_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "old.bin"
    with tarfile.open(file, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("storages", "tensors", "pickle"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(WeightsError, match=r"tar format of torch < 0\.4") as caught:
        open_bin(file)
    assert "save it again" in caught.value.hint


def test_no_file_and_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="the weights file"):
        open_bin(tmp_path / "none.bin")
    file = tmp_path / "x.bin"
    torch.save(small(), file)

    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch_file, "open", refuse, raising=False)
    with pytest.raises(WeightsError, match="cannot be read: Permission denied") as caught:
        open_bin(file)
    assert "permissions" in caught.value.hint


def altered(file: Path, change: Callable[[dict[str, bytes]], None], compression: int = 0) -> Path:
    """The same zip archive with other records."""
    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    change(records)
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in records.items():
            archive.writestr(name, data)
    return file


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    file = tmp_path / "model.bin"
    torch.save(small(), file)
    return file


def test_rewritten_archives_are_read(zipped: Path) -> None:
    altered(zipped, lambda records: None)
    assert differing(zipped, small()) == []
    with zipfile.ZipFile(zipped, "a") as archive:
        archive.comment = b"a comment"
    assert differing(zipped, small()) == []


def test_big_endian_files(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    everything = {name: t for name, t in values().items() if t.numel()}
    torch.save(everything, file)
    with zipfile.ZipFile(file) as archive:
        pickled = archive.read("model/data.pkl")
    loaded = tensor_pickle.load(io.BytesIO(pickled), len(pickled), "x")
    keys = {k: pickled_tensors.ITEM_SIZES[s.dtype] for k, s in loaded.storages.items()}

    def swap(records: dict[str, bytes]) -> None:
        records["model/byteorder"] = b"big"
        for key, size in keys.items():
            data = np.frombuffer(records[f"model/data/{key}"], f"u{size}")
            records[f"model/data/{key}"] = data.byteswap().tobytes()

    altered(file, swap)
    assert differing(file, torch.load(file, weights_only=True)) == []
    assert differing(file, everything) == []
    altered(file, lambda records: records.update({"model/byteorder": b"little"}))
    assert len(differing(file, everything)) > 15


def test_files_before_the_byte_order_was_said(zipped: Path) -> None:
    altered(zipped, lambda records: records.__delitem__("model/byteorder"))
    assert differing(zipped, small()) == []


def rename(old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    return lambda records: records.update({new: records.pop(old)})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (rename("model/data.pkl", "model/other"), "0 of its 9 records are named NAME/data.pkl"),
        (rename("model/version", "more/data.pkl"), "2 of its 9 records are named NAME/data.pkl"),
        (rename("model/data.pkl", "model/more/data.pkl"), "1 of its 9 records"),
        (rename("model/data/0", "model/data/9"), "the record model/data/'0' is missing"),
        (rename("model/version", "model/../version"), "'model/../version' leaves the archive"),
        (rename("model/version", "/etc/version"), "'/etc/version' leaves the archive"),
        (rename("model/version", "model\\version"), "leaves the archive"),
        (
            lambda records: records.update({"model/data/0": b"\x00" * 20}),
            "storage '0' has 20 bytes; 6 numbers of float32 need 24",
        ),
        (lambda records: records.update({"model/data/0": b""}), "storage '0' has 0 bytes"),
        (
            lambda records: records.update({"model/byteorder": b"middle"}),
            "byte order is b'middle'; allowed: b'little', b'big'",
        ),
        (lambda records: records.update({"model/data.pkl": b"\x80\x02."}), "pops from"),
    ],
)
def test_archives_that_do_not_hold_together(
    change: Callable[[dict[str, bytes]], None], match: str, zipped: Path
) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        open_bin(altered(zipped, change))
    assert "restore" in caught.value.hint


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_records_are_never_unpacked(method: int, zipped: Path) -> None:
    def bomb(records: dict[str, bytes]) -> None:
        records["model/data/0"] = b"\x00" * 10_000_000

    altered(zipped, bomb, method)
    assert zipped.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(
            WeightsError, match=r"compressed .*allowed: uncompressed records"
        ) as caught:
            open_bin(zipped)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert "only tensors" in caught.value.hint


CENTRAL = struct.Struct("<4s4BHHHHIIIHHHHHII")


def directory_entry(file: Path, name: str, **fields: int) -> None:
    """Change a record's entry in the archive's directory."""
    names = ["magic", "version", "_", "needs", "_", "flags", "method", "time", "date", "crc"]
    names += ["packed", "size", "name", "extra", "comment", "disk", "internal", "external"]
    names += ["offset"]
    whole = bytearray(file.read_bytes())
    at = whole.rindex(name.encode()) - CENTRAL.size
    values = list(CENTRAL.unpack_from(whole, at))
    assert values[0] == b"PK\x01\x02"
    for field, value in fields.items():
        values[names.index(field)] = value
    CENTRAL.pack_into(whole, at, *values)
    file.write_bytes(whole)


@pytest.mark.parametrize(
    ("fields", "match", "hint"),
    [
        ({"flags": 0x1}, "record 'model/data/1' is encrypted", "only tensors"),
        ({"flags": 0x40}, "record 'model/data/1' is encrypted", "only tensors"),
        ({"flags": 0x2000}, "record 'model/data/1' is encrypted", "only tensors"),
        ({"size": 9}, r"compressed \(8 bytes for 9\)", "only tensors"),
        ({"packed": 10**9, "size": 10**9}, "of 1000000000 bytes is not between byte", "restore"),
        ({"offset": 0}, "'model/data/1' of 8 bytes is not between byte 0", "restore"),
        ({"offset": 3}, "'model/data/1' of 8 bytes is not between byte 3", "restore"),
        ({"offset": 2**31}, "is not between byte 2147483648", "restore"),
        ({"needs": 99}, "zip directory is invalid: zip file version 9.9", "restore"),
    ],
)
def test_directories_that_lie(fields: dict[str, int], match: str, hint: str, zipped: Path) -> None:
    altered(zipped, lambda records: None)
    directory_entry(zipped, "model/data/1", **fields)
    with pytest.raises(WeightsError, match=match) as caught:
        open_bin(zipped)
    assert hint in caught.value.hint


def test_a_name_twice(zipped: Path) -> None:
    whole = zipped.read_bytes()
    zipped.write_bytes(whole.replace(b"model/data/1", b"model/data/0"))
    with pytest.raises(WeightsError, match="two records have the name 'model/data/0'"):
        open_bin(zipped)


def test_a_huge_directory(zipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_records, "_DIRECTORY_LIMIT", 100)
    with pytest.raises(WeightsError, match=r"it has \d+ bytes; allowed: 100"):
        open_bin(zipped)


# checksums


def flipped(file: Path, record: str, byte: int) -> None:
    """Flip one bit of a record's data."""
    with zipfile.ZipFile(file) as archive:
        entry = archive.getinfo(record)
        data = archive.read(record)
    whole = bytearray(file.read_bytes())
    at = whole.index(data, entry.header_offset)
    whole[at + byte] ^= 1
    file.write_bytes(whole)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    base = torch.arange(600_000, dtype=torch.float32)  # more than is read at once
    value = {"whole": base, "part": base[:10].clone()[:5], "other": torch.ones(3)}
    torch.save(value, file)
    flipped(file, "model/data/0", 4 * 599_999)
    flipped(file, "model/data/1", 4 * 7)  # a number that no tensor uses
    arrays = open_bin(file)
    for name, record in (("whole", "data/0"), ("part", "data/1")):
        message = rf"the checksum of the record '{record}' is [0-9a-f]+; the archive's directory"
        with pytest.raises(WeightsError, match=message) as caught:
            arrays[name]
        assert "restore" in caught.value.hint
    assert arrays["other"].data.tolist() == [1, 1, 1]


def test_a_flipped_bit_of_the_pickle_is_found(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    torch.save({"a long name": torch.ones(3)}, file)
    whole = file.read_bytes()
    assert whole.count(b"a long name") == 1
    file.write_bytes(whole.replace(b"a long name", b"a lonG name"))
    with pytest.raises(WeightsError, match=r"the checksum of the record 'data\.pkl' is"):
        open_bin(file)


def test_files_without_checksums(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.arange(3.0)}, file)
    finally:
        torch.serialization.set_crc32_options(True)
    assert open_bin(file)["a"].data.tolist() == [0, 1, 2]


# What a pickle may claim of its storages


def claims(file: Path, old: bytes, new: bytes) -> None:
    """Put other claims into the pickle of either generation; lengths stay equal."""
    whole = file.read_bytes()
    assert whole.count(old) == 1
    assert len(old) == len(new)
    file.write_bytes(whole.replace(old, new))


SIZE, STRIDE = b"K\x02K\x03\x86", b"K\x03K\x01\x86"


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (SIZE, b"K\x02K\x04\x86", r"size \(2, 4\), .* reaches element 6 of a storage of 6"),
        (SIZE, b"K\xffK\x03\x86", "reaches element 764 of a storage of 6"),
        (STRIDE, b"K\x04K\x01\x86", r"stride \(4, 1\) .* reaches element 6 of a storage of 6"),
        (b"K\x00" + SIZE, b"K\x01" + SIZE, "offset 1, reaches element 6 of a storage of 6"),
    ],
)
def test_tensors_that_leave_their_storage(
    old: bytes, new: bytes, match: str, save: Callable[[object], Path]
) -> None:
    file = save(small())
    claims(file, old, new)
    with pytest.raises(WeightsError, match=match) as caught:
        open_bin(file)
    assert "'w'" in str(caught.value)
    assert "restore" in caught.value.hint


@pytest.mark.parametrize(
    ("size", "match"),
    [
        ((2**31, 2**31), f"needs {2**64} bytes, and its storage has 4; allowed: {2**26}"),
        ((10**6, 10**6), r"size \(1000000, 1000000\) needs 4000000000000 bytes"),
        ((2**24 + 1,), f"needs {2**26 + 4} bytes"),
        ((0, 2**31 - 1, 2**31 - 1), r"size \(0, 2147483647, 2147483647\) needs 0 bytes"),
    ],
)
def test_tensors_larger_than_any_file(
    size: tuple[int, ...], match: str, save: Callable[[object], Path]
) -> None:
    stand_ins = [70_000 + n for n in range(len(size))]  # torch itself refuses some of the sizes
    file = save({"w": torch.ones(1).expand(stand_ins)})

    def enlarge(pickled: bytes) -> bytes:
        for stand_in, n in zip(stand_ins, size, strict=True):
            pickled = pickled.replace(b"J" + struct.pack("<i", stand_in), long(n))
        return pickled

    if zipfile.is_zipfile(file):
        name = "pytorch_model/data.pkl"
        altered(file, lambda records: records.update({name: enlarge(records[name])}))
    else:
        file.write_bytes(enlarge(file.read_bytes()))
    with pytest.raises(WeightsError, match=match) as caught:
        open_bin(file)
    assert "only tensors" in caught.value.hint


def long(number: int) -> bytes:
    return b"\x8a\x08" + number.to_bytes(8, "little")


def test_tensors_that_repeat_their_storage_up_to_the_limit(save: Callable[[object], Path]) -> None:
    file = save({"w": torch.ones(1).expand(2**20)})
    assert open_bin(file)["w"].data.shape == (2**20,)


# The form before torch 1.6


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    file = tmp_path / "old.bin"
    torch.save({"a": torch.ones(3), "b": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    return file


def keys(file: Path) -> Iterator[bytes]:
    tail = file.read_bytes().split(b"\x80\x02]q\x00(")[1]
    for part in tail.split(b"X")[1:]:
        size = int.from_bytes(part[:4], "little")
        yield part[4 : 4 + size]


def test_storages_of_a_gpu(legacy: Path) -> None:
    legacy.write_bytes(
        legacy.read_bytes()
        .replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage")
        .replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    )
    assert differing(legacy, {"a": torch.ones(3), "b": torch.ones(2)}) == []


@pytest.mark.parametrize(
    ("old", "new", "match", "hint"),
    [
        (b"M\xe9\x03.", b"M\xe8\x03.", "its protocol is 1000; allowed: 1001", "restore"),
        (b"little_endianq\x02\x88", b"little_endianq\x02\x89", "little_endian=False", "machine"),
        (b"little_endian", b"little_indian", "little_endian=None", "machine"),
        (b"\x80\x02]q\x00(", b"\x80\x02)q\x00(", "appends to a tuple", "restore"),
        (
            b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80?",
            b"\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80?",
            "has 4 elements of float32 in the remaining .* bytes; its tensors need 3",
            "restore",
        ),
    ],
)
def test_legacy_files_that_do_not_hold_together(
    old: bytes, new: bytes, match: str, hint: str, legacy: Path
) -> None:
    claims(legacy, old, new)
    with pytest.raises(WeightsError, match=match) as caught:
        open_bin(legacy)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda first, second: [first, first], "list of 2 storages does not name each of the 2"),
        (lambda first, second: [first], "list of 1 storages does not name each of the 2"),
        (lambda first, second: [first, second, b"7"], "list of 3 storages does not name"),
        (lambda first, second: None, "its list of storages is a list; allowed: a list of strings"),
    ],
)
def test_the_list_of_storages(
    change: Callable[[bytes, bytes], list[bytes] | None], match: str, legacy: Path
) -> None:
    listed = change(*keys(legacy))
    head = legacy.read_bytes().split(b"\x80\x02]q\x00(")[0]
    texts = [b"X" + len(key).to_bytes(4, "little") + key for key in listed or []] or [b"K\x01"]
    legacy.write_bytes(head + b"\x80\x02]q\x00(" + b"".join(texts) + b"e." + b"\x00" * 100)
    with pytest.raises(WeightsError, match=match) as caught:
        open_bin(legacy)
    assert "restore" in caught.value.hint


def test_the_legacy_facts_are_no_dict(legacy: Path) -> None:
    whole = legacy.read_bytes()
    at = whole.index(b"M\xe9\x03.") + 4
    legacy.write_bytes(whole[:at] + b"\x80\x02K\x05.")
    with pytest.raises(WeightsError, match="little_endian=5"):
        open_bin(legacy)
