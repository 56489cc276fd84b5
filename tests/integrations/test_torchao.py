"""Layers that torchao can quantize compute the same, and cannot be saved by mistake."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils.quantization_config import QuantizationConfigMixin, QuantizationMethod

from ogpt.errors import BackendMissing, ConfigError
from ogpt.integrations import transformers as door
from ogpt.integrations.torchao import TransposedLinear, linear_layers, quantize
from tests.integrations.small import CLASSES, IDS, built, small


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("own", [False, True])
def test_linear_layers_compute_the_same(kind: Any, own: bool) -> None:
    config = small(initializer_range=0.3)
    model = built(kind.network_class, config.own) if own else built(kind, config)
    expected = model(IDS)[0]
    layers = [one for one in linear_layers(model).modules() if isinstance(one, TransposedLinear)]
    assert len(layers) == 4 * 2
    torch.testing.assert_close(model(IDS)[0], expected)
    layers[1].weight.data = layers[1].weight.data.t()  # c_proj of attention, untransposed
    assert (model(IDS)[0] - expected).abs().max() > 1e-3


@pytest.mark.parametrize("own", [False, True])
def test_they_are_not_saved(own: bool, tmp_path: Path) -> None:
    kind: Any = door.OpenAIGPTModel
    model = built(kind.network_class, small().own) if own else built(kind, small())
    with pytest.raises(ConfigError, match="transposed and not saved"):
        linear_layers(model).save_pretrained(tmp_path / "saved")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_transformers_torchao_would_do_nothing(tmp_path: Path) -> None:
    built(door.OpenAIGPTModel, small()).save_pretrained(tmp_path)
    asked = QuantizationConfigMixin(QuantizationMethod.TORCHAO)
    for form in (asked, {"quant_method": "torchao"}):
        with pytest.raises(ConfigError, match="quantizes no layer"):
            door.OpenAIGPTModel.from_pretrained(tmp_path, quantization_config=form)


def test_without_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(BackendMissing, match="torchao"):
        quantize(built(door.OpenAIGPTModel, small()), None)
