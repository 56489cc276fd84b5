"""transformers' generate() over the KV cache of ogpt's network, with the settings of ogpt."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.generation import GenerationMode

from ogpt.integrations.own_settings import OWN_SETTINGS, add_own_settings
from ogpt.model.cache import KVCache
from ogpt.notices import tell

_BY_MASK = ("cache_position", "position_ids")
"""Inputs of transformers' models that the network finds by the mask and the cache."""


def _as_found(positions: Tensor, mask: Tensor | None) -> bool:
    """Whether positions are those that the network finds by the mask, as an assistant gets them."""
    kept = torch.ones_like(positions) if mask is None else mask
    if positions.shape[-1] != kept.shape[-1]:
        return False
    return not ((kept.cumsum(-1) - 1 - positions) * kept).any()


class _DraftCache(KVCache):
    """A cache from which speculation takes refused tokens, by the calls of transformers 5."""

    def activate_past_recording(self) -> None:
        """Allow `crop`, which is always possible."""

    def crop(self, max_length: int) -> None:
        """Truncate every row, or remove -max_length tokens from it: 0 removes none here."""
        if max_length:
            super().crop(max_length)


class OwnCacheGeneration:
    """Lets transformers' generate() use the KV cache of the network, and ogpt's own settings."""

    config: Any

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # the network makes its own cache

    def _prepare_cache_for_generation(
        self, generation_config: Any, model_kwargs: Any, mode: Any, batch_size: int, length: int
    ) -> None:
        super()._prepare_cache_for_generation(
            generation_config, model_kwargs, mode, batch_size, length
        )
        speculates = mode == GenerationMode.ASSISTED_GENERATION or generation_config.is_assistant
        given = model_kwargs.get("past_key_values")
        if speculates and given is None and generation_config.use_cache is not False:
            # version 5 asks for a cache before the first step, and crops it by its own rule
            own: Any = self
            cache = _DraftCache(own.config.own, batch_size, own.dtype, own.device)
            model_kwargs["past_key_values"] = cache

    def generate(self, *inputs: Any, **kwargs: Any) -> Any:
        """Continue prompts, with the arguments and results of transformers."""
        positions, mask = kwargs.pop("position_ids", None), kwargs.get("attention_mask")
        if positions is not None and not _as_found(positions, mask):
            reason = "the network finds positions by attention_mask"
            tell("setting-without-effect", setting="position_ids", reason=reason)
        return super().generate(*inputs, **kwargs)

    def _prepare_generation_config(self, *inputs: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        own = {name: kwargs.pop(name) for name in OWN_SETTINGS if name in kwargs}
        asked, rest = super()._prepare_generation_config(*inputs, **kwargs)
        for name, value in own.items():  # transformers refuses names that it does not know
            setattr(asked, name, value)
        return asked, rest

    def _get_logits_processor(
        self, generation_config: Any, input_ids_seq_length: int, **options: Any
    ) -> Any:
        found = super()._get_logits_processor(generation_config, input_ids_seq_length, **options)
        vocab_size = self.config.vocab_size
        add_own_settings(found, generation_config, input_ids_seq_length, vocab_size)
        return found

    def prepare_inputs_for_generation(self, *inputs: Any, **kwargs: Any) -> dict[str, Any]:
        """The arguments of the next call of the network; generate() looks for the name kwargs."""
        found: dict[str, Any] = super().prepare_inputs_for_generation(*inputs, **kwargs)
        return {name: value for name, value in found.items() if name not in _BY_MASK}
