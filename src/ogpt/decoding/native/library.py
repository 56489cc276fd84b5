"""The ctypes interface of the native core (csrc/abi.h): finds the library, and calls it.

Arguments are not checked here. A wrong id, slot or position would read or write memory outside the
model, so NativeDecoder checks them first.
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
from ogpt.weights.quantized import GROUP_SIZE

LIBRARY = Path(__file__).with_name(
    "libogpt" + {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so.1")
)
"""Where setup.py builds the library, in a checkout and in an installed package."""

PRECISIONS = ("float32", "bfloat16", "int8", "int4")
"""Dtypes of packed weights, in the order of abi.h."""

ACTIVATIONS = ("gelu", "relu", "silu", "gelu-erf")
"""Activations of the MLP, in the order of kernels.h."""

KERNELS = ("amx", "avx512_bf16", "avx512", "avx2", "neon", "portable")
"""Instruction sets, in the order in which the core tries them."""

KERNELS_VARIABLE = "OGPT_KERNELS"
"""Environment variable with one of KERNELS, to use it instead of the best that the CPU has."""

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
"""Weights of a layer, in the order of abi.h, where the two embeddings come before them."""

READABLE = ("float32", "bfloat16", "float16")
"""Dtypes of weights that the core reads, in the order of abi.h; rounded ones come after them."""

PAGE = 64
"""Tokens in a page of the KV cache (kPage of kernels.h)."""

ROW = np.dtype([("token", np.int32), ("slot", np.int32), ("position", np.int32)])
"""A token, its slot, and its position in the slot."""

SUMMARY = np.dtype([("best", np.int32), ("largest", np.float32), ("log_sum", np.float64)])
"""Of a row of logits: the lowest id of the largest logit, that logit (NaN where any logit is), and
the log of the sum of the exponentials."""

BYTES_PER_WEIGHT = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "int8": 1 + 4 / GROUP_SIZE,  # a float32 scale for each group of weights
    "int4": 0.5 + 4 / GROUP_SIZE,
}
"""Of packed matrices, by precision."""

_MOST_BYTES = 2**46  # 64 TiB, half of what a process can address on x86-64
_LARGEST = 2**30  # largest size that is passed on; the core counts in 32-bit integers
_ERROR_SIZE = 200  # bytes of an error message
_ABI_VERSION = 2  # of abi.h
_UNREADABLE = 2  # OGPT_UNREADABLE of abi.h


class Shape(NamedTuple):
    """The sizes of a model, and how the core holds it."""

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
    """Store the KV cache in bfloat16."""
    layer_norm_epsilon: float = 1e-5

    @property
    def nbytes(self) -> int:
        """Bytes of the packed matrices and the KV cache."""
        n_embd, wide = _padded(self.n_embd), _padded(4 * self.n_embd)
        layer = (_padded(3 * self.n_embd) + n_embd + wide) * n_embd + wide * n_embd
        weights = _padded(self.vocab_size) * n_embd + self.n_layer * layer
        numbers = _padded(self.n_positions) * self.n_embd * self.n_layer * self.slots * 2
        cache = numbers * (2 if self.half_cache else 4)
        return int(weights * BYTES_PER_WEIGHT[self.precision]) + cache


class _Shape(ctypes.Structure):
    """`ogpt_shape` of abi.h."""

    _fields_ = (
        *((name, c_int32) for name in Shape._fields[:-1]),
        (Shape._fields[-1], c_float),
    )

    @classmethod
    def of(cls, shape: Shape) -> _Shape:
        """Convert a Shape; names become their places in PRECISIONS and ACTIVATIONS."""
        numbers = shape._asdict()
        numbers["precision"] = PRECISIONS.index(shape.precision)
        numbers["activation"] = ACTIVATIONS.index(shape.activation)
        return cls(**numbers)


class _Numbers(ctypes.Structure):
    """`ogpt_numbers` of abi.h."""

    _fields_ = (("data", c_void_p), ("offset", c_int64), ("file", c_int32), ("dtype", c_int32))


class Core:
    """A model in the native core: packed weights, and a KV cache in slots.

    Args:
        shape: Sizes of the model.
        kernels: One of KERNELS. Empty: the best that the CPU has.

    Raises:
        BackendMissing: the library is not built.
        DecoderError: the CPU does not have the kernels, or there is too little memory.
    """

    def __init__(self, shape: Shape, kernels: str = "") -> None:
        library = load_library()
        error = ctypes.create_string_buffer(b"this exceeds the address space", _ERROR_SIZE)
        model = None
        if shape.nbytes <= _MOST_BYTES and max(shape[:5] + shape[7:9]) <= _LARGEST:
            model = library.ogpt_create(
                byref(_Shape.of(shape)), kernels.encode(), error, _ERROR_SIZE
            )
        if not model:
            raise DecoderError(
                f"the native decoder cannot allocate {shape.nbytes:,} bytes for weights and "
                f"{shape.slots} slots: {error.value.decode()}",
                hint="use fewer slots or a smaller dtype",
            )
        self.shape = shape
        self._library = library
        self._model = c_void_p(model)
        self._destroy = weakref.finalize(self, library.ogpt_destroy, self._model)

    @property
    def kernels(self) -> str:
        """The one of KERNELS in use."""
        name: bytes = self._library.ogpt_kernels(self._model)
        return name.decode()

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights and the KV cache."""
        return int(self._library.ogpt_bytes(self._model))

    def set(
        self,
        weight: int,
        layer: int,
        source: Array | Stored,
        sizes: NDArray[np.float32] | None = None,
    ) -> float:
        """Pack a weight.

        Args:
            weight: 0 for the token embedding, 1 for the position embedding, then those of WEIGHTS.
            layer: Of the weight; 0 for the embeddings.
            source: Numbers of a dtype in READABLE, in memory or in a file; or the integers of a
                matrix that was rounded to the model's precision before.
            sizes: The scales of those integers.

        Returns:
            The largest magnitude; NaN or infinite where a number is.

        Raises:
            DecoderError: there is too little memory, or a thread cannot be started.
            WeightsError: the file has changed since it was opened.
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
            if failed == _UNREADABLE:  # read it here, for an error with the reason
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
        """Append rows to their slots, and compute them.

        Args:
            rows: (T,) of dtype ROW; those of one slot in order.
            wanted: (N,) places of rows whose logits are computed, in ascending order.
            logits: (N, vocab_size), contiguous; filled.
            hidden: (T, C), contiguous; filled with last hidden states. None: not wanted.

        Raises:
            DecoderError: there is too little memory, or a thread cannot be started.
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
            DecoderError: a thread cannot be started.
        """
        found = np.empty(len(logits), SUMMARY)
        self._require(
            self._library.ogpt_summarize(
                self._model, _address(logits), len(logits), _address(found)
            )
        )
        return found

    def copy(self, source: int, target: int, length: int) -> None:
        """Make the target slot the first `length` tokens of the source; they share the memory."""
        self._library.ogpt_copy(self._model, source, target, length)

    def truncate(self, slot: int, length: int) -> None:
        """Release the memory of a slot beyond its first `length` tokens."""
        self._library.ogpt_truncate(self._model, slot, length)

    @property
    def shared_pages(self) -> int:
        """Number of pages of the KV cache that more than one slot uses."""
        return int(self._library.ogpt_shared_pages(self._model))

    def close(self) -> None:
        """Release memory and threads. The core must not be used afterwards."""
        self._destroy()

    def _require(self, failed: int) -> None:
        if failed:
            raise DecoderError(
                f"the native decoder cannot start {self.shape.threads} threads, or there is too "
                "little memory for them",
                hint="use fewer threads, or pass fewer tokens at a time",
            )


@cache
def load_library() -> Any:
    """Load the library, and declare its functions.

    Raises:
        BackendMissing: it is not built, cannot be loaded here, or has another version.
    """
    try:
        library = ctypes.CDLL(str(LIBRARY))
    except OSError as error:
        raise BackendMissing(
            f"the native decoder is not built: {error}",
            hint="install a C++17 compiler (apt install g++) and reinstall ogpt",
        ) from error
    version = getattr(library, "ogpt_abi_version", lambda: "none")()
    if version != _ABI_VERSION:
        raise BackendMissing(
            f"the native decoder {LIBRARY} has interface version {version}; allowed: "
            f"{_ABI_VERSION}",
            hint="reinstall ogpt: the library was built from other sources",
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
    """Whether the library is built and loads."""
    try:
        load_library()
    except BackendMissing:
        return False
    return True


@cache
def available_kernels() -> tuple[str, ...]:
    """The KERNELS that this CPU has, best first.

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
    """The kernels that OGPT_KERNELS names, or the best for weights of a dtype.

    AMX tiles are not the default for bfloat16: a step of few rows took 4 times as long with them
    (docs/log.md).

    Raises:
        BackendMissing: the library is not built.
        ConfigError: OGPT_KERNELS is not in KERNELS.
        DecoderError: the CPU does not have these kernels.
    """
    available = available_kernels()
    best = next(name for name in available if (name, dtype) != ("amx", "bfloat16"))
    name = os.environ.get(KERNELS_VARIABLE) or best
    if name not in KERNELS:
        raise ConfigError(
            f"{KERNELS_VARIABLE} is {name!r}; allowed: {', '.join(KERNELS)}",
            hint="unset it to use the best kernels of this CPU",
        )
    if name not in available:
        raise DecoderError(
            f"{KERNELS_VARIABLE} is {name!r}; allowed on this CPU: {', '.join(available)}",
            hint="unset it to use the best kernels of this CPU",
        )
    return name


def _address(array: NDArray[Any]) -> int:
    return array.ctypes.data


def _padded(size: int, unit: int = 64) -> int:
    return -(-size // unit) * unit
