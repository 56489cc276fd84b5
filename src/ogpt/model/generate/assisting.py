"""What callers pass to help or restrict generate(): an assistant, a function of allowed tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ogpt.config.described import descriptions
from ogpt.errors import SamplingError
from ogpt.generation.choosing.arguments import Arguments
from ogpt.generation.choosing.drafting import Drafting
from ogpt.generation.choosing.generation_config import by_name
from ogpt.generation.searching.assistant import Assistant, check_assisted
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.generate.prompts import Prompts
from ogpt.model.language_model import LanguageModel

AllowedTokens = Callable[[int, Tensor], Sequence[int]]
"""A function of (number of the prompt, ids of a row so far (T,)) that returns the ids allowed
next."""


def allowed_ids(
    allowed: AllowedTokens, device: torch.device
) -> Callable[[int, Sequence[int]], Sequence[int]]:
    """A caller's function of tensors as a function of lists."""
    return lambda prompt, ids: allowed(prompt, torch.tensor(list(ids), device=device))


def drafting_of(assistant_model: Any) -> dict[str, Any]:
    """The arguments of drafting in an assistant's own generation configuration."""
    if assistant_model is None:
        return {}
    names = descriptions(Drafting)
    own = by_name(getattr(assistant_model, "generation_config", None))
    return {name: value for name, value in own.items() if name in names}


def assistant_of(
    assistant_model: Any, batch: Prompts, asked: Arguments, vocab_size: int
) -> Assistant | None:
    """What drafts tokens; None without an assistant.

    Args:
        assistant_model: As passed to generate.
        batch: The prompts.
        asked: The arguments of the call.
        vocab_size: V of the model.

    Raises:
        SamplingError: not a language model of ogpt, another vocabulary, another search than greedy
            search and sampling, or prompts that are more than token ids.
    """
    if assistant_model is None:
        return None
    settings = asked.settings
    if not isinstance(assistant_model, LanguageModel):
        raise SamplingError(
            f"assistant_model is {type(assistant_model).__name__}; allowed: a language model of "
            "ogpt",
            hint="load it with OpenAIGPTLMHeadModel.from_pretrained",
        )
    check_assisted(settings, vocab_size, assistant_model.config.vocab_size)
    if not all(prompt.plain for prompt in batch.rows):
        raise SamplingError(
            "the prompts have embeddings, token types or positions; allowed with assistant_model: "
            "token ids alone",
            hint="omit assistant_model",
        )
    decoder = TorchDecoder(assistant_model, 1)
    return Assistant(decoder, settings, asked.drafting)
