"""Checkpoints of models inside torch.compile or DistributedDataParallel are those of the models."""

from pathlib import Path

import numpy as np
import pytest
import torch

import ogpt
from ogpt.weights.arrays import Array
from ogpt.weights.model_weights import open_weights
from ogpt.weights.safetensors_file import open_safetensors, write_arrays
from ogpt.weights.wrappers import unwrapped

PREFIXES = ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."]


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    config = ogpt.OpenAIGPTConfig(vocab_size=7, n_positions=8, n_embd=8, n_head=2, n_layer=1)
    ogpt.OpenAIGPTDoubleHeadsModel(config).save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


def wrapped(plain: Path, prefix: str, out: Path, kind: str) -> Path:
    out.mkdir()
    (out / "config.json").write_bytes((plain / "config.json").read_bytes())
    arrays = open_weights(plain)
    if kind == "bin":
        tensors = {f"{prefix}{n}": torch.from_numpy(arrays[n].data.copy()) for n in arrays}
        torch.save(tensors, out / "pytorch_model.bin")
    else:
        write_arrays(out / "model.safetensors", {f"{prefix}{n}": arrays[n] for n in arrays})
    return out


@pytest.mark.parametrize("kind", ["bin", "safetensors"])
@pytest.mark.parametrize("prefix", PREFIXES)
def test_loaded(plain: Path, tmp_path: Path, prefix: str, kind: str) -> None:
    folder = wrapped(plain, prefix, tmp_path / "wrapped", kind)
    wanted = ogpt.OpenAIGPTDoubleHeadsModel.from_pretrained(plain).state_dict()
    model, report = ogpt.OpenAIGPTDoubleHeadsModel.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    assert all(torch.equal(weight, wanted[name]) for name, weight in model.state_dict().items())


def test_saved_by_torch_itself(plain: Path, tmp_path: Path) -> None:
    model = ogpt.OpenAIGPTDoubleHeadsModel.from_pretrained(plain)
    wrapper = torch.nn.DataParallel(torch.compile(model))
    assert all(name.startswith("module._orig_mod.") for name in wrapper.state_dict())
    (tmp_path / "config.json").write_bytes((plain / "config.json").read_bytes())
    torch.save(wrapper.state_dict(), tmp_path / "pytorch_model.bin")
    again = ogpt.OpenAIGPTDoubleHeadsModel.from_pretrained(tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )


def test_converted(plain: Path, tmp_path: Path) -> None:
    folder = wrapped(plain, "module._orig_mod.", tmp_path / "wrapped", "bin")
    made = ogpt.convert(folder, tmp_path / "made")
    assert made.architecture == "OpenAIGPTDoubleHeadsModel"
    wanted, found = open_weights(plain), open_safetensors(made.folder / "model.safetensors")
    assert set(found) == set(wanted)
    assert all(np.array_equal(found[name].data, wanted[name].data) for name in wanted)
    assert made.renamed == {f"module._orig_mod.{name}": name for name in wanted}
    file = folder / "pytorch_model.bin"
    alone = ogpt.convert(file, tmp_path / "alone", config=plain / "config.json")
    assert alone.renamed == made.renamed


def test_names_that_would_become_equal_stay() -> None:
    one = Array("float32", np.zeros(1, np.float32))
    both = {"h.0.ln_1.weight": one, "module.h.0.ln_1.weight": one}
    assert unwrapped(both) is both
    assert unwrapped({}) == {}
