"""A model, and a batch of random examples, for each family of tasks."""

import numpy as np
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.data.batch import Batch
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.tasks.batching import padded
from ogpt.tasks.task_spec import TaskSpec

V, PAD = 40, 39
SHAPE = {"vocab_size": V, "n_positions": 16, "n_embd": 16, "n_layer": 2, "n_head": 2}
SPECS = {
    "classification": TaskSpec(family="classification", labels=("a", "b", "c")),
    "entailment": TaskSpec(family="entailment", labels=("a", "b", "c")),
    "similarity": TaskSpec(family="similarity", problem="regression"),
    "multiple-choice": TaskSpec(family="multiple-choice"),
}


def model_for(spec):
    torch.manual_seed(0)
    config = OpenAIGPTConfig(**SHAPE, initializer_range=0.5, num_labels=max(1, len(spec.labels)))
    if spec.family == "multiple-choice":
        return OpenAIGPTDoubleHeadsModel(config).eval()
    return OpenAIGPTForSequenceClassification(config).eval()


def batch_for(spec) -> Batch:
    rng = np.random.default_rng(1)
    K = {"similarity": 2, "multiple-choice": 3}.get(spec.family, 1)
    rows = [
        [rng.integers(0, PAD, rng.integers(3, 12)).tolist() for _ in range(K)] for _ in range(5)
    ]
    if spec.family == "multiple-choice":
        rows[2].pop()  # an example with a choice less
    labels = {
        "similarity": rng.random(5).astype(np.float32) * 5,
        "multiple-choice": rng.integers(0, 2, 5),
    }.get(spec.family, rng.integers(0, 3, 5))
    batch = padded(rows, PAD)
    return Batch(
        batch.ids,
        targets=batch.targets,
        attention_mask=batch.attention_mask,
        places=batch.places,
        labels=labels,
    )
