import builtins
import functools
import io
import os
import pickle
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from ogpt.errors import WeightsError
from ogpt.weights import pickled_tensors, tensor_pickle
from ogpt.weights.pickled_tensors import PickledStorage, PickledTensor
from ogpt.weights.tensor_pickle import Pickled, load


def text(value: str) -> bytes:
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def storage(kind: str = "torch\nFloatStorage", key: str = "0", numel: bytes = b"K\x06") -> bytes:
    return b"(" + text("storage") + f"c{kind}\n".encode() + text(key) + text("cpu") + numel + b"tQ"


ORDERED = b"ccollections\nOrderedDict\n)R"
V2 = b"ctorch._utils\n_rebuild_tensor_v2\n"


def tensor(
    stored: bytes = storage(),
    offset: bytes = b"K\x00",
    size: bytes = b"K\x02K\x03\x86",
    stride: bytes = b"K\x03K\x01\x86",
    rest: bytes = b"\x89" + ORDERED,
    call: bytes = V2,
) -> bytes:
    return call + b"(" + stored + offset + size + stride + rest + b"tR"


def read(body: bytes) -> Pickled:
    whole = b"\x80\x02" + body + b"."
    return load(io.BytesIO(whole), len(whole), "x.bin")


SIX = PickledStorage("0", "float32", 6)
TWO_BY_THREE = PickledTensor(SIX, 0, (2, 3), (3, 1))


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        7,
        70_000,
        -5,
        2**40,
        -(2**40),
        1.5,
        "naïve",
        (),
        (1,),
        (1, 2),
        (1, 2, 3),
        (1, 2, 3, 4),
        [],
        [1],
        [1, 2],
        {},
        {"a": 1},
        {"a": 1, 2: {"b": [(3, None)]}},
        [f"name {number}" for number in range(300)],  # more than one byte can number
    ],
)
def test_plain_values_are_pythons_own(value: object) -> None:
    whole = pickle.dumps(value, protocol=2)
    assert load(io.BytesIO(whole), len(whole), "x.bin") == (value, {})


def test_a_value_twice_comes_from_the_memo() -> None:
    name = "many"
    whole = pickle.dumps([name, [name] * 300, [[] for _ in range(300)]] * 2, protocol=2)
    assert load(io.BytesIO(whole), len(whole), "x").value == pickle.loads(whole)
    long_memo = text("a") + b"r\x00\x01\x00\x00j\x00\x01\x00\x00\x86"
    assert read(long_memo).value == ("a", "a")


def test_the_stream_stands_behind_the_pickle() -> None:
    stream = io.BytesIO(pickle.dumps(1, protocol=2) + pickle.dumps(2, protocol=2))
    assert [load(stream, 100, "x").value, load(stream, 100, "x").value] == [1, 2]


@pytest.mark.parametrize(
    "body",
    [
        tensor(),
        tensor(call=b"ctorch._utils\n_rebuild_tensor\n", rest=b""),
        tensor(rest=b"\x89" + ORDERED + b"}"),
        b"ctorch._utils\n_rebuild_parameter\n" + tensor() + b"\x88" + ORDERED + b"\x87R",
        b"ctorch._utils\n_rebuild_parameter_with_state\n(" + tensor() + b"\x88" + ORDERED + b"}tR",
        b"ctorch.nn.parameter\nParameter\n" + tensor() + b"\x88\x86R",
        b"ctorch.nn.parameter\nParameter\n" + tensor() + b"\x85\x81",
        b"ctorch.nn\nParameter\n" + tensor() + b"\x85\x81",
    ],
)
def test_tensors_and_parameters(body: bytes) -> None:
    assert read(body) == (TWO_BY_THREE, {"0": SIX})


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("torch\nDoubleStorage", "float64"),
        ("torch\nFloatStorage", "float32"),
        ("torch\nHalfStorage", "float16"),
        ("torch\nBFloat16Storage", "bfloat16"),
        ("torch\nLongStorage", "int64"),
        ("torch\nIntStorage", "int32"),
        ("torch\nShortStorage", "int16"),
        ("torch\nCharStorage", "int8"),
        ("torch\nByteStorage", "uint8"),
        ("torch\nBoolStorage", "bool"),
        ("torch.cuda\nFloatStorage", "float32"),
        ("torch.storage\nUntypedStorage", "uint8"),
    ],
)
def test_storages_of_each_type(kind: str, dtype: str) -> None:
    found = read(tensor(storage(kind))).storages["0"]
    assert found == PickledStorage("0", dtype, 6)
    assert found.nbytes == 6 * pickled_tensors.ITEM_SIZES[dtype]


def test_attributes_of_a_dict_are_passed_over() -> None:
    body = ORDERED + b"(" + text("w") + tensor() + b"u}" + text("_metadata") + ORDERED + b"sb"
    assert read(body).value == {"w": TWO_BY_THREE}


class Evil:
    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (os.system, f"{os.name}.system"),
        (builtins.eval, "__builtin__.eval"),
        (builtins.exec, "__builtin__.exec"),
        (builtins.getattr, "__builtin__.getattr"),
        (functools.partial, "functools.partial"),
        (shutil.rmtree, "shutil.rmtree"),
        (Counter, "collections.Counter"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_no_other_global_is_looked_up_or_run(
    function: Callable[..., object], named: str, protocol: int, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    command = f"{sys.executable} -c \"open({str(marker)!r}, 'w')\""
    whole = pickle.dumps({"a": Evil(function, command)}, protocol=protocol)
    with pytest.raises(WeightsError) as caught:
        load(io.BytesIO(whole), len(whole), "x.bin")
    expected = repr(named)[:-1] if protocol == 2 else "protocol 4; allowed: 2"
    assert expected in str(caught.value)
    assert "x.bin cannot be read" in str(caught.value)
    assert "only tensors" in caught.value.hint
    assert not marker.exists()


REFUSED = [
    (b"\x80\x03N", "protocol 3; allowed: 2", "only tensors"),
    (b"\x82\x01", r"opcode b'\\x82'", "only tensors"),  # EXT1
    (b"\x83\x01\x00", r"opcode b'\\x83'", "only tensors"),  # EXT2
    (b"\x84\x01\x00\x00\x00", r"opcode b'\\x84'", "only tensors"),  # EXT4
    (b"i__builtin__\neval\n", "opcode b'i'", "only tensors"),  # INST
    (b"(o", "opcode b'o'", "only tensors"),  # OBJ
    (b"I1\n", "opcode b'I'", "only tensors"),  # INT
    (b"P1\n", "opcode b'P'", "only tensors"),  # PERSID
    (b"\x8b\x01\x00\x00\x00\x01", r"opcode b'\\x8b'", "only tensors"),  # LONG4
    (b"\x8f", r"opcode b'\\x8f'", "only tensors"),  # EMPTY_SET
    (b"\x93", r"opcode b'\\x93'", "only tensors"),  # STACK_GLOBAL
    (b"", "pops from an empty stack", "copy"),
    (b"K\x01\x86", "pops from an empty stack", "copy"),
    (b"}K\x01s", "pops from an empty stack|sets an item", "copy"),
    (b"q\x00", "pops from an empty stack", "copy"),
    (b"t", "ends a group that it did not start", "copy"),
    (b"h\x05", "memo 5, which does not exist", "copy"),
    (b"j\x05\x01\x00\x00", "memo 261, which does not exist", "copy"),
    (b"(" * 65, "nested more than 64 levels", "only tensors"),
    (b"X\xff\xff\xff\xff", "needs 4294967295 more bytes, and 1 are left", "copy"),
    (b"X\x02\x00\x00\x00\xff\xfe", r"not UTF-8: b'\\xff\\xfe'", "copy"),
    (b"\x8a\x09" + b"\x01" * 9, "an integer of 9 bytes; allowed: 8", "copy"),
    (b"c" + b"x" * 300 + b"\nname\n", "an unterminated name.*allowed: 256 bytes", "copy"),
    (b"ctorch", "an unterminated name: b'torch.'", "copy"),
    (b"c\xff\nx\n", "names '\ufffd.x'", "only tensors"),
    (b"ctorch.storage\nTypedStorage\n", "names 'torch.storage.TypedStorage'", "only tensors"),
    (b"K\x01K\x02a", "appends to 1; allowed: a list", "copy"),
    (b"K\x01(K\x02K\x03u", "sets an item of 1", "copy"),
    (b"}(K\x02K\x03K\x04u", "3 keys and values to a dict, an odd number", "copy"),
    (b"})K\x02s", "uses a tuple as a key", "copy"),
    (b"}G" + b"\x00" * 8 + b"K\x02s", "uses 0.0 as a key", "copy"),
    (b"}K\x01b", "sets the state of a dict to 1; allowed", "only tensors"),
    (tensor() + b"}b", "sets the state of a tensor to a dict", "only tensors"),
    (b"K\x01)R", r"calls 1 with \(\)", "only tensors"),
    (b"ctorch\nFloatStorage\nK\x05\x85R", r"calls torch.FloatStorage with \(5\)", "only tensors"),
    (b"ccollections\nOrderedDict\n]\x85R", r"OrderedDict with \(a list\)", "only tensors"),
    (b"ccollections\nOrderedDict\nK\x05R", "OrderedDict with 5", "only tensors"),
    (V2 + b"(" + b"K\x01" * 7 + b"tR", r"with \(1, 1, 1, 1, 1, 1, \.\.\.\)", "only tensors"),
    (b"ctorch._utils\n_rebuild_parameter\n)R", r"_rebuild_parameter with \(\)", "only tensors"),
    (tensor(rest=b"\x89" + ORDERED + b"}" + text("neg") + b"\x88s"), "lazily", "only tensors"),
    (b"K\x05Q", "persistent id 5", "only tensors"),
    (text("module") + b"K\x05\x86Q", r"persistent id \('module', 5\)", "only tensors"),
    (storage("collections\nOrderedDict"), "persistent id", "only tensors"),
    (storage(numel=b"J\xff\xff\xff\xff"), "persistent id .*-1", "only tensors"),
    (storage(numel=b"K\x06)"), "without views of them", "only tensors"),
    (storage() + storage(numel=b"K\x07"), "storage '0' has two types or sizes", "copy"),
    (storage() + storage("torch\nLongStorage"), "storage '0' has two types", "copy"),
    (tensor(offset=b"J\xff\xff\xff\xff"), "has offset -1, size", "copy"),
    (tensor(size=b"K\x02J\xfe\xff\xff\xff\x86"), r"size \(2, -2\)", "copy"),
    (tensor(stride=b"K\x02J\xfe\xff\xff\xff\x86"), r"stride \(2, -2\)", "copy"),
    (tensor(size=b"K\x02N\x86"), r"size \(2, None\)", "copy"),
    (tensor(stride=b"K\x02\x85"), r"stride \(2\); .* one stride per size", "copy"),
    (tensor(stride=b"(" + b"K\x01" * 9 + b"t"), r"stride \(1, 1, 1, 1, 1, 1, \.\.\.\)", "copy"),
    (tensor(size=b"(" + b"K\x01" * 65 + b"t"), "65 dimensions; allowed: 64", "copy"),
]


@pytest.mark.parametrize(("body", "match", "hint"), REFUSED)
def test_what_is_refused(body: bytes, match: str, hint: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        read(body)
    assert str(caught.value).startswith("x.bin cannot be read: ")
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("limit", "allowed", "body", "match"),
    [
        ("OPCODE_LIMIT", 100, b"N" * 100, "more than 100 opcodes"),
        ("PICKLE_LIMIT", 100, b"N" * 100, r"needs 1 more bytes, and 0 are left .*: 100\)"),
        ("TENSOR_LIMIT", 2, tensor() * 3, "more than 2 tensors"),
    ],
)
def test_limits(
    limit: str, allowed: int, body: bytes, match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(body)
    monkeypatch.setattr(tensor_pickle, limit, allowed)
    with pytest.raises(WeightsError, match=match) as caught:
        read(body)
    assert caught.value.hint


def test_endless_values_are_refused_without_being_followed() -> None:
    itself = b"]q\x00h\x00a"
    with pytest.raises(WeightsError, match="calls a list with a list"):
        read(itself + itself + b"R")
    tower = b")" + b"\x85" * 50_000
    with pytest.raises(WeightsError, match="uses a tuple as a key"):
        read(b"}" + tower + b"Ns")


def test_a_cut_pickle_never_ends_in_another_error() -> None:
    whole = b"\x80\x02" + ORDERED + b"(" + text("w") + tensor() + b"u."
    for length in range(len(whole)):
        with pytest.raises(WeightsError, match="cannot be read"):
            load(io.BytesIO(whole[:length]), length, "x.bin")
        with pytest.raises(WeightsError, match="cannot be read"):  # a file that shrinks meanwhile
            load(io.BytesIO(whole[:length]), len(whole), "x.bin")
