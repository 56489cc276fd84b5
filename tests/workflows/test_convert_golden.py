"""Folders that transformers 4.57.6 and 5.23.0 wrote, converted: transformers reads the results."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import ogpt
from ogpt.weights.model_weights import open_weights
from ogpt.weights.names import stored_names
from ogpt.workflows.convert import convert

GOLDEN = Path(__file__).parents[1] / "golden"
FOLDERS = sorted(
    file.parent.relative_to(GOLDEN).as_posix()
    for file in GOLDEN.glob("transformers_*/**/config.json")
)
IDS = torch.tensor([[1, 5, 9, 2, 7]])


def transformers_reads(folder: Path, caplog: pytest.LogCaptureFixture) -> Any:
    """The model, loaded by the class of its configuration, in silence."""
    named = json.loads((folder / "config.json").read_text())["architectures"][0]
    transformers.utils.logging.enable_propagation()
    with caplog.at_level(logging.WARNING):
        model, report = getattr(transformers, named).from_pretrained(
            folder, output_loading_info=True
        )
    assert not any(report.values()), report
    assert caplog.records == []
    return model.eval()


@pytest.mark.parametrize("name", FOLDERS)
def test_every_folder(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = GOLDEN / name
    made = convert(source, tmp_path / "out")
    stored = open_weights(source)
    homes = stored_names(stored, open_weights(made.folder))
    for wanted, array in open_weights(made.folder).items():
        np.testing.assert_array_equal(array.data, stored[homes[wanted]].data, wanted)
    ours = getattr(ogpt, made.architecture).from_pretrained(made.folder)
    if "pruned" in name:  # version 5 knows no pruned heads
        return
    theirs = transformers_reads(made.folder, caplog)
    for key, tensor in theirs.state_dict().items():
        if key in ours.state_dict():
            assert torch.equal(tensor, ours.state_dict()[key]), key
    with torch.no_grad():
        expected, found = theirs(IDS)[0], ours(IDS)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_openais_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """There, back without the configuration, and read by transformers."""
    source = GOLDEN / "transformers_4.57.6" / "bin" / "zip_lm"
    there = convert(source, tmp_path / "there", to="openai")
    (there.folder / "config.json").unlink()
    back = convert(there.folder, tmp_path / "back", n_head=2)
    theirs = transformers_reads(back.folder, caplog)
    ours = ogpt.OpenAIGPTLMHeadModel.from_pretrained(source)
    with torch.no_grad():
        expected = ours(IDS).logits
        torch.testing.assert_close(theirs(IDS).logits, expected, rtol=0, atol=1e-5)
        for planted in ("h.0.attn.c_attn.weight", "positions_embed.weight"):
            weight = theirs.get_parameter(f"transformer.{planted}")
            kept = weight.clone()
            weight.copy_(weight.reshape(-1).roll(1).reshape(weight.shape))  # one number further
            assert (theirs(IDS).logits - expected).abs().max() > 1e-3, planted
            weight.copy_(kept)
