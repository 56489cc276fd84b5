"""torchao quantizes the layers of a model."""

from typing import Any

import pytest
import torch
from torchao.quantization import Int8WeightOnlyConfig

from ogpt.integrations import transformers as door
from ogpt.integrations.torchao import TransposedLinear, quantize
from tests.ecosystem import small

LIBRARY = "torchao"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("own", [False, True])
def test_layers_are_quantized(own: bool) -> None:
    """Int8WeightOnlyConfig quantizes every layer of both kinds of class; the logits stay near."""
    kind: Any = door.OpenAIGPTLMHeadModel
    model = small.model(kind, n_embd=64, initializer_range=0.1)
    if own:
        weights = model.state_dict()
        model = kind.network_class(model.config.own).eval()
        model.load_state_dict(weights)
    with torch.no_grad():
        expected = model(small.IDS).logits
        found = quantize(model, Int8WeightOnlyConfig())(small.IDS).logits
    layers = [one for one in model.modules() if isinstance(one, TransposedLinear)]
    assert len(layers) == 8
    assert all(type(one.weight.data) is not torch.Tensor for one in layers)
    error = (found - expected).norm() / expected.norm()
    assert 1e-5 < error < 0.05
