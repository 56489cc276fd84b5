"""Read `pytorch_model.bin` as named arrays, without PyTorch and without unpickling.

`torch.save` has written two formats since torch 0.4. Since 1.6: a zip archive with the pickle in
`NAME/data.pkl` and each storage, uncompressed, in `NAME/data/KEY`. Before: a stream of 5 pickles
(magic number, protocol version, system information, the object, the keys of the storages), followed
by the storages, each after its length, always little-endian. Source: torch/serialization.py.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import WeightsError
from ogpt.notices import tell
from ogpt.weights.arrays import Array
from ogpt.weights.opened import Opened, damaged
from ogpt.weights.pickled_tensors import ITEM_SIZES, PickledStorage, PickledTensor
from ogpt.weights.tensor_pickle import DAMAGED, TRUST, Pickled, described, load
from ogpt.weights.zip_records import ZIP_MAGIC, ZipRecord, zip_records

WRAPPERS = ("state_dict", "model")
"""Keys under which training programs store the state dict inside a larger checkpoint."""

EXPANDED_LIMIT = 2**26
"""Largest tensor, in bytes, that may exceed its storage (64 MiB). Strides of 0, as `expand` makes
them, would let a small file fill the memory."""

_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's MAGIC_NUMBER, pickled
_LEGACY_PROTOCOL = 1001
_TAR_MAGIC = slice(257, 262), b"ustar"

_NUMPY = {"bfloat16": "u2", "bool": "?"}  # where numpy's name differs, or it has no such type


class _Layout(NamedTuple):
    """The pickle of a file, and the positions of its storages."""

    pickled: Pickled
    pickle: ZipRecord | None
    """None: the format before torch 1.6, which has no checksums."""
    places: dict[str, ZipRecord]
    """Of each storage."""
    byte_order: Literal["<", ">"]  # in numpy's notation


def open_bin(file: Path) -> Mapping[str, Array]:
    """Open a file of `torch.save`: a state dict, or a checkpoint that contains one (`WRAPPERS`).

    Only the pickle is read at first. Each `arrays[name]` reads one tensor from the file into new
    memory, C-contiguous and in the byte order of this machine. Tensors that share a storage become
    separate arrays. Checksums of the zip archive are verified where there are some.

    Raises:
        WeightsError: the file is missing, incomplete, damaged, in the tar format of torch < 0.4, or
            contains anything but tensors. Later, from `arrays[name]`: the file has changed, or a
            checksum differs.
    """
    opened = Opened(file)
    try:
        with open(file, "rb") as stream:
            layout = _read(file, stream, opened.size)
    except OSError as error:
        raise WeightsError(
            f"{file} cannot be read: {error.strerror}", hint="check the permissions of the file"
        ) from error
    tensors = _state_dict(file, layout.pickled.value)
    if layout.pickle is not None:  # after the other checks, whose messages say more
        layout.pickle.check(file, "data.pkl", opened.read)
    return _BinFile(opened, tensors, layout)


class _BinFile(Mapping[str, Array]):
    def __init__(self, opened: Opened, tensors: dict[str, PickledTensor], layout: _Layout) -> None:
        self._opened = opened
        self._tensors = tensors
        self._places = layout.places
        self._unchecked = set(layout.places)
        self._byte_order = layout.byte_order

    def __len__(self) -> int:
        return len(self._tensors)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> Array:
        tensor = self._tensors[name]
        dtype = tensor.storage.dtype
        native = np.dtype(_NUMPY.get(dtype, dtype))
        if not tensor.span:
            return Array(dtype, np.empty(tensor.size, native))
        numbers = np.empty(tensor.span, native)
        place = self._places[tensor.storage.key]
        self._opened.read_into(numbers, place.begin + tensor.offset * native.itemsize)
        self._check(tensor, place, numbers)
        if not native.newbyteorder(self._byte_order).isnative:
            numbers.byteswap(inplace=True)
        strides = [
            step * native.itemsize if n > 1 else 0
            for n, step in zip(tensor.size, tensor.stride, strict=True)
        ]
        data = np.ndarray(tensor.size, native, numbers, strides=strides)
        return Array(dtype, data if data.flags.c_contiguous else data.copy())

    def _check(self, tensor: PickledTensor, place: ZipRecord, numbers: NDArray[Any]) -> None:
        """Check the storage of a tensor, once; `numbers` is what was read of it.

        Raises:
            WeightsError: its checksum differs.
        """
        key = tensor.storage.key
        if key not in self._unchecked:
            return
        name = f"data/{key}"
        if numbers.nbytes == place.size:  # the usual case: nothing is read twice
            place.compare(self._opened.path, name, zlib.crc32(numbers.data))
        else:
            place.check(self._opened.path, name, self._opened.read)
        self._unchecked.discard(key)


def _read(file: Path, stream: BufferedReader, size: int) -> _Layout:
    head = stream.read(512)
    where, tar = _TAR_MAGIC
    if head.startswith(ZIP_MAGIC):
        return _read_zip(file, stream)
    if head.startswith(_LEGACY_MAGIC):
        return _read_legacy(file, stream, size)
    if head[where] == tar:
        raise WeightsError(
            f"{file} has the tar format of torch < 0.4; allowed: the formats of torch >= 0.4",
            hint="load it with torch and save it again",
        )
    raise WeightsError(
        f"{file} is not a file of torch.save: it starts with {head[:8]!r}, not with "
        f"{ZIP_MAGIC!r} (torch >= 1.6) or {_LEGACY_MAGIC[:8]!r} (earlier)",
        hint=DAMAGED,
    )


def _state_dict(file: Path, value: object) -> dict[str, PickledTensor]:
    """Return the named tensors of an unpickled value, from inside a wrapper if there is one."""
    if not isinstance(value, dict):
        raise WeightsError(
            f"{file} contains {described(value)}; allowed: a dict of names and tensors",
            hint="save model.state_dict()",
        )
    for wrapper in WRAPPERS:
        inside = value.get(wrapper)
        if isinstance(inside, dict):
            ignored = ", ".join(described(name) for name in value if name != wrapper)
            if ignored:
                tell("checkpoint-parts-ignored", path=file, read=wrapper, ignored=ignored)
            value = inside
            break
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, PickledTensor):
            raise WeightsError(
                f"{file} has {described(tensor)} under the key {described(name)}; allowed: tensors "
                f"under strings ({' or '.join(WRAPPERS)} may contain them all)",
                hint="save model.state_dict()",
            )
        _check_extent(file, name, tensor)
    return value


def _check_extent(file: Path, name: str, tensor: PickledTensor) -> None:
    """Check that a tensor stays inside its storage and needs a plausible amount of memory."""
    storage, size = tensor.storage, tensor.size
    end = tensor.offset + tensor.span
    if tensor.span and end > storage.numel:
        raise damaged(
            file,
            f"{described(name)}, of size {size}, stride {tensor.stride} and offset "
            f"{tensor.offset}, reaches element {end - 1} of a storage of {storage.numel}",
        )
    item_size = ITEM_SIZES[storage.dtype]
    nbytes = math.prod(size) * item_size
    allowed = max(EXPANDED_LIMIT, storage.nbytes)
    # numpy limits the bytes of empty arrays too, counting their zeros as ones
    if nbytes > allowed or math.prod(n or 1 for n in size) * item_size >= 2**63:
        raise WeightsError(
            f"{file}: {described(name)} of size {size} needs {nbytes} bytes, and its storage has "
            f"{storage.nbytes}; allowed: {allowed}",
            hint=TRUST,
        )


def _read_zip(file: Path, stream: BufferedReader) -> _Layout:
    records = zip_records(file, stream)
    prefixes = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(prefixes) != 1 or prefixes[0].count("/") != 1:
        raise damaged(
            file,
            f"{len(prefixes)} of its {len(records)} records are named NAME/data.pkl; allowed: 1",
        )
    (prefix,) = prefixes
    pickle = records[f"{prefix}data.pkl"]
    stream.seek(pickle.begin)
    pickled = load(stream, pickle.size, str(file))
    places = {}
    for storage in pickled.storages.values():
        place = records.get(f"{prefix}data/{storage.key}")
        if place is None:
            raise damaged(file, f"the record {prefix}data/{described(storage.key)} is missing")
        places[storage.key] = place
        if place.size != storage.nbytes:
            raise damaged(
                file,
                f"storage {described(storage.key)} has {place.size} bytes; {storage.numel} numbers "
                f"of {storage.dtype} need {storage.nbytes}",
            )
    order = b"little"  # torch < 2.1 did not store it
    if f"{prefix}byteorder" in records:
        record = records[f"{prefix}byteorder"]
        stream.seek(record.begin)
        order = stream.read(min(record.size, 16))
    if order not in (b"little", b"big"):
        raise damaged(file, f"its byte order is {order!r}; allowed: b'little', b'big'")
    return _Layout(pickled, pickle, places, "<" if order == b"little" else ">")


def _read_legacy(file: Path, stream: BufferedReader, size: int) -> _Layout:
    def next_pickle() -> Pickled:
        return load(stream, size - stream.tell(), str(file))

    stream.seek(len(_LEGACY_MAGIC))
    protocol, system = next_pickle().value, next_pickle().value
    if protocol != _LEGACY_PROTOCOL:
        raise damaged(file, f"its protocol is {described(protocol)}; allowed: {_LEGACY_PROTOCOL}")
    little = system.get("little_endian") if isinstance(system, dict) else system
    if little is not True:
        raise WeightsError(
            f"{file} was written with little_endian={described(little)}; allowed in the format of "
            "torch < 1.6: True",
            hint="load it with torch on such a machine and save it again",
        )
    pickled, keys = next_pickle(), next_pickle().value
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise damaged(
            file, f"its list of storages is {described(keys)}; allowed: a list of strings"
        )
    if len(keys) != len(set(keys)) or set(keys) != pickled.storages.keys():
        raise damaged(
            file,
            f"its list of {len(keys)} storages does not name each of the "
            f"{len(pickled.storages)} storages of its tensors once",
        )
    places = {}
    begin = stream.tell()
    for storage in (pickled.storages[key] for key in keys):
        begin = _legacy_begin(file, stream, begin, size, storage)
        places[storage.key] = ZipRecord(begin, storage.nbytes, 0)  # without a checksum
        begin += storage.nbytes
    return _Layout(pickled, None, places, "<")


def _legacy_begin(
    file: Path, stream: BufferedReader, begin: int, size: int, storage: PickledStorage
) -> int:
    stream.seek(begin)
    numel = int.from_bytes(stream.read(8), "little")
    if numel != storage.numel or begin + 8 + storage.nbytes > size:
        raise damaged(
            file,
            f"storage {described(storage.key)} has {numel} elements of {storage.dtype} in the "
            f"remaining {max(size - begin - 8, 0)} bytes; its tensors need {storage.numel}",
        )
    return begin + 8
