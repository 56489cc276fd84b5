"""The native core as Python calls it: finding the library, and its models by ctypes (csrc/abi.h).

Nothing is checked here that a caller could get wrong: a wrong id, slot or position is memory that
is not ours. NativeDecoder checks.
"""

from __future__ import annotations

import ctypes
import os
import sys
import weakref
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import BackendMissing, ConfigError, DecoderError
from ogpt.weights.arrays import Array, Stored

LIBRARY = Path(__file__).with_name(
    "libogpt" + {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so.1")
)
"""Where setup.py builds it, in a checkout as in an installed package."""

PRECISIONS = ("float32", "bfloat16", "int8", "int4")
"""Of packed weights, in the order of abi.h."""

ACTIVATIONS = ("gelu", "relu", "silu", "gelu-erf")
"""Of the MLP, in the order of kernels.h."""

KERNELS = ("amx", "avx512_bf16", "avx512", "avx2", "neon", "portable")
"""Instruction sets, in the order in which the core tries them."""

KERNELS_VARIABLE = "OGPT_KERNELS"
"""Environment variable that names one of KERNELS in place of the first that the processor has."""

WEIGHTS = (
    "attn.c_attn.weight",
    "attn.c_attn.bias",
    "attn.c_proj.weight",
    "attn.c_proj.bias",
    "ln_1.weight",
    "ln_1.bias",
    "mlp.c_fc.weight",
    "mlp.c_fc.bias",
    "mlp.c_proj.weight",
    "mlp.c_proj.bias",
    "ln_2.weight",
    "ln_2.bias",
)
"""Of a layer, in the order of abi.h, where the two embeddings come before them."""

READABLE = ("float32", "bfloat16", "float16")
"""Dtypes of weights that it takes, in the order of abi.h, where rounded ones come after them."""

PAGE = 64
"""Tokens in a page of the KV cache (kPage of kernels.h)."""

ROW = np.dtype([("token", np.int32), ("slot", np.int32), ("position", np.int32)])
"""A token, the slot that it is appended to, and its place there."""

SUMMARY = np.dtype([("best", np.int32), ("largest", np.float32), ("log_sum", np.float64)])
"""Of a row of logits: the first place of the largest, the largest (NaN where any is), and the
logarithm of the sum of the exponentials."""

# with int8 and int4 goes a scale for 64 weights
_BYTES_PER_WEIGHT = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0625, "int4": 0.5625}
_MOST_BYTES = 2**46  # what a process can address
_LARGEST = 2**30  # of a size, far from where 32 bits end
_ERROR_SIZE = 200
_ABI_VERSION = 2  # of abi.h
_UNREADABLE = 2  # of abi.h


class Shape(NamedTuple):
    """A model's sizes, and how it is held."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    precision: str = "float32"
    """One of PRECISIONS."""
    activation: str = "gelu"
    """One of ACTIVATIONS."""
    slots: int = 1
    threads: int = 1
    half_cache: bool = False
    """Keys and values are kept in bfloat16."""
    layer_norm_epsilon: float = 1e-5

    @property
    def nbytes(self) -> int:
        """Bytes of the packed matrices and the cache."""
        n_embd, wide = _padded(self.n_embd), _padded(4 * self.n_embd)
        layer = (_padded(3 * self.n_embd) + n_embd + wide) * n_embd + wide * n_embd
        weights = _padded(self.vocab_size) * n_embd + self.n_layer * layer
        numbers = _padded(self.n_positions) * self.n_embd * self.n_layer * self.slots * 2
        cache = numbers * (2 if self.half_cache else 4)
        return int(weights * _BYTES_PER_WEIGHT[self.precision]) + cache


class _Shape(ctypes.Structure):
    """`ogpt_shape` of abi.h."""

    _fields_ = (
        *((name, c_int32) for name in Shape._fields[:-1]),
        (Shape._fields[-1], c_float),
    )

    @classmethod
    def of(cls, shape: Shape) -> _Shape:
        """The same with places in PRECISIONS and ACTIVATIONS."""
        numbers = shape._asdict()
        numbers["precision"] = PRECISIONS.index(shape.precision)
        numbers["activation"] = ACTIVATIONS.index(shape.activation)
        return cls(**numbers)


class _Numbers(ctypes.Structure):
    """`ogpt_numbers` of abi.h."""

    _fields_ = (("data", c_void_p), ("offset", c_int64), ("file", c_int32), ("dtype", c_int32))


class Core:
    """A model of the native core: packed weights, and a cache of keys and values in slots.

    Args:
        shape: Of the model.
        kernels: One of KERNELS; empty: the first that the processor has.

    Raises:
        BackendMissing: the library is not built.
        DecoderError: the processor lacks the kernels, or memory cannot be had.
    """

    def __init__(self, shape: Shape, kernels: str = "") -> None:
        library = load_library()
        error = ctypes.create_string_buffer(b"it is more than an address space", _ERROR_SIZE)
        model = None
        if shape.nbytes <= _MOST_BYTES and max(shape[:5] + shape[7:9]) <= _LARGEST:
            model = library.ogpt_create(
                byref(_Shape.of(shape)), kernels.encode(), error, _ERROR_SIZE
            )
        if not model:
            raise DecoderError(
                f"the native decoder cannot have {shape.nbytes:,} bytes for weights and "
                f"{shape.slots} slots: {error.value.decode()}",
                hint="give fewer slots or a smaller dtype",
            )
        self.shape = shape
        self._library = library
        self._model = c_void_p(model)
        self._destroy = weakref.finalize(self, library.ogpt_destroy, self._model)

    @property
    def kernels(self) -> str:
        """Which of KERNELS compute."""
        name: bytes = self._library.ogpt_kernels(self._model)
        return name.decode()

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights and the cache."""
        return int(self._library.ogpt_bytes(self._model))

    def set(
        self,
        weight: int,
        layer: int,
        source: Array | Stored,
        sizes: NDArray[np.float32] | None = None,
    ) -> float:
        """Pack a weight: 0 the tokens, 1 the positions, then those of WEIGHTS.

        Args:
            weight: Its number.
            layer: 0 where there is no layer.
            source: Of a dtype in READABLE, in memory or in a file; or the steps of a matrix that
                was rounded to the model's precision before.
            sizes: Of those steps.

        Returns:
            The largest magnitude in it; NaN or infinite where a number is.

        Raises:
            DecoderError: memory or a thread cannot be had.
            WeightsError: the file was changed since it was opened.
        """
        dtype = READABLE.index(source.dtype) if sizes is None else len(READABLE)
        given = None if sizes is None else np.ascontiguousarray(sizes)
        largest = c_float()

        def pack(numbers: _Numbers) -> int:
            found: int = self._library.ogpt_set(
                self._model,
                weight,
                layer,
                byref(numbers),
                None if given is None else _address(given),
                byref(largest),
            )
            return found

        if isinstance(source, Stored):
            with source.file.descriptor() as file:
                failed = pack(_Numbers(None, source.offset, file, dtype))
            if failed == _UNREADABLE:  # reading it here tells why
                return self.set(weight, layer, source.read(), sizes)
        else:
            values = np.ascontiguousarray(source.data)
            failed = pack(_Numbers(_address(values), 0, -1, dtype))
        self._require(failed)
        return largest.value

    def run(
        self,
        rows: NDArray[Any],
        wanted: NDArray[np.int32],
        logits: NDArray[np.float32],
        hidden: NDArray[np.float32] | None,
    ) -> None:
        """Append rows.

        Args:
            rows: (T,) of dtype ROW; those of one slot in order.
            wanted: (N,) places of rows whose logits are computed, in ascending order.
            logits: (N, vocab_size), contiguous; filled.
            hidden: (T, C), contiguous; filled with last hidden states. None: not wanted.

        Raises:
            DecoderError: memory or a thread cannot be had.
        """
        self._require(
            self._library.ogpt_run(
                self._model,
                _address(rows),
                len(rows),
                _address(wanted),
                len(wanted),
                _address(logits) if len(wanted) else None,
                None if hidden is None else _address(hidden),
            )
        )

    def summarize(self, logits: NDArray[np.float32]) -> NDArray[Any]:
        """The SUMMARY of each row of logits (N, vocab_size), contiguous.

        Raises:
            DecoderError: a thread cannot be had.
        """
        found = np.empty(len(logits), SUMMARY)
        self._require(
            self._library.ogpt_summarize(
                self._model, _address(logits), len(logits), _address(found)
            )
        )
        return found

    def copy(self, source: int, target: int, length: int) -> None:
        """Make the first `length` tokens of a slot those of another one, in shared memory."""
        self._library.ogpt_copy(self._model, source, target, length)

    def truncate(self, slot: int, length: int) -> None:
        """Give back what a slot holds beyond its first `length` tokens."""
        self._library.ogpt_truncate(self._model, slot, length)

    @property
    def shared_pages(self) -> int:
        """Pages of the cache (64 tokens each) that more than one slot holds."""
        return int(self._library.ogpt_shared_pages(self._model))

    def close(self) -> None:
        """Give memory and threads back; nothing but another close may follow."""
        self._destroy()

    def _require(self, failed: int) -> None:
        if failed:
            raise DecoderError(
                f"the native decoder cannot have {self.shape.threads} threads, or memory for them",
                hint="give fewer threads, or fewer tokens at once",
            )


@cache
def load_library() -> Any:
    """The library, its functions declared.

    Raises:
        BackendMissing: it is not built, cannot be loaded here, or is of another version.
    """
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise BackendMissing(
            f"the native decoder is not built: {error}",
            hint="install a C++17 compiler (apt install g++), then pip install ogpt again",
        ) from error
    version = getattr(library, "ogpt_abi_version", lambda: "none")()
    if version != _ABI_VERSION:
        raise BackendMissing(
            f"the native decoder {LIBRARY} has interface version {version}; this ogpt needs "
            f"{_ABI_VERSION}",
            hint="it was built of other sources: pip install ogpt again",
        )
    declare = {
        "ogpt_create": (c_void_p, [POINTER(_Shape), c_char_p, c_char_p, c_size_t]),
        "ogpt_destroy": (None, [c_void_p]),
        "ogpt_set": (c_int, [c_void_p, c_int, c_int, POINTER(_Numbers), c_void_p, c_void_p]),
        "ogpt_quantize": (None, [c_int, c_int, c_int, c_int, c_void_p, c_void_p, c_void_p]),
        "ogpt_run": (c_int, [c_void_p, c_void_p, c_int, c_void_p, c_int, c_void_p, c_void_p]),
        "ogpt_summarize": (c_int, [c_void_p, c_void_p, c_int, c_void_p]),
        "ogpt_copy": (None, [c_void_p, c_int, c_int, c_int]),
        "ogpt_truncate": (None, [c_void_p, c_int, c_int]),
        "ogpt_shared_pages": (c_int, [c_void_p]),
        "ogpt_kernels": (c_char_p, [c_void_p]),
        "ogpt_bytes": (c_size_t, [c_void_p]),
    }
    for name, (result, arguments) in declare.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def is_built() -> bool:
    """Whether the library is there and loads."""
    try:
        load_library()
    except BackendMissing:
        return False
    return True


@cache
def available_kernels() -> tuple[str, ...]:
    """Those of KERNELS that this processor has, best first.

    Raises:
        BackendMissing: the library is not built.
    """
    library = load_library()
    smallest = _Shape.of(Shape(1, 1, 1, 1, 1))
    found = []
    for name in KERNELS:
        model = library.ogpt_create(byref(smallest), name.encode(), None, 0)
        if model:
            library.ogpt_destroy(model)
            found.append(name)
    return tuple(found)


def chosen_kernels(dtype: str) -> str:
    """The kernels that OGPT_KERNELS asks for, or the best for weights of a dtype.

    bfloat16 does not go through AMX tiles unasked: a step of few rows took four times as long with
    them (docs/log.md).

    Raises:
        BackendMissing: the library is not built.
        ConfigError: a name that is not in KERNELS.
        DecoderError: the processor lacks them.
    """
    available = available_kernels()
    best = next(name for name in available if (name, dtype) != ("amx", "bfloat16"))
    name = os.environ.get(KERNELS_VARIABLE) or best
    if name not in KERNELS:
        raise ConfigError(
            f"{KERNELS_VARIABLE} is {name!r}; allowed: {', '.join(KERNELS)}",
            hint="unset it for the best that this processor has",
        )
    if name not in available:
        raise DecoderError(
            f"{KERNELS_VARIABLE} is {name!r}; this processor has {', '.join(available)}",
            hint="unset it for the best that this processor has",
        )
    return name


def _address(array: NDArray[Any]) -> int:
    return array.ctypes.data


def _padded(size: int, unit: int = 64) -> int:
    return -(-size // unit) * unit
