"""torch.onnx.export of our models, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch

from ogpt.integrations import transformers as door
from tests.ecosystem import small

LIBRARY = "onnxruntime"

CLASSES = [
    door.OpenAIGPTModel,
    door.OpenAIGPTLMHeadModel,
    door.OpenAIGPTDoubleHeadsModel,
    door.OpenAIGPTForSequenceClassification,
    door.OpenAIGPTLMHeadModel.network_class,
]
MASK = (torch.arange(6) >= torch.tensor([[0], [2]])).long()


@pytest.mark.filterwarnings("ignore")  # the exporter's own
@pytest.mark.parametrize("kind", CLASSES)
def test_exported_models(kind: Any, tmp_path: Path) -> None:
    """torch.onnx.export (dynamo) with dynamic rows and lengths, padded: equal outputs."""
    config = small.config(num_labels=3)
    torch.manual_seed(0)
    model = kind(config if hasattr(kind, "network_class") else config.own).eval()
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        model,
        (small.IDS,),
        kwargs={"attention_mask": MASK},
        dynamo=True,
        dynamic_shapes={"input_ids": axes, "attention_mask": axes},
        verbose=False,
    )
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    ids = torch.randint(1, 50, (3, 4))
    mask = (torch.arange(4) >= torch.tensor([[0], [2], [1]])).long()
    given = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
    expected = model(ids, attention_mask=mask).to_tuple()
    for found, value in zip(session.run(None, given), expected, strict=True):
        torch.testing.assert_close(torch.from_numpy(found), value, rtol=1e-4, atol=1e-5)
    unpadded = session.run(None, given | {"attention_mask": torch.ones_like(mask).numpy()})
    assert abs(unpadded[0] - expected[0].detach().numpy()).max() > 1e-3  # the mask counts
