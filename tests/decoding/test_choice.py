import ctypes
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ogpt.decoding import choice
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.native import library
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.decoding.options import DecoderOptions
from ogpt.errors import BackendMissing, CheckpointError, ConfigError, UnknownArgument
from ogpt.folders.model_folder import ModelFolder
from ogpt.model.cuda.static_decoder import StaticDecoder
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import collecting
from tests.decoding.calls import extend
from tests.model.parity import random_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_model(2, n_positions=12).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "libogpt.so")
    library.load_library.cache_clear()
    yield
    library.load_library.cache_clear()


@pytest.fixture
def with_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    library.load_library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())


@pytest.mark.parametrize("decoder", ["auto", "native", "torch"])
@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_a_decoder_of_a_folder(folder: Path, decoder: str, dtype: str) -> None:
    opened = open_decoder(folder, decoder=decoder, dtype=dtype, threads=1, slots=2)
    assert isinstance(opened, TorchDecoder if decoder == "torch" else NativeDecoder)
    model = random_model(2, n_positions=12)
    expected = model(torch.tensor([[1, 2, 3]])).logits[0, -1].detach().numpy()
    found = extend(opened, 1, [1, 2, 3])
    assert found is not None
    limit = 0.1 if dtype == "bfloat16" else 1e-4
    assert abs(found - expected).max() < limit * abs(expected).max()
    assert opened.slots == 2
    opened.close()


@pytest.mark.parametrize(
    ("stored", "asked", "opened"),
    [
        (torch.float32, "auto", "float32"),
        (torch.float16, "auto", "float32"),
        (torch.bfloat16, "auto", "bfloat16"),
        (torch.bfloat16, "float32", "float32"),
        (torch.float64, "float32", "float32"),
        (torch.float32, "int8", "int8"),
        (torch.float32, "int4", "int4"),
    ],
)
def test_native_dtypes(tmp_path: Path, stored: torch.dtype, asked: str, opened: str) -> None:
    random_model(2, n_positions=12).to(stored).save_pretrained(tmp_path)
    decoder = open_decoder(tmp_path, dtype=asked)
    assert isinstance(decoder, NativeDecoder)
    assert decoder.dtype == opened
    decoder.close()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"decoder": "mlx"}, "decoder is 'mlx'; allowed: auto, native, torch"),
        ({"dtype": "int2"}, "dtype is 'int2'; allowed: auto, float32, bfloat16, int8, int4"),
        ({"cache_dtype": "int8"}, "cache_dtype is 'int8'; allowed: float32, bfloat16"),
        (
            {"decoder": "torch", "cache_dtype": "bfloat16"},
            "cache_dtype is 'bfloat16'; the torch decoder stores the KV cache in the dtype of",
        ),
        ({"threads": -1}, "threads is -1; allowed: 0 to 1024"),
        ({"threads": 1_000_000}, "threads is 1000000; allowed: 0 to 1024"),
        ({"slots": 0}, "slots is 0; allowed: 1 or more"),
        ({"decoder": "torch", "dtype": "int8"}, "dtype is 'int8'; the torch decoder has float32"),
        ({"decoder": "tensorflow", "dtype": "int4"}, "dtype is 'int4'; the tensorflow decoder has"),
        ({"decoder": "tensorflow", "deterministic": True}, "deterministic is True; allowed with"),
        (
            {"decoder": "tensorflow", "cache_dtype": "bfloat16"},
            "cache_dtype is 'bfloat16'; the tensorflow decoder stores the KV cache in the dtype of",
        ),
    ],
)
def test_values_outside_their_range(folder: Path, arguments: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        open_decoder(folder, **arguments)
    assert caught.value.hint


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"pruned_heads": {0: [1]}}, "pruned heads"),
    ({"tie_word_embeddings": False}, "tie_word_embeddings is false"),
    ({"parity": "2018"}, "parity.masking is '2018'"),
    ({"dtype": "float64"}, "no float64"),
]


@pytest.mark.parametrize(("change", "why"), UNFIT)
def test_what_native_cannot_run(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    model = random_model(2, n_positions=12, n_head=2, n_embd=8, **change)
    if "dtype" in change:
        model.double()
    model.save_pretrained(tmp_path)
    with collecting() as notices:
        decoder = open_decoder(tmp_path)
    assert isinstance(decoder, TorchDecoder)
    assert [notice.kind for notice in notices] == ["native-decoder-unused"]
    assert why in notices[0].message
    with pytest.raises(ConfigError, match="the native decoder cannot run") as caught:
        open_decoder(tmp_path, decoder="native")
    assert why in str(caught.value)
    assert "--decoder torch" in caught.value.hint
    if "dtype" not in change:
        with pytest.raises(ConfigError, match="the native decoder cannot run"):
            open_decoder(tmp_path, dtype="int8")


def test_a_cache_of_half_the_bytes(folder: Path) -> None:
    whole, half = (
        logits_of_two(open_decoder(folder, slots=2, cache_dtype=dtype))
        for dtype in ("float32", "bfloat16")
    )
    far = abs(half - whole).max() / abs(whole).max()
    assert 0 < far < 0.02


def test_torch_has_one_dtype_of_keys_and_values(folder: Path, not_built: None) -> None:
    with collecting() as notices:
        assert isinstance(open_decoder(folder, cache_dtype="bfloat16"), TorchDecoder)
    assert [notice.kind for notice in notices] == [
        "native-decoder-unused",
        "setting-without-effect",
    ]
    assert "cache_dtype has no effect: the torch decoder stores" in notices[1].message


def test_not_built(folder: Path, not_built: None) -> None:
    with collecting() as notices:
        assert isinstance(open_decoder(folder), TorchDecoder)
    assert "it is not built" in notices[0].message
    for arguments in ({"decoder": "native"}, {"dtype": "int8"}):
        with pytest.raises(BackendMissing, match="the native decoder is not built") as caught:
            open_decoder(folder, **arguments)
        assert "C++17 compiler" in caught.value.hint


def test_with_a_gpu_torch_decodes(
    folder: Path, with_driver: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = object()
    monkeypatch.setattr(choice, "_open_torch", lambda *arguments: opened)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert open_decoder(folder) is opened
    assert isinstance(open_decoder(folder, dtype="int8"), NativeDecoder)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # torch for the CPU only
    assert isinstance(open_decoder(folder), NativeDecoder)


def test_without_torch_the_driver_is_not_looked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    monkeypatch.setattr(choice, "_has_cuda_driver", pytest.fail)
    assert isinstance(open_decoder(folder), NativeDecoder)
    assert importlib.util.find_spec("torch")


@pytest.mark.parametrize(("system", "name"), [("linux", "libcuda.so.1"), ("win32", "nvcuda.dll")])
def test_the_drivers_name(monkeypatch: pytest.MonkeyPatch, system: str, name: str) -> None:
    asked = []
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    assert choice._has_cuda_driver()
    assert asked == [name]


def logits_of_two(opened: Any) -> NDArray[Any]:
    found = extend(opened, 1, [1, 2, 3])
    assert found is not None
    return found


def test_torch_in_a_fixed_shape(folder: Path) -> None:
    opened = open_decoder(folder, decoder="torch", deterministic=True, threads=1, slots=2)
    assert isinstance(opened, StaticDecoder)
    assert opened.abilities.bitwise
    assert opened.dtype == "float32"
    other = open_decoder(folder, decoder="torch", threads=1, slots=2)
    assert isinstance(other, TorchDecoder)
    np.testing.assert_allclose(logits_of_two(opened), logits_of_two(other), atol=1e-5)
    assert open_decoder(folder, deterministic=True).abilities.bitwise  # the native one always is


def test_no_fixed_shape_for_pruned_heads(tmp_path: Path) -> None:
    random_model(2, n_head=2, n_embd=8, pruned_heads={0: [1]}).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"deterministic True is not possible .*pruned") as caught:
        open_decoder(tmp_path, decoder="torch", deterministic=True)
    assert "--decoder native" in caught.value.hint


def test_what_a_gpu_is_given(
    folder: Path, with_driver: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(choice, "find_spec", lambda name: name)
    real, given = choice._open_static, []

    def on_cpu(*arguments: Any) -> Any:
        _, options, slots, device = arguments
        given.append((options.dtype, slots, options.deterministic, device))
        return real(*arguments[:-1], "cpu")

    monkeypatch.setattr(choice, "_open_static", on_cpu)
    expected = logits_of_two(TorchDecoder(random_model(2, n_positions=12), 2))
    for dtype, limit in (("float32", 1e-4), ("bfloat16", 0.1), ("int8", 0.2)):
        opened = open_decoder(folder, decoder="torch", dtype=dtype, slots=2)
        assert isinstance(opened, StaticDecoder)
        assert opened.dtype == dtype
        assert abs(logits_of_two(opened) - expected).max() < limit * abs(expected).max()
    open_decoder(folder, slots=2)
    assert given == [
        *((dtype, 2, False, "cuda") for dtype in ("float32", "bfloat16", "int8", "auto"))
    ]


def test_a_gpu_without_triton(
    folder: Path, with_driver: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == "triton" else name)
    real = OpenAIGPTLMHeadModel.from_pretrained

    def on_cpu(name: ModelFolder, **options: Any) -> Any:
        assert options.pop("device") == "cuda"
        return real(name, **options)

    monkeypatch.setattr(OpenAIGPTLMHeadModel, "from_pretrained", on_cpu)
    with collecting() as notices:
        opened = open_decoder(folder)
    assert isinstance(opened, TorchDecoder)
    assert opened.model.dtype == torch.bfloat16
    assert [notice.kind for notice in notices] == ["static-decoder-unused"]
    assert "triton is not installed" in notices[0].message
    with pytest.raises(ConfigError, match="dtype int8 with deterministic False is not possible"):
        open_decoder(folder, decoder="torch", dtype="int8")


def test_outliers_are_evened_out_before_int8(tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"n_positions": 12, "n_embd": 96, "n_head": 3, "vocab_size": 131}
    model = random_model(2, **sizes)
    expected = logits_of_two(TorchDecoder(model, 2))
    plain = StaticDecoder(random_model(2, **sizes), 2, precision="int8")
    with torch.no_grad():
        for block in model.transformer.h:
            into, out_of = block.attn.c_attn, block.attn.c_proj
            for channel in range(0, 96, 7):
                into.weight[:, 2 * 96 + channel] *= 32
                into.bias[2 * 96 + channel] *= 32
                out_of.weight[channel] /= 32
    model.save_pretrained(tmp_path)
    opened = choice._open_static(ModelFolder.open(tmp_path), DecoderOptions(dtype="int8"), 2, "cpu")
    far, without, worse = (
        abs(logits_of_two(one) - expected).max()
        for one in (opened, plain, StaticDecoder(model, 2, precision="int8"))
    )
    assert far < 1.5 * without
    assert worse > 1.5 * without


def test_what_the_model_has_no_use_for_is_told(tmp_path: Path) -> None:
    random_model(2, OpenAIGPTDoubleHeadsModel, n_positions=12).save_pretrained(tmp_path)
    told = []
    for decoder in ("native", "torch"):
        with collecting() as notices:
            open_decoder(tmp_path, decoder=decoder)
        told.append([notice.message for notice in notices])
    assert told[0] == told[1]
    assert "multiple_choice_head.summary.bias" in told[0][0]


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model and no run"):
        open_decoder(tmp_path)


def test_without_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendMissing, match="needs PyTorch") as caught:
        open_decoder(folder, decoder="torch")
    assert caught.value.hint == "pip install 'ogpt[torch]'"


@pytest.mark.parametrize("package", ["tensorflow", "keras"])
def test_without_tensorflow(folder: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendMissing, match="needs TensorFlow and Keras") as caught:
        open_decoder(folder, decoder="tensorflow")
    assert caught.value.hint == "pip install 'ogpt[tf]'"


def test_options_whole_and_by_name(folder: Path) -> None:
    options = DecoderOptions(decoder="native", dtype="int8", threads=1)
    opened = open_decoder(ModelFolder.open(folder), options, slots=2, dtype="bfloat16")
    assert isinstance(opened, NativeDecoder)
    assert (opened.dtype, opened.slots) == ("bfloat16", 2)
    with pytest.raises(ConfigError, match=r"settings are \{\}; allowed: DecoderOptions") as caught:
        open_decoder(folder, {})  # type: ignore[arg-type]  # the point of the test
    assert "ogpt.DecoderOptions(...)" in caught.value.hint
    with pytest.raises(UnknownArgument, match="open_decoder has no argument thread;") as unknown:
        open_decoder(folder, thread=1)
    assert unknown.value.hint == "did you mean threads?"
