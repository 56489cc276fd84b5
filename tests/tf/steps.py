"""Training steps of both frameworks from the same weights, and batches for them."""

from __future__ import annotations

import numpy as np

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import IGNORED, Batch
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.training.tf_objective import TFLanguageModeling
from ogpt.training.tf_step import TFTrainStep
from ogpt.training.torch_objective import TorchLanguageModeling
from ogpt.training.torch_step import TorchTrainStep
from tests.model.small import small
from tests.tf.twins import twin

SETTINGS = TrainingSettings(
    threads=1, batch_size=4, micro_batch_size=2, precision="float32", compile="off"
)


def both(
    settings: TrainingSettings = SETTINGS, compiled: bool = False, pdrop: float = 0.0
) -> tuple[TorchTrainStep, TFTrainStep]:
    """The step of a language model in PyTorch, and its twin."""
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), pdrop)
    model: OpenAIGPTLMHeadModel = small(n_layer=1, **rates)  # each takes seconds to trace
    other = TFTrainStep(TFLanguageModeling(twin(model)), settings, compiled)
    return TorchTrainStep(TorchLanguageModeling(model), settings, False), other


def batch(seed: int, rows: int = 2, ignored: int = 0, packed: bool = False) -> Batch:
    """Random windows of 12 tokens; the first `ignored` targets of the first one do not count."""
    draw = np.random.default_rng(seed)
    ids = draw.integers(0, 40, (rows, 13))
    targets = ids[:, 1:].copy()
    targets[0, :ignored] = IGNORED
    documents = np.sort(draw.integers(0, 3, (rows, 12)), axis=1) if packed else None
    return Batch(np.ascontiguousarray(ids[:, :-1]), targets, documents)
