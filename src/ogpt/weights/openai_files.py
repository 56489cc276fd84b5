"""Read and write OpenAI's checkpoint of 2018: `params_shapes.json` and `params_0.npy`, ...

All arrays are concatenated into one flat array of float32, which is split into files anywhere.
Names are not stored: they follow from the order. Source: train.py of finetune-transformer-lm.
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
from ogpt.layout import SHAPES_FILE
from ogpt.notices import tell
from ogpt.reading import shown
from ogpt.storage import whole_files
from ogpt.weights.arrays import Array, LazyArrays
from ogpt.weights.names import stored_names, unused_names
from ogpt.weights.opened import Opened, damaged, read_json
from ogpt.weights.precision import as_floats
from ogpt.weights.shapes import BLOCK_MATRICES, block_shapes

_FILES = 10  # train.py reads exactly params_0.npy to params_9.npy
_DTYPE = np.dtype("<f4")
_CHUNKS = "params_*.npy"
_HEADER_LIMIT = 20_000  # bytes; numpy itself refuses a header of more than 10,000
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_HEADER_ERRORS = (  # numpy parses the header as Python source, and warns about Python 2
    *(ValueError, KeyError, TypeError, SyntaxError, TokenError, RecursionError, MemoryError),
    UserWarning,
)

_POSITIONS = "positions_embed.weight"
_TOKENS = "tokens_embed.weight"
_EMBEDDINGS = 2  # arrays before those of the blocks
_PER_BLOCK = len(block_shapes(1, 1))
_HEAD = "lm_head.weight"
_IN_LAYER = re.compile(r"(?:transformer\.)?h\.(\d+)\.")
_EXACT = ("float32", "float16", "bfloat16")  # dtypes that float32 represents exactly


class Sizes(NamedTuple):
    """The part of the configuration that the shapes imply; they do not imply n_head."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int


class _Span(NamedTuple):
    """Place of an array in the flat array."""

    shape: tuple[int, ...]
    begin: int
    end: int


class _Chunk(NamedTuple):
    """One file: numbers `begin` to `end` of the flat array, the first at byte `offset`."""

    opened: Opened
    offset: int
    begin: int
    end: int


def open_openai(folder: Path) -> Mapping[str, Array]:
    """Open a checkpoint of OpenAI, under Hugging Face's names without prefix.

    Raises:
        WeightsError: a file is missing or damaged, or the shapes are not those of a GPT-1.
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
            f"{len(chunks)} files {_CHUNKS} have {chunks[-1].end} numbers; {SHAPES_FILE} "
            f"requires {end}",
        )

    def read(span: _Span) -> Array:
        data = np.empty(span.shape, _DTYPE)
        flat = data.reshape(-1)
        for chunk in chunks:
            begin, end = max(span.begin, chunk.begin), min(span.end, chunk.end)
            if begin < end:
                offset = chunk.offset + (begin - chunk.begin) * _DTYPE.itemsize
                chunk.opened.read_into(flat[begin - span.begin : end - span.begin], offset)
        return Array("float32", data)

    return LazyArrays(spans, read)


def openai_sizes(folder: Path) -> Sizes:
    """Read the part of the configuration that the shapes of a checkpoint imply.

    Raises:
        WeightsError: the shapes are missing, damaged, or not those of a GPT-1.
    """
    file = folder / SHAPES_FILE
    shapes = read_json(file)
    if not isinstance(shapes, list) or not all(map(_is_shape, shapes)):
        raise damaged(file, f"it contains {shown(shapes)}; allowed: a list of shapes")
    n_layer, rest = divmod(len(shapes) - _EMBEDDINGS, _PER_BLOCK)
    positions, tokens = [*shapes, [], []][:_EMBEDDINGS]
    if n_layer < 1 or rest or len(positions) != 2 or len(tokens) != 2:
        raise _not_gpt1(
            file,
            f"it has {len(shapes)} shapes, first {positions} and {tokens}; allowed: 2 matrices and "
            f"{_PER_BLOCK} shapes per layer",
        )
    sizes = Sizes(tokens[0], positions[0], positions[1], n_layer)
    for (name, wanted), shape in zip(_shapes(sizes).items(), shapes, strict=True):
        if tuple(shape) not in (wanted, (1, *wanted)):
            raise _not_gpt1(file, f"{name} has shape {shape}; allowed: {list(wanted)}")
    return sizes


def write_openai(folder: Path, arrays: Mapping[str, Array]) -> None:
    """Write the weights of a transformer as OpenAI did, in 10 files of float32, atomically.

    The format cannot store heads: the notice `weights-left-out` lists them.

    Args:
        folder: An existing folder.
        arrays: Weights under Hugging Face's names, in a dtype that float32 represents exactly.

    Raises:
        WeightsError: weights are missing, or have another shape or dtype.
        StorageError: the write fails.
    """
    layers = {match[1] for match in map(_IN_LAYER.match, arrays) if match}
    embeddings = stored_names(arrays, [_TOKENS, _POSITIONS]).values()
    widths = [arrays[name].data.shape for name in embeddings]
    if list(map(len, widths)) != [2, 2] or not layers:
        raise _cannot_be_written(
            f"{shown(sorted(arrays))} have {len(layers)} layers and embeddings of shapes {widths}; "
            f"allowed: at least 1 layer and 2 matrices"
        )
    (vocab_size, _), (n_positions, n_embd) = widths
    shapes = _shapes(Sizes(vocab_size, n_positions, n_embd, len(layers)))
    names = stored_names(arrays, shapes)
    missing = sorted(set(shapes) - set(names))
    if missing:
        raise _cannot_be_written(f"{shown(missing)} are missing")
    _tell_omitted(arrays, names)
    total = sum(map(math.prod, shapes.values()))
    counts = [total // _FILES + (i < total % _FILES) for i in range(_FILES)]
    row = (_numbers(arrays[names[name]], name, shape) for name, shape in shapes.items())
    rest = np.empty(0, _DTYPE)
    with whole_files(folder, _written, last=SHAPES_FILE) as new:
        for number, count in enumerate(counts):
            with open(new / f"params_{number}.npy", "wb") as stream:
                np.lib.format.write_array_header_1_0(
                    stream, {"descr": _DTYPE.str, "fortran_order": False, "shape": (count,)}
                )
                while count:
                    rest = rest if rest.size else next(row)
                    part, rest = rest[:count], rest[count:]
                    stream.write(part.data)
                    count -= part.size
        # OpenAI's layers are convolutions of width 1 (train.py, conv1d): (1, in, out).
        with_one = [
            [1, *shape] if name.endswith(BLOCK_MATRICES) else [*shape]
            for name, shape in shapes.items()
        ]
        (new / SHAPES_FILE).write_text(json.dumps(with_one), "utf-8")


def _written(folder: Path) -> set[Path]:
    """Files that an earlier `write_openai` may have written."""
    return {*folder.glob(_CHUNKS), *folder.glob(SHAPES_FILE)}


def _shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """List names and shapes in file order: OpenAI stored the positions before the tokens."""
    shapes: dict[str, tuple[int, ...]] = {
        _POSITIONS: (sizes.n_positions, sizes.n_embd),
        _TOKENS: (sizes.vocab_size, sizes.n_embd),
    }
    block = block_shapes(sizes.n_embd, sizes.n_embd)
    for i in range(sizes.n_layer):
        shapes |= {f"h.{i}.{name}": shape for name, shape in block.items()}
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
    """Return the position of the first number in the file, and their count."""
    stream = io.BytesIO(opened.read(0, min(opened.size, _HEADER_LIMIT)))
    try:
        read = _HEADERS[np.lib.format.read_magic(stream)]
        shape, _, dtype = read(stream)
    except _HEADER_ERRORS as error:
        raise damaged(opened.path, f"it is not a readable .npy file ({error})") from error
    if dtype != _DTYPE or len(shape) != 1:
        raise damaged(opened.path, f"it contains {dtype} {shape}; allowed: one-dimensional float32")
    if stream.tell() + shape[0] * _DTYPE.itemsize != opened.size:
        raise damaged(
            opened.path,
            f"it has {opened.size} bytes; its header of {stream.tell()} bytes promises {shape[0]} "
            "numbers",
        )
    return stream.tell(), shape[0]


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 < v < 2**31 for v in value)


def _numbers(array: Array, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the array as flat float32."""
    if array.data.shape != shape or array.dtype not in _EXACT:
        raise _cannot_be_written(
            f"{name} is {array.dtype} {array.data.shape}; allowed: {shape} of {', '.join(_EXACT)}"
        )
    return np.ascontiguousarray(as_floats(array), _DTYPE).reshape(-1)


def _tell_omitted(arrays: Mapping[str, Array], names: Mapping[str, str]) -> None:
    omitted = unused_names(arrays, names)
    if _HEAD in omitted and np.array_equal(arrays[_HEAD].data, arrays[names[_TOKENS]].data):
        omitted.remove(_HEAD)  # a copy of the embedding
    if omitted:
        tell("weights-left-out", format="OpenAI's layout", names=", ".join(omitted))


def _not_gpt1(file: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{file} does not describe a GPT-1: {what}",
        hint="pass the model folder of OpenAI's finetune-transformer-lm, or one with its layout",
    )


def _cannot_be_written(what: str) -> WeightsError:
    return WeightsError(
        f"the weights cannot be written in OpenAI's layout: {what}",
        hint="convert the weights first: the layout stores a complete GPT-1 in float32",
    )
