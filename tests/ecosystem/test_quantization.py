"""Quantization by other libraries, through the integration."""

from __future__ import annotations

from pathlib import Path

import bitsandbytes
import pytest
import torch
from transformers import BitsAndBytesConfig

from ogpt.integrations import transformers as door
from tests.ecosystem import small

LIBRARY = "bitsandbytes"


@pytest.mark.parametrize("bits", [8, 4])
def test_layers_are_quantized(bits: int, tmp_path: Path) -> None:
    """load_in_8bit and load_in_4bit quantize every layer; the logits stay near."""
    sizes = {"n_embd": 64, "initializer_range": 0.1}
    model = small.model(door.OpenAIGPTLMHeadModel, **sizes)
    model.save_pretrained(tmp_path)
    asked = BitsAndBytesConfig(**{f"load_in_{bits}bit": True})
    narrow = door.OpenAIGPTLMHeadModel.from_pretrained(
        tmp_path, quantization_config=asked, device_map="cpu"
    ).eval()
    wanted = bitsandbytes.nn.Linear8bitLt if bits == 8 else bitsandbytes.nn.Linear4bit
    layers = {
        name.rpartition(".")[2]: module.weight.dtype
        for name, module in narrow.named_modules()
        if isinstance(module, wanted)
    }
    assert set(layers) == {"c_attn", "c_proj", "c_fc"}
    assert set(layers.values()) == {torch.int8 if bits == 8 else torch.uint8}
    with torch.no_grad():
        expected, found = model(small.IDS).logits, narrow(small.IDS).logits.float()
    error = (found - expected).norm() / expected.norm()
    assert 1e-5 < error < (0.05 if bits == 8 else 0.3)
