"""Folders of fine-tuned models in small, with weights by a formula, for other programs to load.

    python -m tests.tasks.task_folders FOLDER

writes them. `tests/golden/classified_4.57.6.json` is what classify_in_transformers.py, given these
folders, wrote in an environment with transformers 4.57.6 (tests/golden/README.md).
"""

import sys
from pathlib import Path

import numpy as np
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tasks.task_tokens import add_task_tokens
from ogpt.tokens.tokenizer import PreTokenizer
from tests.tasks.small import tokenizer

CLASSES = TaskSpec(family="classification", labels=("bad", "good", "odd"))
SEVERAL = TaskSpec(
    family="entailment", problem="multi_label_classification", labels=("funny", "long")
)
NUMBER = TaskSpec(family="entailment", problem="regression", metrics=("pearson",))

FOLDERS: dict[str, tuple[PreTokenizer, TaskSpec]] = {
    "bert": ("bert", CLASSES),
    "bytes": ("bytes", CLASSES),
    "several_labels": ("bert", SEVERAL),
    "regression": ("bytes", NUMBER),
}


def make(folder: Path, pre_tokenizer: PreTokenizer, spec: TaskSpec) -> Path:
    """A model with the head of a task, and the tokenizer that puts the task tokens around texts."""
    made = tokenizer(pre_tokenizer)
    add_task_tokens(made)
    sizes = {"n_positions": 96, "n_embd": 16, "n_layer": 2, "n_head": 2}
    config = OpenAIGPTConfig(
        vocab_size=len(made),
        pad_token_id=made.pad_token_id,
        num_labels=max(1, len(spec.labels)),
        **sizes,
    )
    spec.write_to(config)
    model = OpenAIGPTForSequenceClassification(config).eval()
    with torch.no_grad():
        for place, (name, weight) in enumerate(sorted(model.named_parameters())):
            # squares, as a wave of one frequency makes rows of the embedding nearly equal
            wave = 0.3 * np.sin(0.37 * np.arange(weight.numel()) ** 2 + place)
            values = wave + (".ln_" in name and name.endswith("weight"))
            weight.copy_(torch.from_numpy(values).reshape(weight.shape))
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def make_all(out: Path) -> list[Path]:
    return [make(out / name, *kind) for name, kind in FOLDERS.items()]


if __name__ == "__main__":
    make_all(Path(sys.argv[1]))
