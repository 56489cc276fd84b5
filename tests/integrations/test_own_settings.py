"""ogpt's own settings in the generate() of the integration, from the file and from the call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import ogpt
from ogpt.integrations.transformers import OpenAIGPTLMHeadModel
from tests.integrations.small import IDS, built, small

MASK = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
ALLOWED = list(range(3, 12))
SETTINGS: list[dict[str, Any]] = [
    {"frequency_penalty": 2.0},
    {"presence_penalty": 2.0, "repetition_penalty": 1.5},
    {"allowed_token_ids": ALLOWED, "frequency_penalty": 1.0, "forced_eos_token_id": 20},
]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_text_is_that_of_our_class(
    settings: dict[str, Any], beams: int, tmp_path: Path
) -> None:
    own = built(ogpt.OpenAIGPTLMHeadModel, small(initializer_range=0.3).own)
    asked: dict[str, Any] = {"attention_mask": MASK, "num_beams": beams, "do_sample": False}
    asked["max_new_tokens"] = 10
    plain = own.generate(IDS, **asked).tolist()
    own.generation_config = ogpt.GenerationConfig(**settings)
    own.save_pretrained(tmp_path)
    expected = own.generate(IDS, **asked).tolist()
    assert expected != plain
    model = OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
    assert model.generate(IDS, **asked).tolist() == expected
    config = transformers.GenerationConfig(
        max_new_tokens=10, num_beams=beams, do_sample=False, pad_token_id=0
    )
    found = model.generate(IDS, attention_mask=MASK, generation_config=config)
    assert found.tolist() == expected
    by_call = built(OpenAIGPTLMHeadModel, small(initializer_range=0.3))
    assert by_call.generate(IDS, **asked).tolist() == plain
    assert by_call.generate(IDS, **asked, **settings).tolist() == expected


def test_drafts_of_an_assistant_change_nothing() -> None:
    model = built(OpenAIGPTLMHeadModel, small(initializer_range=0.3))
    asked = {"attention_mask": MASK[1:], "do_sample": False, "frequency_penalty": 2.0}
    asked["max_new_tokens"] = 10
    expected = model.generate(IDS[1:], **asked).tolist()
    for drafting in ({"assistant_model": model}, {"prompt_lookup_num_tokens": 3}):
        assert model.generate(IDS[1:], **asked, **drafting).tolist() == expected


def test_a_seed_is_told(tmp_path: Path) -> None:
    own = built(ogpt.OpenAIGPTLMHeadModel, small().own)
    own.generation_config = ogpt.GenerationConfig(seed=3, do_sample=True, max_new_tokens=2)
    own.save_pretrained(tmp_path)
    model = OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
    for options, told in (({}, ["seed"]), ({"do_sample": False}, [])):
        with ogpt.notices.collecting() as notices:
            model.generate(IDS, attention_mask=MASK, **options)
        assert [notice.fields["setting"] for notice in notices] == told


def test_a_value_outside_its_range_is_refused() -> None:
    model = built(OpenAIGPTLMHeadModel, small())
    with pytest.raises(ogpt.errors.SamplingError, match="frequency_penalty is 3"):
        model.generate(IDS, attention_mask=MASK, max_new_tokens=2, frequency_penalty=3)
