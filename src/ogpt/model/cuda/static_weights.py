"""The weights of a language model as the static decoder reads them: data without functions.

Each matrix is (out, in), all in one dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import MLP, OpenAIGPTModel

PRECISIONS = ("float32", "bfloat16", "int8")
"""Dtypes of the matrices. int8 has a scale for each row, and is multiplied in bfloat16."""

_STEPS = 127  # largest int8; -128 is not used, so that the range is symmetric


class Linear(NamedTuple):
    """A linear layer."""

    weight: Tensor
    """(out, in), contiguous; in the dtype of the arithmetic, or int8."""
    bias: Tensor | None
    """(out,)."""
    scale: Tensor | None = None
    """(out,), float32: weight = int8 * scale, for each row."""


class Norm(NamedTuple):
    """A layer norm."""

    weight: Tensor
    bias: Tensor


class Layer(NamedTuple):
    """The weights of a block."""

    into: Linear
    """(3 C, C): queries, keys and values."""
    out_of: Linear
    """(C, C): the output projection of attention."""
    norm_1: Norm
    up: Linear
    """(4 C, C)."""
    down: Linear
    """(C, 4 C)."""
    norm_2: Norm


class Weights(NamedTuple):
    """All weights of a model."""

    tokens: Tensor
    """(V, C): the token embedding."""
    positions: Tensor
    """(n_positions, C): the position embedding."""
    layers: tuple[Layer, ...]
    head: Linear
    """(V, C)."""
    n_head: int
    epsilon: float
    activation: Callable[[Tensor], Tensor]


def unfit(config: OpenAIGPTConfig) -> str:
    """Why the static decoder cannot run the model; empty where it can."""
    if isinstance(config, LSTMConfig):
        return config.only_ogpt
    if config.pruned_heads:
        return "pruned heads are not supported"
    if config.parity.masking != "boolean":
        return f"additive masks are not supported (parity.masking is {config.parity.masking!r})"
    return ""


@torch.no_grad()
def gather_weights(model: OpenAIGPTLMHeadModel, precision: str) -> Weights:
    """The weights of a model that is not `unfit`, on the device that the model is on now.

    Args:
        model: In float32, bfloat16 or float16. For int8 use float32: weights in bfloat16 would be
            rounded twice.
        precision: One of PRECISIONS.
    """
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    rounded = precision == "int8"

    def linear(weight: Tensor, bias: Tensor | None = None) -> Linear:
        bias = None if bias is None else bias.detach().to(dtype)
        if not rounded:
            return Linear(weight.detach().to(dtype).contiguous(), bias)
        steps, scale = round_rows(weight)
        return Linear(steps, bias, scale)

    def conv(layer: nn.Module) -> Linear:  # a Conv1D, (in, out)
        assert isinstance(layer.weight, Tensor)
        assert isinstance(layer.bias, Tensor)
        return linear(layer.weight.t(), layer.bias)

    def norm(layer: nn.Module) -> Norm:
        assert isinstance(layer.weight, Tensor)
        assert isinstance(layer.bias, Tensor)
        return Norm(layer.weight.detach().to(dtype), layer.bias.detach().to(dtype))

    transformer = model.transformer
    assert isinstance(transformer, OpenAIGPTModel)  # an LSTM is unfit
    layers = []
    for block in transformer.h:
        part = block.get_submodule
        layers.append(
            Layer(
                into=conv(part("attn.c_attn")),
                out_of=conv(part("attn.c_proj")),
                norm_1=norm(part("ln_1")),
                up=conv(part("mlp.c_fc")),
                down=conv(part("mlp.c_proj")),
                norm_2=norm(part("ln_2")),
            )
        )
    tokens = transformer.tokens_embed.weight.detach().to(dtype)
    tied = model.lm_head.weight is transformer.tokens_embed.weight
    mlp = transformer.h[0].get_submodule("mlp")
    assert isinstance(mlp, MLP)
    return Weights(
        tokens=tokens,
        positions=transformer.positions_embed.weight.detach().to(dtype),
        layers=tuple(layers),
        head=Linear(tokens, None) if tied and not rounded else linear(model.lm_head.weight),
        n_head=model.config.n_head,
        epsilon=model.config.layer_norm_epsilon,
        activation=mlp.act,
    )


def round_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row of a matrix (out, in) to int8; return the rows and their scales (out,)."""
    wide = weight.float()
    largest = wide.abs().amax(1)
    scale = torch.where(largest > 0, largest / _STEPS, 1.0)
    steps = (wide / scale[:, None]).round().to(torch.int8)
    return steps.contiguous(), scale
