"""Activation functions of the MLP and of the summary."""

from __future__ import annotations

import math
from collections.abc import Callable

from keras import ops

from ogpt.tf.tensors import Tensor


# GPT-1 was trained with the tanh approximation (2018 code: train.py, gelu()), not with erf.
# The difference is small per layer, but it shows up in logit comparisons.
def tanh_gelu(x: Tensor) -> Tensor:
    """The tanh approximation of GELU; TensorFlow's own has a constant in float32."""
    return 0.5 * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def erf_gelu(x: Tensor) -> Tensor:
    """The exact GELU."""
    return ops.gelu(x, approximate=False)


ACT_FNS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": tanh_gelu,
    "gelu_new": tanh_gelu,
    "relu": ops.relu,
    "silu": ops.silu,
    "swish": ops.silu,
}
"""Those of `config.afn`."""

SUMMARY_FNS: dict[str, Callable[[Tensor], Tensor]] = {
    **ACT_FNS,
    "gelu": erf_gelu,  # Hugging Face's general names: here, unlike in afn, the exact function
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
}
"""Those of `config.summary_activation`."""
