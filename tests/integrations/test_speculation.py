"""transformers' speculation with two models of the integration: the text of the larger one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ogpt.integrations.transformers import OpenAIGPTDoubleHeadsModel, OpenAIGPTLMHeadModel
from tests.integrations.small import IDS, built, small


def lengths_of(model: Any) -> list[int]:
    """The numbers of tokens of each pass of a model, from now on."""
    found: list[int] = []
    model.transformer.h[0].register_forward_hook(
        lambda block, given, out: found.append(given[0].shape[1])
    )
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", [OpenAIGPTLMHeadModel, OpenAIGPTDoubleHeadsModel])
def test_the_text_is_that_of_the_larger_model(kind: Any, seed: int) -> None:
    model = built(kind, small(initializer_range=0.3, n_positions=32))
    assistant = built(kind, small(initializer_range=0.3, n_positions=32, n_layer=1))
    assistant.transformer.tokens_embed = model.transformer.tokens_embed  # some drafts are right
    assistant.tie_weights()
    torch.manual_seed(seed)
    prompt = torch.randint(1, 50, (1, 6))
    asked: dict[str, Any] = {"max_new_tokens": 16, "do_sample": False, "pad_token_id": 0}
    asked["attention_mask"] = torch.ones_like(prompt)
    expected = model.generate(prompt, **asked)
    read = lengths_of(assistant)
    assert model.generate(prompt, assistant_model=assistant, **asked).tolist() == expected.tolist()
    assert read[0] >= 6
    assert max(read[len(read) // 2 :]) < 6  # later drafts use the cache


def test_the_prompt_serves_as_draft() -> None:
    model = built(OpenAIGPTLMHeadModel, small(initializer_range=0.3, n_positions=32))
    prompt = IDS[:1].repeat(1, 2)
    asked: dict[str, Any] = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    asked["attention_mask"] = torch.ones_like(prompt)
    expected = model.generate(prompt, **asked)
    # version 4 needs an end token for it
    found = model.generate(prompt, prompt_lookup_num_tokens=2, eos_token_id=50, **asked)
    assert found.tolist() == expected.tolist()
