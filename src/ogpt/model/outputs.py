"""What the models return: attribute, key and tuple access; what was not asked for is left out."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from ogpt.model.cache import KVCache


class ModelOutput:
    """Base of the outputs: `out.logits`, `out["logits"]`, `out[0]` and `out.to_tuple()`."""

    def to_tuple(self) -> tuple[Any, ...]:
        """The parts that are there, in order."""
        parts = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]  # each subclass is a dataclass
        return tuple(part for part in parts if part is not None)

    def __getitem__(self, key: str | int | slice) -> Any:
        """A part by name, or by its place among the parts that are there."""
        return getattr(self, key) if isinstance(key, str) else self.to_tuple()[key]


@dataclass
class BaseModelOutput(ModelOutput):
    """Of OpenAIGPTModel."""

    last_hidden_state: Tensor
    """(B, T, C)."""
    past_key_values: KVCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    """n_layer + 1 of (B, T, C): the embeddings, then each block."""
    attentions: tuple[Tensor, ...] | None = None
    """n_layer of (B, n_head, T, S)."""


@dataclass
class CausalLMOutput(ModelOutput):
    """Of OpenAIGPTLMHeadModel."""

    loss: Tensor | None = None
    """(), float32, mean over the labels that count."""
    logits: Tensor | None = None
    """(B, T or kept, V)."""
    past_key_values: KVCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
