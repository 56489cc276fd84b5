"""Read the pickles that `torch.save` writes for tensors, without executing anything.

A pickle is a program for a small stack machine, and Python's own machine calls any function that
the program names. This machine knows only the opcodes of protocol 2 that a state dict needs. It
looks names up in two tables and imports nothing. A tensor becomes a description of where its
numbers are in the file. Source of the opcodes: pickletools in the standard library.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from ogpt.errors import WeightsError
from ogpt.reading import shown
from ogpt.weights.pickled_tensors import PickledStorage, PickledTensor

PICKLE_LIMIT = 2**26
"""Maximum bytes of one pickle; a model of 10,000 tensors needs about 2 MB."""
OPCODE_LIMIT = 2**21
"""Maximum opcodes of one pickle; a tensor needs about 40."""
TENSOR_LIMIT = 2**15
"""Maximum tensors of one file; GPT-1 has 146."""
MARK_LIMIT = 64
"""Maximum nesting of marks; a state dict needs at most 5."""

_DIMENSION_LIMIT = 64  # numpy's
_NAME_LIMIT = 256  # bytes of the name of a module or global

TRUST = (
    "if you trust its origin, load it with torch and save its state_dict() with safetensors: ogpt "
    "reads only tensors"
)
DAMAGED = "restore the file from a copy"

_STORAGE_TYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_STORAGES = {
    f"{module}.{name}": dtype
    for module in ("torch", "torch.cuda")  # torch < 1.9 named the type of the device
    for name, dtype in _STORAGE_TYPES.items()
} | {"torch.storage.UntypedStorage": "uint8", "torch.UntypedStorage": "uint8"}

_CONSTANTS: dict[bytes, object] = {b"N": None, b"\x88": True, b"\x89": False, b")": ()}
_NUMBERS = {b"K": "<B", b"M": "<H", b"J": "<i"}

_PARAMETERS = (
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
    "torch.nn.Parameter",
)
_TENSORS = ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor")
_ORDERED_DICT = "collections.OrderedDict"
_CALLS = {_ORDERED_DICT, *_TENSORS, *_PARAMETERS}


class Pickled(NamedTuple):
    """The value of a pickle (dicts, lists, tuples, plain values, tensors), and all its storages."""

    value: object
    storages: dict[str, PickledStorage]


def load(stream: BinaryIO, size: int, where: str) -> Pickled:
    """Read one pickle; afterwards the stream is at its end.

    Args:
        stream: At the first byte of the pickle.
        size: Maximum bytes of the pickle.
        where: The file, for messages.

    Raises:
        WeightsError: the pickle is incomplete, damaged, exceeds the limits above, or contains
            anything but tensors and plain values. Nothing that it names is imported or executed.
    """
    machine = _Machine(stream, min(size, PICKLE_LIMIT), where)
    return Pickled(machine.run(), machine.storages)


def described(value: object) -> str:
    """Describe a value for a message; only the type of a container, which may contain itself."""
    if isinstance(value, _Global):
        return value.name
    if value is None or isinstance(value, bool | int | float | str):
        return shown(value)
    if isinstance(value, PickledTensor):
        return "a tensor"
    return f"a {type(value).__name__}"


def _listed(values: object) -> str:
    if not isinstance(values, tuple):
        return described(values)
    return f"({', '.join(map(described, values[:6]))}{', ...' * (len(values) > 6)})"


@dataclass(frozen=True, slots=True)
class _Global:
    name: str


class _Machine:
    """The stack machine: one method per kind of opcode."""

    def __init__(self, stream: BinaryIO, left: int, where: str) -> None:
        self.stream = stream
        self.left = left
        self.where = where
        self.stack: list[object] = []
        self.below: list[list[object]] = []  # the stack under each open mark
        self.memo: dict[int, object] = {}
        self.storages: dict[str, PickledStorage] = {}
        self.tensors = 0

    def run(self) -> object:
        for _ in range(OPCODE_LIMIT):
            opcode = self.read(1)
            if opcode == b".":  # STOP
                return self.pop()
            self.step(opcode)
        raise self.fault(f"its pickle has more than {OPCODE_LIMIT} opcodes", TRUST)

    def step(self, opcode: bytes) -> None:
        match opcode:
            case b"\x80":  # PROTO
                self.protocol(self.number("<B"))
            case b"(":  # MARK
                self.mark()
            case b"N" | b"\x88" | b"\x89" | b")":  # NONE, NEWTRUE, NEWFALSE, EMPTY_TUPLE
                self.stack.append(_CONSTANTS[opcode])
            case b"K" | b"M" | b"J":  # BININT1, BININT2, BININT
                self.stack.append(self.number(_NUMBERS[opcode]))
            case b"\x8a":  # LONG1
                self.stack.append(self.long(self.number("<B")))
            case b"G":  # BINFLOAT
                self.stack.append(struct.unpack(">d", self.read(8))[0])
            case b"X":  # BINUNICODE
                self.stack.append(self.text(self.number("<I")))
            case b"}":  # EMPTY_DICT
                self.stack.append({})
            case b"]":  # EMPTY_LIST
                self.stack.append([])
            case b"t":  # TUPLE
                items = tuple(self.marked())  # before the stack below is looked up
                self.stack.append(items)
            case b"\x85" | b"\x86" | b"\x87":  # TUPLE1, TUPLE2, TUPLE3
                last = [self.pop() for _ in range(opcode[0] - 0x84)]
                self.stack.append(tuple(reversed(last)))
            case b"a":  # APPEND
                self.append([self.pop()])
            case b"e":  # APPENDS
                self.append(self.marked())
            case b"s":  # SETITEM
                value, key = self.pop(), self.pop()
                self.set_items([key, value])
            case b"u":  # SETITEMS
                self.set_items(self.marked())
            case b"q":  # BINPUT
                self.memo[self.number("<B")] = self.top()
            case b"r":  # LONG_BINPUT
                self.memo[self.number("<I")] = self.top()
            case b"h":  # BINGET
                self.remember(self.number("<B"))
            case b"j":  # LONG_BINGET
                self.remember(self.number("<I"))
            case b"c":  # GLOBAL
                self.find(f"{self.line()}.{self.line()}")
            case b"R" | b"\x81":  # REDUCE, NEWOBJ
                arguments, function = self.pop(), self.pop()
                self.stack.append(self.call(function, arguments))
            case b"b":  # BUILD
                self.build(self.pop())
            case b"Q":  # BINPERSID
                self.stack.append(self.storage(self.pop()))
            case _:
                raise self.fault(
                    f"its pickle has the opcode {opcode!r}, which tensors do not need", TRUST
                )

    # Bytes

    def read(self, count: int) -> bytes:
        data = self.stream.read(count) if count <= self.left else b""
        if len(data) < count:
            raise self.fault(
                f"its pickle needs {count} more bytes, and {self.left} are left (allowed per "
                f"pickle: {PICKLE_LIMIT})"
            )
        self.left -= count
        return data

    def number(self, form: str) -> int:
        (number,) = struct.unpack(form, self.read(struct.calcsize(form)))
        return int(number)

    def long(self, count: int) -> int:
        if count > 8:
            raise self.fault(f"its pickle has an integer of {count} bytes; allowed: 8")
        return int.from_bytes(self.read(count), "little", signed=True)

    def text(self, count: int) -> str:
        data = self.read(count)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self.fault(f"its pickle has a string that is not UTF-8: {data[:40]!r}") from error

    def line(self) -> str:
        data = self.stream.readline(min(_NAME_LIMIT, self.left))
        self.left -= len(data)
        if not data.endswith(b"\n"):
            raise self.fault(
                f"its pickle has an unterminated name: {data[:40]!r}; allowed: {_NAME_LIMIT} bytes"
            )
        return data[:-1].decode(errors="replace")

    # Stack and memo

    def pop(self) -> object:
        if not self.stack:
            raise self.fault("its pickle pops from an empty stack")
        return self.stack.pop()

    def top(self) -> object:
        value = self.pop()
        self.stack.append(value)
        return value

    def mark(self) -> None:
        if len(self.below) == MARK_LIMIT:
            raise self.fault(f"its pickle is nested more than {MARK_LIMIT} levels deep", TRUST)
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[object]:
        if not self.below:
            raise self.fault("its pickle ends a group that it did not start")
        items, self.stack = self.stack, self.below.pop()
        return items

    def remember(self, index: int) -> None:
        if index not in self.memo:
            raise self.fault(f"its pickle refers to memo {index}, which does not exist")
        self.stack.append(self.memo[index])

    # Values

    def protocol(self, version: int) -> None:
        if version != 2:
            raise self.fault(f"its pickle has protocol {version}; allowed: 2", TRUST)

    def append(self, items: list[object]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise self.fault(f"its pickle appends to {described(target)}; allowed: a list")
        target.extend(items)

    def set_items(self, items: list[object]) -> None:
        target = self.top()
        if not isinstance(target, dict):
            raise self.fault(f"its pickle sets an item of {described(target)}; allowed: of a dict")
        if len(items) % 2:
            raise self.fault(
                f"its pickle adds {len(items)} keys and values to a dict, an odd number"
            )
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise self.fault(
                    f"its pickle uses {described(key)} as a key; allowed: strings and integers"
                )
            target[key] = value

    def build(self, state: object) -> None:
        target = self.top()
        if not isinstance(target, dict) or not isinstance(state, dict):
            raise self.fault(
                f"its pickle sets the state of {described(target)} to {described(state)}; allowed: "
                "the attributes of a dict (`_metadata`)",
                TRUST,
            )
        # The attributes are dropped: they do not affect the tensors.

    def find(self, name: str) -> None:
        if name not in _STORAGES and name not in _CALLS:
            raise self.fault(
                f"its pickle names {name!r}; allowed: tensors, parameters, storages and "
                "OrderedDict (nothing was executed)",
                TRUST,
            )
        self.stack.append(_Global(name))

    def call(self, function: object, arguments: object) -> object:
        name = function.name if isinstance(function, _Global) else ""
        match arguments:
            case () if name == _ORDERED_DICT:
                return {}
            case (PickledTensor() as tensor, *_) if name in _PARAMETERS:
                return tensor
            case (
                PickledStorage() as storage,
                int() as offset,
                tuple() as size,
                tuple() as stride,
                *rest,
            ) if name in _TENSORS:
                if any(rest[2:]):  # after requires_grad and hooks: the flags of lazy operations
                    raise self.fault("a tensor is lazily negated or conjugated", TRUST)
                return self.tensor(storage, offset, size, stride)
        raise self.fault(
            f"its pickle calls {described(function)} with {_listed(arguments)}; allowed: making "
            "tensors, parameters and empty dicts",
            TRUST,
        )

    def storage(self, identity: object) -> PickledStorage:
        match identity:
            case ("storage", _Global(name), str() as key, str(), int() as numel) | (
                "storage",
                _Global(name),
                str() as key,
                str(),
                int() as numel,
                None,
            ) if name in _STORAGES and numel >= 0:
                storage = PickledStorage(key, _STORAGES[name], numel)
            case _:
                raise self.fault(
                    f"its pickle has the persistent id {_listed(identity)}; allowed: storages, "
                    "without views of them",
                    TRUST,
                )
        if self.storages.setdefault(key, storage) != storage:
            raise self.fault(f"storage {described(key)} has two types or sizes")
        return storage

    def tensor(
        self,
        storage: PickledStorage,
        offset: int,
        size: tuple[object, ...],
        stride: tuple[object, ...],
    ) -> PickledTensor:
        self.tensors += 1
        if self.tensors > TENSOR_LIMIT:
            raise self.fault(f"it has more than {TENSOR_LIMIT} tensors", TRUST)
        if len(size) > _DIMENSION_LIMIT:
            raise self.fault(f"a tensor has {len(size)} dimensions; allowed: {_DIMENSION_LIMIT}")
        sizes = tuple(n for n in size if isinstance(n, int) and n >= 0)
        steps = tuple(n for n in stride[: len(size)] if isinstance(n, int) and n >= 0)
        if offset < 0 or not len(sizes) == len(steps) == len(size) == len(stride):
            raise self.fault(
                f"a tensor has offset {offset}, size {_listed(size)} and stride {_listed(stride)}; "
                "allowed: integers from 0, one stride per size"
            )
        return PickledTensor(storage, offset, sizes, steps)

    def fault(self, what: str, hint: str = DAMAGED) -> WeightsError:
        return WeightsError(f"{self.where} cannot be read: {what}", hint=hint)
