"""`pytorch_model.bin` as named arrays, without PyTorch and without unpickling.

`torch.save` has written two forms since torch 0.4. Since 1.6: a zip archive with the pickle in
`NAME/data.pkl` and each storage, uncompressed, in `NAME/data/KEY`. Before: a stream of five
pickles (a magic number, the protocol, facts about the machine, the object, the storages' keys),
then each storage behind its length, always little-endian. Source: torch/serialization.py.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ogpt.errors import WeightsError
from ogpt.notices import tell
from ogpt.weights.arrays import Array
from ogpt.weights.opened import Opened, damaged
from ogpt.weights.pickled_tensors import ITEM_SIZES, PickledStorage, PickledTensor
from ogpt.weights.tensor_pickle import DAMAGED, TRUST, Pickled, described, load

WEIGHTS_FILE = "pytorch_model.bin"

WRAPPERS = ("state_dict", "model")
"""Names under which training programs keep the state dict inside a larger checkpoint."""

EXPANDED_LIMIT = 2**26
"""Bytes of a tensor that is larger than its storage, as `expand` makes them."""

_ZIP_MAGIC = b"PK\x03\x04"
_LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's MAGIC_NUMBER, pickled
_LEGACY_PROTOCOL = 1001
_TAR_MAGIC = slice(257, 262), b"ustar"

_DIRECTORY_LIMIT = 2**23  # bytes of a zip archive's directory: about 80,000 records
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # magic, ..., length of the name, of the extra field
_UTF8 = 0x800
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # the format's three flags for it

_NUMPY = {"bfloat16": "u2", "bool": "?"}  # where numpy's name is another, or there is none


class _Layout(NamedTuple):
    """A file's pickle and where its storages begin."""

    pickled: Pickled
    begins: dict[str, int]
    byte_order: Literal["<", ">"]  # as numpy says it


def open_bin(file: Path) -> Mapping[str, Array]:
    """Open a file of `torch.save`: a state dict, or a checkpoint that holds one (`WRAPPERS`).

    Only the pickle is read. Each `arrays[name]` reads that tensor anew from the file, in one
    piece, into memory of its own, C-contiguous, in this machine's byte order; tensors that share
    a storage come as separate arrays. A zip archive's checksums are not compared: torch does not
    either, and can be told to write none.

    Raises:
        WeightsError: missing, cut short, damaged, of the tar form of torch < 0.4, or holding
            anything but tensors; also from `arrays[name]`, where the file changed in between.
    """
    opened = Opened(file)
    try:
        with open(file, "rb") as stream:
            layout = _read(file, stream, opened.size)
    except OSError as error:
        raise WeightsError(
            f"{file} cannot be read: {error.strerror}", hint="see that you may read the file"
        ) from error
    return _BinFile(opened, _state_dict(file, layout.pickled.value), layout)


class _BinFile(Mapping[str, Array]):
    def __init__(self, opened: Opened, tensors: dict[str, PickledTensor], layout: _Layout) -> None:
        self._opened = opened
        self._tensors = tensors
        self._begins = layout.begins
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
        begin = self._begins[tensor.storage.key] + tensor.offset * native.itemsize
        self._opened.read_into(numbers, begin)
        if not native.newbyteorder(self._byte_order).isnative:
            numbers.byteswap(inplace=True)
        strides = [
            step * native.itemsize if n > 1 else 0
            for n, step in zip(tensor.size, tensor.stride, strict=True)
        ]
        data = np.ndarray(tensor.size, native, numbers, strides=strides)
        return Array(dtype, data if data.flags.c_contiguous else data.copy())


def _read(file: Path, stream: BufferedReader, size: int) -> _Layout:
    head = stream.read(512)
    where, tar = _TAR_MAGIC
    if head.startswith(_ZIP_MAGIC):
        return _read_zip(file, stream)
    if head.startswith(_LEGACY_MAGIC):
        return _read_legacy(file, stream, size)
    if head[where] == tar:
        raise WeightsError(
            f"{file} has the tar form of torch < 0.4; the two forms since then can be read",
            hint="load it with torch and save it again",
        )
    raise WeightsError(
        f"{file} is not a file of torch.save: it begins with {head[:8]!r}, not with "
        f"{_ZIP_MAGIC!r} (torch >= 1.6) or {_LEGACY_MAGIC[:8]!r} (before)",
        hint=DAMAGED,
    )


def _state_dict(file: Path, value: object) -> dict[str, PickledTensor]:
    """The named tensors of what the pickle holds, taken out of a wrapper."""
    if not isinstance(value, dict):
        raise WeightsError(
            f"{file} holds {described(value)}; a weights file holds a dict of names and tensors",
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
                f"{file} holds {described(tensor)} under the name {described(name)}; names are "
                f"text and name tensors ({' or '.join(WRAPPERS)} may hold them all)",
                hint="save model.state_dict()",
            )
        _check_extent(file, name, tensor)
    return value


def _check_extent(file: Path, name: str, tensor: PickledTensor) -> None:
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
    # numpy counts the bytes of an empty array, too, as if its zeros were ones
    if nbytes > allowed or math.prod(n or 1 for n in size) * item_size >= 2**63:
        raise WeightsError(
            f"{file}: {described(name)} of size {size} would take {nbytes} bytes; its storage has "
            f"{storage.nbytes}, and at most {allowed} are allowed",
            hint=TRUST,
        )


def _read_zip(file: Path, stream: BufferedReader) -> _Layout:
    records = _records(file, stream)
    prefixes = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(prefixes) != 1 or prefixes[0].count("/") != 1:
        raise damaged(
            file,
            f"{len(prefixes)} of its {len(records)} records are named NAME/data.pkl; one should be",
        )
    (prefix,) = prefixes
    begin, length = records[f"{prefix}data.pkl"]
    stream.seek(begin)
    pickled = load(stream, length, str(file))
    begins = {}
    for storage in pickled.storages.values():
        place = records.get(f"{prefix}data/{storage.key}")
        if place is None:
            raise damaged(file, f"there is no record {prefix}data/{described(storage.key)}")
        begins[storage.key], length = place
        if length != storage.nbytes:
            raise damaged(
                file,
                f"storage {described(storage.key)} has {length} bytes; {storage.numel} of "
                f"{storage.dtype} take {storage.nbytes}",
            )
    order = b"little"  # torch < 2.1 did not say it
    if f"{prefix}byteorder" in records:
        begin, length = records[f"{prefix}byteorder"]
        stream.seek(begin)
        order = stream.read(min(length, 16))
    if order not in (b"little", b"big"):
        raise damaged(file, f"its byte order is {order!r}; b'little' and b'big' are known")
    return _Layout(pickled, begins, "<" if order == b"little" else ">")


class _Bounded:
    """A file for zipfile, which otherwise reads a directory of any size in one piece."""

    def __init__(self, stream: BufferedReader) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1, /) -> bytes:
        if size > _DIRECTORY_LIMIT:
            raise ValueError(f"it takes {size} bytes; at most {_DIRECTORY_LIMIT} are allowed")
        return self._stream.read(size)


def _records(file: Path, stream: BufferedReader) -> dict[str, tuple[int, int]]:
    """Each record's first byte and length, all checked to lie side by side in the file."""
    try:
        with zipfile.ZipFile(_Bounded(stream)) as archive:
            entries, end = archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise damaged(file, f"its zip directory cannot be read: {error}") from error
    records: dict[str, tuple[int, int]] = {}
    for entry in sorted(entries, key=lambda entry: entry.header_offset, reverse=True):
        name = entry.orig_filename
        if name in records:
            raise damaged(file, f"two records are named {described(name)}")
        if ".." in name.split("/") or name.startswith("/") or "\\" in name:
            raise damaged(file, f"the record name {described(name)} leaves the archive")
        if entry.flag_bits & _ENCRYPTED:
            raise WeightsError(f"{file}: record {described(name)} is encrypted", hint=TRUST)
        if entry.compress_type or entry.compress_size != entry.file_size:
            raise WeightsError(
                f"{file}: record {described(name)} is compressed ({entry.compress_size} bytes for "
                f"{entry.file_size}); torch.save writes records as they are",
                hint=TRUST,
            )
        records[name] = _data_begin(file, stream, entry, end), entry.file_size
        end = entry.header_offset
    return records


def _data_begin(file: Path, stream: BufferedReader, entry: zipfile.ZipInfo, end: int) -> int:
    """Where a record's own bytes begin; its local header alone says how long it is itself."""
    name = entry.orig_filename.encode("utf-8" if entry.flag_bits & _UTF8 else "cp437")
    if 0 <= entry.header_offset < end:  # so the directory, longer than a header, still follows
        stream.seek(entry.header_offset)
        header = stream.read(_LOCAL_HEADER.size + len(name))
        magic, name_length, extra_length = _LOCAL_HEADER.unpack_from(header)
        begin = entry.header_offset + len(header) + int(extra_length)
        found = magic, name_length, header[_LOCAL_HEADER.size :]
        if found == (_ZIP_MAGIC, len(name), name) and begin + entry.file_size <= end:
            return begin
    raise damaged(
        file,
        f"record {described(entry.orig_filename)} of {entry.file_size} bytes is not at byte "
        f"{entry.header_offset}, with its end before byte {end}",
    )


def _read_legacy(file: Path, stream: BufferedReader, size: int) -> _Layout:
    def next_pickle() -> Pickled:
        return load(stream, size - stream.tell(), str(file))

    stream.seek(len(_LEGACY_MAGIC))
    protocol, system = next_pickle().value, next_pickle().value
    if protocol != _LEGACY_PROTOCOL:
        raise damaged(
            file, f"its protocol is {described(protocol)}; torch writes {_LEGACY_PROTOCOL}"
        )
    little = system.get("little_endian") if isinstance(system, dict) else system
    if little is not True:
        raise WeightsError(
            f"{file} says little_endian={described(little)} of the machine that wrote it; in the "
            "form of torch < 1.6 only True can be read",
            hint="load it with torch on such a machine and save it again",
        )
    pickled, keys = next_pickle(), next_pickle().value
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise damaged(file, f"its list of storages is {described(keys)}; it is a list of text")
    if len(keys) != len(set(keys)) or set(keys) != pickled.storages.keys():
        raise damaged(
            file,
            f"its list of {len(keys)} storages does not name each of the "
            f"{len(pickled.storages)} storages of its tensors once",
        )
    begins = {}
    begin = stream.tell()
    for storage in (pickled.storages[key] for key in keys):
        begins[storage.key] = _legacy_begin(file, stream, begin, size, storage)
        begin = begins[storage.key] + storage.nbytes
    return _Layout(pickled, begins, "<")


def _legacy_begin(
    file: Path, stream: BufferedReader, begin: int, size: int, storage: PickledStorage
) -> int:
    stream.seek(begin)
    numel = int.from_bytes(stream.read(8), "little")
    if numel != storage.numel or begin + 8 + storage.nbytes > size:
        raise damaged(
            file,
            f"storage {described(storage.key)} has {numel} elements of {storage.dtype} where "
            f"{max(size - begin - 8, 0)} bytes are left; its tensors speak of {storage.numel}",
        )
    return begin + 8
