"""Packs linear layers for oneDNN, whose products are twice as fast as torch's general ones.

For inference on a CPU only: a packed model can no longer be trained or saved.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import Conv1D, OpenAIGPTModel

# oneDNN chooses the layout for a number of rows; this one is fast for 1 token and for long prompts.
_ROWS = 32


class PackedLinear(nn.Module):
    """A linear layer over a packed weight."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        # the operator that torch.compile uses for oneDNN; torch has no public name for it
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")
        return out


def pack_weights(model: OpenAIGPTLMHeadModel) -> OpenAIGPTLMHeadModel:
    """Replace the linear layers of a CPU model by packed ones, if oneDNN supports the dtype."""
    if not _can_pack(model):
        return model
    network = model.transformer
    blocks = network.h if isinstance(network, OpenAIGPTModel) else ()  # torch packs its LSTM itself
    with torch.no_grad():
        for block in blocks:
            for parent in (block.get_submodule("attn"), block.get_submodule("mlp")):
                for name, layer in list(parent.named_children()):
                    assert isinstance(layer, Conv1D)
                    setattr(parent, name, PackedLinear(layer.weight.t(), layer.bias))
        model.lm_head = PackedLinear(model.lm_head.weight, None)  # type: ignore[assignment]  # stands in
    return model


def _can_pack(model: OpenAIGPTLMHeadModel) -> bool:
    if model.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch's
        return False
    if model.dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return model.dtype == torch.float32
