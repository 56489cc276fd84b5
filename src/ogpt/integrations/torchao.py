"""Quantize a model with torchao, which knows nn.Linear alone.

torchao, also through transformers' TorchAoConfig, skips each Conv1D without a word, so that nothing
of GPT-1 would be quantized. Here they become nn.Linear first.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from ogpt.errors import BackendMissing, ConfigError
from ogpt.model.transformer import Conv1D

ModelType = TypeVar("ModelType", bound=nn.Module)


class TransposedLinear(nn.Linear):
    """A Conv1D as nn.Linear; its weight is no longer in the layout of GPT-1's files."""

    def __init__(self, layer: nn.Module) -> None:
        nn.Module.__init__(self)
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        self.in_features, self.out_features = weight.shape
        self.weight = nn.Parameter(weight.detach().t().contiguous(), weight.requires_grad)
        self.bias = bias

    def _save_to_state_dict(self, *_: Any) -> None:
        # the square weight of attention's c_proj would load again, and compute garbage
        raise ConfigError(
            "the model has layers for torchao, whose weights are transposed and not saved",
            hint="save the model before quantizing it; `ogpt quantize` writes a quantized folder",
        )


def linear_layers(model: ModelType) -> ModelType:
    """Replace each Conv1D by an nn.Linear that computes the same, in place.

    Args:
        model: Any PyTorch model of ogpt, or of `ogpt.integrations.transformers`. It cannot be saved
            afterwards.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            # the integration's Conv1D is transformers' type with our forward
            if getattr(type(child), "forward", None) is Conv1D.forward:
                setattr(module, name, TransposedLinear(child))
    return model


def quantize(model: ModelType, config: Any) -> ModelType:
    """Quantize the four linear layers of each block with torchao, in place.

    The embedding, which is the output layer too, stays as it is.

    Args:
        model: As in linear_layers, in evaluation mode.
        config: Of `torchao.quantization`, such as Int8WeightOnlyConfig().

    Raises:
        BackendMissing: torchao is not installed.
    """
    try:
        from torchao.quantization import quantize_  # type: ignore[import-not-found]  # optional
    except ImportError as error:
        raise BackendMissing(
            f"quantizing with torchao needs the package: {error}", hint="pip install torchao"
        ) from error
    with torch.no_grad():
        quantize_(
            linear_layers(model),
            config,
            filter_fn=lambda module, _: isinstance(module, TransposedLinear),
        )
    return model
