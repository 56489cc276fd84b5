"""A second objective, as small as can be: multiple choice with an auxiliary language loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from ogpt.config.model import OpenAIGPTConfig
from ogpt.data.batch import IGNORED, Batch
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.training.torch_objective import TorchMeasures, on_device

VOCAB, CHOICES, LENGTH = 20, 3, 6


class MultipleChoice:
    """L2 + 0.5 L1 (paper, equations 4 and 5), and the accuracy, which is not trained on."""

    coefficients = {"task_loss": 1.0, "lm_loss": 0.5}  # noqa: RUF012

    def __init__(self) -> None:
        torch.manual_seed(0)
        config = OpenAIGPTConfig(
            vocab_size=VOCAB,
            n_positions=LENGTH,
            n_embd=16,
            n_layer=1,
            n_head=2,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            resid_pdrop=0.0,
            summary_first_dropout=0.0,
        )
        self.model = OpenAIGPTDoubleHeadsModel(config)

    def compile(self) -> None:
        """Nothing is compiled."""

    def counts(self, batch: Batch) -> Mapping[str, int]:
        tokens = int((batch.targets != IGNORED).sum())
        return {"task_loss": len(batch), "lm_loss": tokens, "accuracy": len(batch)}

    def measure(self, batch: Batch) -> TorchMeasures:
        ids, targets, labels, places = (
            on_device(array, self.model.device)
            for array in (batch.ids, batch.targets, batch.labels, batch.places)
        )
        out = self.model(ids, mc_token_ids=places)
        scores = out.mc_logits  # (B, K)
        lm_loss = F.cross_entropy(
            out.logits.flatten(0, 2), targets.flatten(), reduction="sum", ignore_index=IGNORED
        )
        return TorchMeasures(
            {
                "task_loss": F.cross_entropy(scores, labels, reduction="sum"),
                "lm_loss": lm_loss,
                "accuracy": (scores.argmax(-1) == labels).sum().float(),
            },
            scores,
        )


def examples(count: int, seed: int = 0) -> Batch:
    """Examples with three answers each, the last tokens of which are padding here and there."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, VOCAB, (count, CHOICES, LENGTH))
    places = draw.integers(2, LENGTH, (count, CHOICES))
    targets = np.concatenate([ids[..., 1:], np.full((count, CHOICES, 1), IGNORED)], -1)
    mask = np.arange(LENGTH) <= places[..., None]
    targets[~mask] = IGNORED
    return Batch(
        ids,
        targets,
        attention_mask=mask,
        labels=draw.integers(0, CHOICES, count),
        places=places,
    )


def part(whole: Batch, rows: slice) -> Batch:
    names = ("ids", "targets", "attention_mask", "labels", "places")
    return Batch(**{name: getattr(whole, name)[rows] for name in names})
