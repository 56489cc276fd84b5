"""Small models for the native decoder, and what it makes of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.tensors import array_of
from ogpt.weights.arrays import Array
from tests.model.parity import random_model

DTYPES = ("float32", "bfloat16", "int8", "int4")
SIZES: dict[str, Any] = {"n_positions": 40, "vocab_size": 131, "n_embd": 48, "n_head": 3}


def small_model(seed: int = 3, **changes: Any) -> OpenAIGPTLMHeadModel:
    model: OpenAIGPTLMHeadModel = random_model(seed, **{**SIZES, "n_layer": 2, **changes})
    return model


def arrays_of(model: OpenAIGPTLMHeadModel) -> dict[str, Array]:
    return {name: array_of(tensor) for name, tensor in model.stored_tensors().items()}


def native(model: OpenAIGPTLMHeadModel, **options: Any) -> NativeDecoder:
    return NativeDecoder(model.config, arrays_of(model), **options)


def random_ids(count: int, vocab_size: int, seed: int = 0) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(0, vocab_size, count).tolist()
    return ids


def relative(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Largest difference in units of the largest number."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())
