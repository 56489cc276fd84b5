"""OpenAI's checkpoint of 2018: `params_shapes.json` and `params_0.npy`, `params_1.npy`, ...

The arrays stand one after another in one flat row of float32 that is cut into files at any places.
Names are not stored; they follow from the order. Source: train.py of finetune-transformer-lm.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import WeightsError
from ogpt.notices import tell
from ogpt.reading import shown
from ogpt.weights.arrays import Array, LazyArrays
from ogpt.weights.names import stored_names, unused_names
from ogpt.weights.opened import Opened, damaged, read_json
from ogpt.weights.precision import as_floats
from ogpt.weights.together import files_together, remove_stale

SHAPES_FILE = "params_shapes.json"

_FILES = 10  # as many as OpenAI's, whose readers expect them
_DTYPE = np.dtype("<f4")
_CHUNKS = "params_*.npy"
_HEADER_LIMIT = 20_000  # bytes; numpy refuses a header of more than 10,000
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_HEADER_ERRORS = (  # numpy parses it as Python source, and warns of one from Python 2
    *(ValueError, KeyError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError),
    UserWarning,
)

_POSITIONS = "positions_embed.weight"
_TOKENS = "tokens_embed.weight"
_EMBEDDINGS = 2
_HEAD = "lm_head.weight"
_LAYER: dict[str, tuple[int, ...]] = {  # in the order of the files; widths in n_embd
    "attn.c_attn.weight": (1, 3),
    "attn.c_attn.bias": (3,),
    "attn.c_proj.weight": (1, 1),
    "attn.c_proj.bias": (1,),
    "ln_1.weight": (1,),
    "ln_1.bias": (1,),
    "mlp.c_fc.weight": (1, 4),
    "mlp.c_fc.bias": (4,),
    "mlp.c_proj.weight": (4, 1),
    "mlp.c_proj.bias": (1,),
    "ln_2.weight": (1,),
    "ln_2.bias": (1,),
}
_MATRICES = tuple(name for name, widths in _LAYER.items() if len(widths) == 2)
"""Stored as (1, inputs, outputs): OpenAI made them as convolutions of width one."""
_IN_LAYER = re.compile(r"(?:transformer\.)?h\.(\d+)\.")
_EXACT = ("float32", "float16", "bfloat16")


class Sizes(NamedTuple):
    """What a checkpoint's shapes say of its configuration; n_head is not among it."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int


class _Span(NamedTuple):
    """Where an array lies in the row of numbers."""

    shape: tuple[int, ...]
    begin: int
    end: int


class _Chunk(NamedTuple):
    """One file: numbers `begin` to `end` of the row, the first of them at byte `offset`."""

    opened: Opened
    offset: int
    begin: int
    end: int


def open_openai(folder: Path) -> Mapping[str, Array]:
    """Open the folder's checkpoint, under Hugging Face's names without prefix.

    Raises:
        WeightsError: a file is missing or damaged, or the shapes are not GPT-1's.
    """
    spans: dict[str, _Span] = {}
    end = 0
    for name, shape in _shapes(openai_sizes(folder)).items():
        begin, end = end, end + math.prod(shape)
        spans[name] = _Span(shape, begin, end)
    chunks = _open_chunks(folder)
    if chunks[-1].end != end:
        raise damaged(
            folder,
            f"{len(chunks)} files {_CHUNKS} hold {chunks[-1].end} numbers; {SHAPES_FILE} "
            f"asks for {end}",
        )

    def read(span: _Span) -> Array:
        data = np.empty(span.shape, _DTYPE)
        row = data.reshape(-1)
        for chunk in chunks:
            begin, end = max(span.begin, chunk.begin), min(span.end, chunk.end)
            if begin < end:
                offset = chunk.offset + (begin - chunk.begin) * _DTYPE.itemsize
                chunk.opened.read_into(row[begin - span.begin : end - span.begin], offset)
        return Array("float32", data)

    return LazyArrays(spans, read)


def openai_sizes(folder: Path) -> Sizes:
    """The configuration that the shapes of a checkpoint imply.

    Raises:
        WeightsError: the shapes are missing, damaged, or not GPT-1's.
    """
    file = folder / SHAPES_FILE
    shapes = read_json(file)
    if not isinstance(shapes, list) or not all(map(_is_shape, shapes)):
        raise damaged(file, f"it needs a list of shapes, not {shown(shapes)}")
    n_layer, rest = divmod(len(shapes) - _EMBEDDINGS, len(_LAYER))
    positions, tokens = [*shapes, [], []][:_EMBEDDINGS]
    if n_layer < 1 or rest or len(positions) != 2 or len(tokens) != 2:
        raise _not_gpt1(
            file,
            f"{len(shapes)} shapes, of which the first are {positions} and {tokens}; two matrices "
            f"and {len(_LAYER)} shapes for each layer are allowed",
        )
    sizes = Sizes(tokens[0], positions[0], positions[1], n_layer)
    for (name, wanted), shape in zip(_shapes(sizes).items(), shapes, strict=True):
        if tuple(shape) not in (wanted, (1, *wanted)):
            raise _not_gpt1(file, f"{name} has shape {shape}; {list(wanted)} is allowed")
    return sizes


def write_openai(folder: Path, arrays: Mapping[str, Array]) -> None:
    """Write the transformer's weights as OpenAI did, in ten files of float32; all or none.

    Heads have no place there: the notice `weights-left-out` names them.

    Args:
        folder: Exists.
        arrays: Under Hugging Face's names, of a dtype that float32 holds exactly.

    Raises:
        WeightsError: weights are missing, or have another shape or dtype.
        StorageError: the disk is full or refuses.
    """
    layers = {match[1] for match in map(_IN_LAYER.match, arrays) if match}
    embeddings = stored_names(arrays, [_TOKENS, _POSITIONS]).values()
    widths = [arrays[name].data.shape for name in embeddings]
    if list(map(len, widths)) != [2, 2] or not layers:
        raise _cannot_be_written(
            f"of {shown(sorted(arrays))}, {len(layers)} layers and embeddings of shapes {widths} "
            f"are GPT-1's; two matrices and at least one layer are needed"
        )
    (vocab_size, _), (n_positions, n_embd) = widths
    shapes = _shapes(Sizes(vocab_size, n_positions, n_embd, len(layers)))
    names = stored_names(arrays, shapes)
    missing = sorted(set(shapes) - set(names))
    if missing:
        raise _cannot_be_written(f"{shown(missing)} are missing")
    _tell_left_out(arrays, names)
    total = sum(map(math.prod, shapes.values()))
    counts = [total // _FILES + (i < total % _FILES) for i in range(_FILES)]
    files = [folder / f"params_{i}.npy" for i in range(_FILES)]
    row = (_numbers(arrays[names[name]], name, shape) for name, shape in shapes.items())
    rest = np.empty(0, _DTYPE)
    with files_together(folder / SHAPES_FILE, files) as (new_shapes, new_files):
        for file, count in zip(new_files, counts, strict=True):
            with open(file, "wb") as stream:
                np.lib.format.write_array_header_1_0(
                    stream, {"descr": _DTYPE.str, "fortran_order": False, "shape": (count,)}
                )
                while count:
                    rest = rest if rest.size else next(row)
                    part, rest = rest[:count], rest[count:]
                    stream.write(part.data)
                    count -= part.size
        with_one = [
            [1, *shape] if name.endswith(_MATRICES) else [*shape] for name, shape in shapes.items()
        ]
        new_shapes.write_text(json.dumps(with_one), "utf-8")
    remove_stale(set(folder.glob(_CHUNKS)) - set(files))


def _shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the order of the files; OpenAI put the positions before the tokens."""
    shapes: dict[str, tuple[int, ...]] = {
        _POSITIONS: (sizes.n_positions, sizes.n_embd),
        _TOKENS: (sizes.vocab_size, sizes.n_embd),
    }
    for i in range(sizes.n_layer):
        for name, widths in _LAYER.items():
            shapes[f"h.{i}.{name}"] = tuple(width * sizes.n_embd for width in widths)
    return shapes


def _open_chunks(folder: Path) -> list[_Chunk]:
    count = len(list(folder.glob(_CHUNKS)))
    chunks: list[_Chunk] = []
    end = 0
    for i in range(max(count, 1)):
        opened = Opened(folder / f"params_{i}.npy")
        offset, length = _read_npy_header(opened)
        begin, end = end, end + length
        chunks.append(_Chunk(opened, offset, begin, end))
    return chunks


def _read_npy_header(opened: Opened) -> tuple[int, int]:
    """Where the numbers begin, and how many they are."""
    stream = io.BytesIO(opened.read(0, min(opened.size, _HEADER_LIMIT)))
    try:
        read = _HEADERS[np.lib.format.read_magic(stream)]
        shape, _, dtype = read(stream)
    except _HEADER_ERRORS as error:
        raise damaged(opened.path, f"it is no .npy file that can be read ({error})") from error
    if dtype != _DTYPE or len(shape) != 1:
        raise damaged(opened.path, f"it holds {dtype} {shape}; a row of float32 is allowed")
    if stream.tell() + shape[0] * _DTYPE.itemsize != opened.size:
        raise damaged(
            opened.path,
            f"it has {opened.size} bytes; {shape[0]} numbers after {stream.tell()} bytes are due",
        )
    return stream.tell(), shape[0]


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 < v < 2**31 for v in value)


def _numbers(array: Array, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array as a row of float32."""
    if array.data.shape != shape or array.dtype not in _EXACT:
        raise _cannot_be_written(
            f"{name} is {array.dtype} {array.data.shape}; {shape} of {', '.join(_EXACT)} is allowed"
        )
    return np.ascontiguousarray(as_floats(array), _DTYPE).reshape(-1)


def _tell_left_out(arrays: Mapping[str, Array], names: Mapping[str, str]) -> None:
    left_out = unused_names(arrays, names)
    if _HEAD in left_out and np.array_equal(arrays[_HEAD].data, arrays[names[_TOKENS]].data):
        left_out.remove(_HEAD)  # a copy of the embedding
    if left_out:
        tell("weights-left-out", format="OpenAI's layout", names=", ".join(left_out))


def _not_gpt1(file: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{file} is not of a GPT-1: {what}",
        hint="give the folder of OpenAI's finetune-transformer-lm, or of a model of its layout",
    )


def _cannot_be_written(what: str) -> WeightsError:
    return WeightsError(
        f"the weights cannot be written in OpenAI's layout: {what}",
        hint="it holds a GPT-1 in float32; convert other weights first",
    )
