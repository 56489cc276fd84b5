"""Model folders as ogpt writes them, with weights by the formula, for other programs to load.

    python -m tests.golden.make_folders FOLDER

makes one folder for each class of model and a sharded one. `tests/golden/loaded_4.57.6.json` is
what load_in_transformers.py, given these folders, wrote in an environment with transformers 4.57.6
(make_transformers_4_57.py says how to set one up).
"""

import sys
from pathlib import Path

import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel
from ogpt.model.transformer import OpenAIGPTModel
from tests.golden.formula import formula

FOLDERS: dict[str, type[OpenAIGPTPreTrainedModel]] = {
    "base": OpenAIGPTModel,
    "lm": OpenAIGPTLMHeadModel,
    "double_heads": OpenAIGPTDoubleHeadsModel,
    "sequence_classification": OpenAIGPTForSequenceClassification,
    "sharded_lm": OpenAIGPTLMHeadModel,
}


def build(name: str) -> OpenAIGPTPreTrainedModel:
    config = OpenAIGPTConfig(
        vocab_size=23, n_positions=12, n_embd=16, n_layer=2, n_head=2, num_labels=3
    )
    model = FOLDERS[name](config).eval()
    shapes = {name: tuple(tensor.shape) for name, tensor in model.stored_tensors().items()}
    with torch.no_grad():
        for weight, array in formula(shapes).items():
            model.get_parameter(weight).copy_(torch.from_numpy(array))
    return model


def make(out: Path) -> list[Path]:
    for name in FOLDERS:
        limit = {"max_shard_size": 3000} if name == "sharded_lm" else {}
        build(name).save_pretrained(out / name, **limit)
    return [out / name for name in FOLDERS]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
