"""accelerate with both doors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import convert_outputs_to_fp32

import ogpt
from ogpt.integrations import transformers as door
from ogpt.notices import collecting
from tests.ecosystem import small

LIBRARY = "accelerate"


def made(own: bool) -> Any:
    torch.manual_seed(0)
    if own:
        return ogpt.OpenAIGPTLMHeadModel(small.config().own)
    return door.OpenAIGPTLMHeadModel(small.config())


@pytest.mark.parametrize("own", [True, False], ids=["ogpt", "integration"])
def test_train_gather_and_save(own: bool, tmp_path: Path) -> None:
    """prepare, backward, gather_for_metrics, and save_pretrained of an unwrapped model."""
    accelerator = Accelerator(cpu=True)
    model = made(own)
    model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-2))
    out = model(small.IDS, labels=small.IDS)
    accelerator.backward(out.loss)
    optimizer.step()
    gathered = accelerator.gather_for_metrics(dict(model(small.IDS)))
    assert gathered["logits"].shape == (2, 6, 50)
    whole = accelerator.gather(model(small.IDS))
    torch.testing.assert_close(whole["logits"], gathered["logits"])
    with collecting() as notices:
        accelerator.unwrap_model(model).save_pretrained(
            tmp_path,
            is_main_process=accelerator.is_main_process,
            save_function=accelerator.save,
            state_dict=accelerator.get_state_dict(model),
        )
    assert [notice.fields["setting"] for notice in notices] == ["save_function"] * own
    again = ogpt.OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
    torch.testing.assert_close(again(small.IDS).logits, model.eval()(small.IDS).logits)


@pytest.mark.parametrize("own", [True, False], ids=["ogpt", "integration"])
def test_outputs_in_float32(own: bool) -> None:
    """Outputs of a bfloat16 model are converted to float32, as mappings."""
    model = made(own).to(torch.bfloat16)
    model.forward = convert_outputs_to_fp32(model.forward)
    out = model(small.IDS, labels=small.IDS)
    assert isinstance(out, dict)
    assert out["logits"].dtype == torch.float32
