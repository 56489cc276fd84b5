"""The model that a fine-tuning starts from: transferred blocks, new tokens, a new head.

Paper, section 3.2: the only new parameters are the head's and the embeddings of the three tokens.
"""

from __future__ import annotations

import torch

from ogpt.config.finetune_settings import FinetuneSection
from ogpt.folders.model_folder import ModelFolder
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.notices import collecting
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.training.task_model import task_config, transferred
from ogpt.training.torch_task_objective import TaskModel


def start_task_model(
    folder: ModelFolder,
    spec: TaskSpec,
    tokenizer: BPETokenizer,
    settings: FinetuneSection,
    device: torch.device,
) -> TaskModel:
    """Build the model with its initial weights, of which those that are new follow the seed.

    Args:
        folder: The model to start from: a language model, or one with any head, which is replaced.
        spec: The task.
        tokenizer: With the task tokens.
        settings: n_transfer, frozen_layers, dropout rates and seed.
        device: Of the weights.

    Raises:
        ConfigError: more frozen layers than the model has.
        WeightsError, CheckpointError: weights that are missing or damaged.
    """
    config = task_config(folder.config, spec, tokenizer, settings)
    several = spec.family == "multiple-choice"
    kind = OpenAIGPTDoubleHeadsModel if several else OpenAIGPTForSequenceClassification
    # on the CPU: a GPU's generator would give other weights for the same seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model: TaskModel = kind(config)
        if settings.n_transfer >= 0:
            new = range(len(folder.tokenizer), len(tokenizer))
            _transfer(model, folder, settings.n_transfer, new)
    model.freeze(embeddings=False, layers=settings.frozen_layers)
    return model.to(device)


@torch.no_grad()
def _transfer(model: TaskModel, folder: ModelFolder, n_transfer: int, new: range) -> None:
    """Copy the embeddings and the first blocks of a model; what is new keeps its random weights.

    `new` are the ids of the new tokens. Rows of the model without a token were never trained to
    stand for one, so that a new token does not take over theirs.
    """
    with collecting():  # that the new head is not in the file is no news
        known = OpenAIGPTForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    held = known.transformer.state_dict()
    embedding = model.transformer.tokens_embed.weight
    fresh = embedding[new.start : new.stop].clone()
    for name, weight in model.transformer.named_parameters():
        if not transferred(name, n_transfer):
            continue
        rows = min(len(weight), len(held[name]))
        weight[:rows] = held[name][:rows]
    embedding[new.start : new.stop] = fresh
