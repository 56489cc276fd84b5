"""Read transformers' `tf_model.h5`, the weights of its TensorFlow models, under PyTorch's names.

Keras 2 stores each variable as a dataset, in a group for its layer: `transformer/MODEL/transformer/
h_._0/attn/c_attn/weight:0`. Other writers omit the group of the layer, of the model, or both. HDF5
can do far more than store arrays (links to other files, plugins), which a hostile file could abuse:
whatever Keras does not use is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ogpt.errors import BackendMissing, WeightsError
from ogpt.reading import shown
from ogpt.weights.arrays import Array, LazyArrays
from ogpt.weights.opened import Opened, damaged

_MAX_OBJECTS = 10_000  # groups and datasets; GPT-1 has 320
_MAX_PATH = 1000  # characters; nested long group names would multiply
_MAX_GROWTH = 20  # unpacked size over file size; float weights compress by far less than 2
_DTYPES = {2: "float16", 4: "float32", 8: "float64"}  # by bytes per number
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}  # built into HDF5; others are plugins
_KERAS_NAME = re.compile(
    r"(?:.*/)?(?P<layer>tokens_embed|positions_embed|h_\._\d+|multiple_choice_head|score)/"
    r"(?P<inner>(?:.+/)?)(?P<kind>weight|embeddings|gamma|kernel|bias|beta)(?::0)?"
)
_BIASES = ("bias", "beta")
_HEADS = ("multiple_choice_head", "score")


class Variable(NamedTuple):
    """A dataset: its path, dtype and shape in the file, and the last part of its Keras name."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    kind: str


def open_h5(file: Path) -> Mapping[str, Array]:
    """Open the file; arrays have PyTorch's names, shapes and order of axes.

    A variable that is not part of GPT-1 keeps its path in the file as its name.

    Raises:
        WeightsError: the file is missing, damaged, not HDF5, or uses what Keras does not: links,
            data in other files, other dtypes or filters, arrays that were never written or are far
            larger than the file.
        BackendMissing: h5py is not installed.
    """
    opened = Opened(file)
    variables: dict[str, Variable] = {}
    claimed = 0
    with _h5py_file(opened) as root:
        for path, dataset in _datasets(file, root):
            claimed += _check_storage(opened, path, dataset)
            if claimed > _MAX_GROWTH * opened.size:
                raise _refused(
                    file,
                    f"its arrays up to {shown(path)} take {claimed} bytes; allowed: {_MAX_GROWTH} "
                    f"times the {opened.size} bytes of the file",
                )
            name, kind = _torch_name(path)
            if name in variables:
                raise _refused(
                    file, f"{shown(variables[name].path)} and {shown(path)} are both {shown(name)}"
                )
            dtype = _DTYPES[dataset.dtype.itemsize]
            variables[name] = Variable(path, dtype, dataset.shape, kind)

    def read(variable: Variable) -> Array:
        opened.check_unchanged()
        with _h5py_file(opened) as root:
            data = np.empty(variable.shape, variable.dtype)
            if data.size:
                root[variable.path].read_direct(data)
        # Keras stores dense layers as (in, out), torch as (out, in). The Conv1D layers of GPT-1
        # are (in, out) in both; their biases are (1, out) in TensorFlow.
        if variable.kind == "kernel":
            data = np.ascontiguousarray(data.T)
        elif variable.kind in _BIASES and data.shape[:1] == (1,) and data.ndim == 2:
            data = data[0]
        return Array(variable.dtype, data)

    return LazyArrays(variables, read)


def _torch_name(path: str) -> tuple[str, str]:
    """Return PyTorch's name of a variable, and its Keras kind ("" if it is not part of GPT-1)."""
    match = _KERAS_NAME.fullmatch(path)
    if match is None:
        return path, ""
    layer, inner, kind = match.group("layer", "inner", "kind")
    end = "bias" if kind in _BIASES else "weight"
    name = f"{layer}/{inner}{end}".replace("_._", ".").replace("/", ".")
    return name if layer in _HEADS else f"transformer.{name}", kind


@contextmanager
def _h5py_file(opened: Opened) -> Iterator[Any]:
    try:
        import h5py
    except ImportError as error:
        raise BackendMissing(
            f"reading {opened.path} needs h5py, which is not installed",
            hint="pip install 'ogpt[h5]'",
        ) from error
    try:
        with h5py.File(opened.path, "r", locking=False) as root:
            yield root
    except WeightsError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        # h5py raises any of these for an error of the HDF5 library
        raise damaged(opened.path, f"HDF5 cannot read it ({error})") from error


def _datasets(file: Path, root: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over all datasets with their paths, following only hard links."""
    import h5py

    groups = [("", root)]
    seen: set[int] = set()
    count = 0
    while groups:
        parent, group = groups.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            raise _refused(file, f"the group {shown(parent)} has two names")
        seen.add(address)
        for name in group:
            path = f"{parent}/{name}".removeprefix("/")
            link = group.get(name, getlink=True)
            found = group[name] if isinstance(link, h5py.HardLink) else link
            if len(path) > _MAX_PATH or not name.isprintable():  # it appears in messages
                raise _refused(
                    file, f"{shown(path)} is not a printable name of at most {_MAX_PATH} characters"
                )
            count += 1
            if count > _MAX_OBJECTS:
                raise _refused(file, f"it has more than {_MAX_OBJECTS} groups and arrays")
            if isinstance(found, h5py.Group):
                groups.append((path, found))
            elif isinstance(found, h5py.Dataset):
                yield path, found
            else:
                kind = type(found).__name__
                raise _refused(file, f"{shown(path)} is a {kind}; allowed: Group, Dataset")


def _check_storage(opened: Opened, path: str, dataset: Any) -> int:
    """Check that the data of an array are really in the file.

    Returns:
        Bytes of memory that reading it takes.
    """
    from h5py import h5d

    def refused(what: str) -> WeightsError:
        return _refused(opened.path, f"{shown(path)} {what}")

    properties = dataset.id.get_create_plist()
    layout = properties.get_layout()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if layout == h5d.VIRTUAL or properties.get_external_count():
        raise refused("stores its data in other files; allowed: only this file")
    if not set(filters) <= set(_FILTERS):
        raise refused(f"uses the filters {filters}; allowed: {_FILTERS}")
    if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in _DTYPES:
        raise refused(f"has the dtype {dataset.dtype}; allowed: {', '.join(_DTYPES.values())}")
    if dataset.shape is None:
        raise refused("has no shape; allowed: an array")
    size: int = math.prod(dataset.shape) * dataset.dtype.itemsize
    if layout == h5d.CHUNKED:
        chunks = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        stored = dataset.id.get_num_chunks()
        if stored != chunks:
            raise refused(f"has {stored} chunks; its shape {dataset.shape} needs {chunks}")
        claimed: int = chunks * math.prod(dataset.chunks) * dataset.dtype.itemsize
        return claimed
    stored = dataset.id.get_storage_size()
    if stored != size or (dataset.id.get_offset() or 0) + size > opened.size:
        raise refused(
            f"has {stored} bytes in a file of {opened.size}; its shape {dataset.shape} needs {size}"
        )
    return size


def _refused(file: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{file} is not a file of Keras weights: {what}",
        hint="use a tf_model.h5 that transformers wrote; the file is damaged or malicious",
    )
