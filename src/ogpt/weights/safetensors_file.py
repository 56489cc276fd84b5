"""Read and write safetensors files as named arrays.

The format: the length of the header (8 bytes, little-endian), the header in JSON, the raw arrays.
The safetensors package needs a framework for bfloat16, so reader and writer are ours; the tests
compare both with the package.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ogpt.reading import shown
from ogpt.storage import whole_file
from ogpt.weights.arrays import Array, LazyArrays, Stored, numpy_dtype
from ogpt.weights.opened import JSON_LIMIT, Opened, damaged, parse_header

_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}
_MAX_RANK = 32  # well below the limits of numpy and torch (64); weights have at most 3
_DTYPES = {  # name in safetensors -> ours
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_NAMES = {name: code for code, name in _DTYPES.items()}


class Entry(NamedTuple):
    """Header entry of one array; `begin` and `end` are positions in the file."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def open_safetensors(file: Path) -> LazyArrays[Entry]:
    """Open a safetensors file; its header is checked against the file before any array is read.

    Raises:
        WeightsError: the file is missing, incomplete, or not safetensors. Later, when an array is
            read: the file has changed.
    """
    opened = Opened(file)
    if opened.size < 8:
        raise damaged(file, f"it has {opened.size} bytes; the length of the header alone takes 8")
    length = int.from_bytes(opened.read(0, 8), "little")
    allowed = min(JSON_LIMIT, opened.size - 8)
    if length > allowed:
        raise damaged(file, f"its header claims {length} bytes; allowed: {allowed}")
    header = parse_header(file, opened.read(8, length))
    if not isinstance(header, dict):
        raise damaged(file, f"its header is {shown(header)}, not a JSON object")
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise damaged(file, f"{_METADATA} is {shown(metadata)}, not an object of strings")
    begin = 8 + length
    entries = {name: _entry(file, name, value, begin) for name, value in header.items()}
    _check_layout(file, entries, begin, opened.size)

    def stored(entry: Entry) -> Stored:
        return Stored(entry.dtype, entry.shape, opened, entry.begin)

    return LazyArrays(entries, lambda entry: stored(entry).read(), stored)


def write_arrays(file: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays to a file, atomically and without a second copy in memory.

    Raises:
        StorageError: the write fails; the previous content is unchanged.
    """
    with whole_file(file) as temporary, open(temporary, "wb") as stream:
        write_stream(stream, arrays)


def write_stream(stream: BinaryIO, arrays: Mapping[str, Array]) -> int:
    """Write the content of a safetensors file to a stream.

    Args:
        stream: Open for writing, in binary.
        arrays: A lazy mapping is read twice, array by array: the header needs all sizes first.

    Returns:
        Bytes of the arrays.
    """
    # transformers 4 refuses a file without this entry.
    header: dict[str, Any] = {_METADATA: {"format": "pt"}}
    offset = 0
    for name, array in arrays.items():
        end = offset + array.data.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.data.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the arrays to 8 bytes
    stream.write(len(text).to_bytes(8, "little"))
    stream.write(text)
    for array in arrays.values():
        stream.write(np.ascontiguousarray(array.data).data)
    return offset


def _entry(file: Path, name: str, value: Any, base: int) -> Entry:
    if not isinstance(value, dict) or not set(value) >= _FIELDS:
        raise damaged(
            file, f"{shown(name)} is {shown(value)}; it needs dtype, shape and data_offsets"
        )
    code, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise damaged(file, f"{shown(name)} has dtype {shown(code)}; allowed: {[*_DTYPES]}")
    if not _are_sizes(shape) or len(shape) > _MAX_RANK:
        raise damaged(
            file, f"{shown(name)} has shape {shown(shape)}; allowed: at most {_MAX_RANK} sizes"
        )
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise damaged(
            file, f"{shown(name)} has data_offsets {shown(offsets)}; allowed: [begin, end]"
        )
    dtype = _DTYPES[code]
    begin, end = offsets
    item_size = numpy_dtype(dtype).itemsize
    # numpy limits the bytes of empty arrays too, counting their zeros as ones
    if math.prod(size or 1 for size in shape) * item_size >= 2**63 or (
        math.prod(shape) * item_size != end - begin
    ):
        raise damaged(
            file,
            f"{shown(name)} has {end - begin} bytes, which do not fit its shape {shown(shape)} "
            f"of {dtype}",
        )
    return Entry(dtype, tuple(shape), base + begin, base + end)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 2**63 for v in value)


def _check_layout(file: Path, entries: dict[str, Entry], base: int, size: int) -> None:
    """Check that the arrays fill the file from header to end without gaps, as the format requires.

    Overlaps would share memory, and gaps could hide data.
    """
    expected = base
    for name, entry in sorted(entries.items(), key=lambda item: item[1][-2:]):
        if entry.begin != expected:
            raise damaged(
                file,
                f"{shown(name)} begins at byte {entry.begin}; the previous one ends at {expected}",
            )
        expected = entry.end
    if expected != size:
        raise damaged(file, f"its arrays end at byte {expected}; the file has {size}")
