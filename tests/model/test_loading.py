"""from_pretrained and save_pretrained: what is refused, options, files beside, memory."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import (
    CheckpointError,
    ConfigError,
    UnknownSetting,
    WeightsError,
)
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import collecting
from tests.model.small import Kind, apart, draw_ids, quietly, small, told

IDS = draw_ids(2, 6)
LM = OpenAIGPTLMHeadModel


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


# what is refused


def test_weights_of_the_transformer_that_are_missing(folder: Path) -> None:
    rewrite(
        folder,
        lambda t: [t.pop(name) for name in list(t) if ".h.1." in name and "ln_2" not in name],
    )
    message = r"missing transformer\.h\.1\..* and 4 more; unused none"
    with pytest.raises(WeightsError, match=message) as caught:
        LM.from_pretrained(folder)
    assert "belong together" in caught.value.hint


def test_blocks_that_are_missing(folder: Path) -> None:
    rewrite(folder, lambda t: [t.pop(name) for name in list(t) if ".h.1." in name])
    with pytest.raises(WeightsError, match="1 of the configuration's 2 blocks") as caught:
        LM.from_pretrained(folder)
    assert "belong together" in caught.value.hint
    with pytest.raises(WeightsError, match="1 of the configuration's 2000000000 blocks"):
        LM.from_pretrained(folder, n_layer=2_000_000_000)  # before any of them is built


def test_weights_left_over(folder: Path) -> None:
    _, info, _ = told(LM, folder, n_layer=1)
    assert len(info["unexpected_keys"]) == 12
    assert all(name.startswith("transformer.h.1.") for name in info["unexpected_keys"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_that_are_no_numbers(bad: float, dtype: torch.dtype, folder: Path) -> None:
    def spoil(tensors: dict[str, Tensor]) -> None:
        for name in tensors:
            tensors[name] = tensors[name].to(dtype)
        tensors["transformer.h.1.mlp.c_fc.weight"][3, 4:6] = bad

    message = r"h\.1\.mlp\.c_fc\.weight holds 2 numbers that are NaN or infinite"
    with pytest.raises(WeightsError, match=message) as caught:
        LM.from_pretrained(rewrite(folder, spoil))
    assert "diverged" in caught.value.hint


def test_weights_that_are_whole_numbers(folder: Path) -> None:
    name = "transformer.h.0.ln_1.weight"
    rewrite(folder, lambda t: t.update({name: torch.ones(16, dtype=torch.int8)}))
    with pytest.raises(WeightsError, match=r"ln_1\.weight is of torch\.int8; allowed: fl") as e:
        LM.from_pretrained(folder)
    assert "quantized" in e.value.hint


def test_another_architecture(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(ConfigError, match=r"'gpt2' model; allowed: 'openai-gpt'") as caught:
        LM.from_pretrained(folder)
    assert "GPT-1" in caught.value.hint


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"no weights in .*model\.safetensors") as caught:
        LM.from_pretrained(folder)
    assert "folder" in caught.value.hint


# options


def test_a_configuration_and_fields_that_replace_it(folder: Path) -> None:
    given = OpenAIGPTConfig.from_pretrained(folder)
    given.afn = "relu"
    before = given.to_dict()
    assert quietly(LM, folder, config=given).config.afn == "relu"
    changed = quietly(LM, folder, config=given, afn="silu", output_attentions=True)
    assert changed.config.afn == "silu"
    assert "attentions" in changed(IDS)
    assert given.to_dict() == before
    assert quietly(LM, folder, attn_pdrop=0.25).config.attn_pdrop == 0.25


@pytest.mark.parametrize("config", [True, False])
def test_a_misspelt_field(folder: Path, config: bool) -> None:
    given = {"config": OpenAIGPTConfig.from_pretrained(folder)} if config else {}
    with pytest.raises(UnknownSetting, match="'atn_pdrop'") as caught:
        LM.from_pretrained(folder, atn_pdrop=0.0, **given)
    assert caught.value.hint == "did you mean attn_pdrop?"


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("auto", torch.bfloat16),
        (None, torch.bfloat16),
        ("float32", torch.float32),
        ("torch.float16", torch.float16),
        (torch.float64, torch.float64),
    ],
)
def test_dtypes(name: str, given: object, found: torch.dtype, folder: Path) -> None:
    def narrow(tensors: dict[str, Tensor]) -> None:
        tensors.update({key: value.bfloat16() for key, value in tensors.items()})

    model = quietly(LM, rewrite(folder, narrow), **{name: given})
    assert {parameter.dtype for parameter in model.parameters()} == {found}
    model.save_pretrained(folder)
    saved = json.loads((folder / "config.json").read_text())
    assert saved["dtype"] == str(found).removeprefix("torch.")


@pytest.mark.parametrize("bad", ["int8", "float31", torch.int64, "nn"])
def test_a_dtype_that_is_none(bad: object, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"dtype is {bad!r}; allowed: float32, ") as caught:
        LM.from_pretrained(folder, dtype=bad)
    assert "auto" in caught.value.hint


def test_a_file_of_several_dtypes_gives_a_model_of_one(folder: Path) -> None:
    def mix(tensors: dict[str, Tensor]) -> None:
        for name in tensors:
            if ".ln_" not in name:
                tensors[name] = tensors[name].bfloat16()

    model = quietly(LM, rewrite(folder, mix))
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert apart(model(IDS).logits, small()(IDS).logits) < 0.5


@pytest.mark.parametrize("given", ["cpu", torch.device("cpu"), {"": "cpu"}])
def test_a_device(given: object, folder: Path) -> None:
    assert quietly(LM, folder, device_map=given).device.type == "cpu"
    assert quietly(LM, folder, device=torch.device("cpu")).device.type == "cpu"


def test_the_accelerator_where_there_is_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ogpt.model.loading import as_device

    assert quietly(LM, folder, device_map="auto").device.type in ("cpu", "cuda", "mps", "xpu")
    monkeypatch.setattr(
        torch.accelerator, "current_accelerator", lambda check_available: torch.device("cuda", 0)
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert as_device("auto") == torch.device("cuda", 0)
    assert as_device(1) == as_device({"": 1}) == torch.device("cuda", 1)


def test_devices_that_are_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="device is 'gpu'; allowed: cpu, cuda") as caught:
        LM.from_pretrained(folder, device="gpu")
    assert "auto" in caught.value.hint
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(
        ConfigError, match="device is 'cuda'; this machine has no CUDA device"
    ) as caught:
        LM.from_pretrained(folder, device="cuda")
    assert "cpu" in caught.value.hint


def test_dtypes_without_arithmetic(folder: Path) -> None:
    with pytest.raises(ConfigError, match="dtype is 'float8_e4m3fn'; allowed: float32"):
        LM.from_pretrained(folder, dtype="float8_e4m3fn")


def test_configurations_of_another_kind() -> None:
    with pytest.raises(ConfigError, match="the configuration is a dict; allowed: ogpt") as bad:
        LM({"n_layer": 1})
    assert "from_dict" in bad.value.hint


def test_an_embedding_of_another_shape() -> None:
    model = small()
    with pytest.raises(ConfigError, match=r"the embedding has the shape \(3, 4\); allowed") as bad:
        model.set_input_embeddings(torch.nn.Embedding(3, 4))
    assert "of its width" in bad.value.hint


def test_pickles_are_not_written(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path, safe_serialization=True)
    with pytest.raises(ConfigError, match="safe_serialization is False; allowed: True") as caught:
        small().save_pretrained(tmp_path, safe_serialization=False)
    assert "pickles" in caught.value.hint


def test_several_devices(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"device_map is \{'h': 0, 'score': 1\}; allowed: one"):
        LM.from_pretrained(folder, device_map={"h": 0, "score": 1})
    with pytest.raises(ConfigError, match=r"device_map is 1\.5") as caught:
        LM.from_pretrained(folder, device=1.5)
    assert "one device" in caught.value.hint


def test_attention_and_arguments_without_effect(folder: Path) -> None:
    assert quietly(LM, folder, attn_implementation="eager").attn_implementation == "eager"
    with pytest.raises(ConfigError, match="attn_implementation is 'x'"):
        LM.from_pretrained(folder, attn_implementation="x")
    with collecting() as notices:
        LM.from_pretrained(folder, low_cpu_mem_usage=True, proxies=None)
    assert [notice.kind for notice in notices] == ["setting-without-effect"] * 2


@pytest.mark.parametrize("bad", [0, -1, "5 parsecs", "GB", 1.5])
def test_a_shard_size_that_is_none(bad: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is .*; allowed: bytes") as caught:
        small().save_pretrained(tmp_path / "out", max_shard_size=bad)
    assert "max_shard_size" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_what_an_earlier_save_left_goes(tmp_path: Path) -> None:
    small(seed=1).save_pretrained(tmp_path, max_shard_size=4000)
    small(seed=2).save_pretrained(tmp_path)
    assert not list(tmp_path.glob("model-*"))
    assert torch.equal(LM.from_pretrained(tmp_path)(IDS).logits, small(seed=2)(IDS).logits)


def test_a_model_is_pushed_as_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def push_folder(folder: str, repo_id: str, **options: object) -> str:
        assert torch.equal(LM.from_pretrained(folder)(IDS).logits, small()(IDS).logits)
        assert options.pop("variant") is None
        return f"{repo_id} {options}"

    monkeypatch.setattr("ogpt.model.pretrained.push_folder", push_folder)
    assert small().push_to_hub("me/mine", private=True) == "me/mine {'private': True}"


# generation_config.json


@pytest.mark.parametrize("kind", [LM, OpenAIGPTDoubleHeadsModel])
def test_generation_settings_travel(kind: Kind, tmp_path: Path) -> None:
    model = small(kind, eos_token_id=3)
    model.generation_config = {"max_new_tokens": 2}
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "generation_config.json").read_text())
    assert written == {"eos_token_id": 3, "max_new_tokens": 2}
    loaded = quietly(kind, tmp_path)
    assert loaded.generation_config.to_diff_dict() == written
    assert loaded.generate(IDS).shape[1] <= 8
    small(OpenAIGPTModel).save_pretrained(tmp_path / "bare")
    assert not (tmp_path / "bare" / "generation_config.json").exists()


def test_the_private_keys_of_transformers_are_left_out(folder: Path) -> None:
    values = {"_from_model_config": True, "max_length": 9}
    (folder / "generation_config.json").write_text(json.dumps(values))
    assert quietly(LM, folder).generation_config.to_diff_dict() == {"max_length": 9}
    (folder / "generation_config.json").unlink()
    assert quietly(LM, folder).generation_config.to_diff_dict() == {}


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff", b'{"a": ' + b"[" * 10**5])
def test_damaged_generation_settings(text: bytes, folder: Path) -> None:
    (folder / "generation_config.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=r"generation_config\.json is damaged") as caught:
        LM.from_pretrained(folder)
    assert "delete it" in caught.value.hint


# memory

MEASURE = """
import sys
from pathlib import Path
from ogpt.model.heads import OpenAIGPTLMHeadModel as Model

def status(name):  # bytes; ru_maxrss would count what the parent process holds
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

Model.from_pretrained(sys.argv[1])  # so that all code is loaded
before = status("VmRSS")
model = Model.from_pretrained(sys.argv[2], dtype=sys.argv[3])
size = sum(p.numel() * p.element_size() for p in model.parameters())
print((status("VmHWM") - before) / size)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_load_peaks_at_the_models_size(folder: Path, tmp_path: Path) -> None:
    model = LM(OpenAIGPTConfig())  # GPT-1: 466 MB
    model.save_pretrained(tmp_path / "whole")
    model.save_pretrained(tmp_path / "sharded", max_shard_size="100MB")
    (tmp_path / "bin").mkdir()
    shutil.copy(tmp_path / "whole" / "config.json", tmp_path / "bin")
    torch.save(model.state_dict(), tmp_path / "bin" / "pytorch_model.bin")
    del model
    for name in ("whole", "sharded", "bin"):
        for dtype in ("auto", "bfloat16"):
            command = [sys.executable, "-c", MEASURE, str(folder), str(tmp_path / name), dtype]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            assert 0.9 < float(done.stdout) < 1.2, (name, dtype)
