"""safetensors files in and out, as named arrays.

The format is a length, a JSON header and raw bytes. The safetensors package reads bfloat16 only
with a framework beside it, so both directions stand here; tests hold them against the package.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ogpt.errors import WeightsError
from ogpt.storage import whole_file
from ogpt.weights.arrays import Array

WEIGHTS_FILE = "model.safetensors"

_HEADER_LIMIT = 100_000_000  # the format's own limit

_DTYPES: dict[str, tuple[str, str]] = {  # safetensors name -> (our name, numpy's dtype)
    "F64": ("float64", "<f8"),
    "F32": ("float32", "<f4"),
    "F16": ("float16", "<f2"),
    "BF16": ("bfloat16", "<u2"),
    "I64": ("int64", "<i8"),
    "I32": ("int32", "<i4"),
    "I16": ("int16", "<i2"),
    "I8": ("int8", "<i1"),
    "U8": ("uint8", "<u1"),
    "BOOL": ("bool", "?"),
}


_NAMES = {name: code for code, (name, _) in _DTYPES.items()}


def read_arrays(file: Path) -> dict[str, Array]:
    """Map the file into memory; arrays are read when they are used, and must not be written to.

    Raises:
        WeightsError: missing, cut short, or not a safetensors file.
    """
    try:
        with open(file, "rb") as stream:
            whole = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    except FileNotFoundError as error:
        raise WeightsError(
            f"there is no weights file {file}", hint="a model folder holds model.safetensors"
        ) from error
    except ValueError as error:  # mmap refuses an empty file
        raise _damaged(file, "it is empty") from error
    header_size = int.from_bytes(whole[:8], "little")
    if header_size > min(_HEADER_LIMIT, len(whole) - 8):
        raise _damaged(file, f"its header claims {header_size} bytes; the file has {len(whole)}")
    try:
        header = json.loads(whole[8 : 8 + header_size])
        entries = [(n, e) for n, e in header.items() if n != "__metadata__"]
        return {name: _array(whole, 8 + header_size, entry) for name, entry in entries}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(file, f"{type(error).__name__}: {error}") from error


def write_arrays(file: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays, whole or not at all, without a second copy of them in memory.

    Raises:
        StorageError: the disk is full or refuses; what was there is unchanged.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}  # transformers asks for it
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
    text += b" " * (-len(text) % 8)  # the format aligns its data
    with whole_file(file) as temporary, open(temporary, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)
        for array in arrays.values():
            stream.write(np.ascontiguousarray(array.data).data)


def _array(whole: mmap.mmap, base: int, entry: dict[str, Any]) -> Array:
    name, dtype = _DTYPES[entry["dtype"]]
    begin, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    count = math.prod(shape)
    if not 0 <= begin <= end <= len(whole) - base:
        raise ValueError(f"data at {begin}..{end} lies outside the file")
    if end - begin != count * np.dtype(dtype).itemsize:
        raise ValueError(f"{end - begin} bytes do not make shape {shape} of {name}")
    data = np.frombuffer(whole, dtype, count, base + begin).reshape(shape)
    return Array(name, data)


def _damaged(file: Path, what: str) -> WeightsError:
    return WeightsError(f"{file} is damaged: {what}", hint="restore the file from a copy")
