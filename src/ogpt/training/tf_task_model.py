"""The model that a fine-tuning in TensorFlow starts from; see `ogpt.training.task_model`."""

from __future__ import annotations

from ogpt.config.finetune_settings import FinetuneSection
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tf.classification import TFOpenAIGPTForSequenceClassification
from ogpt.tf.double_heads import TFOpenAIGPTDoubleHeadsModel
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.training.task_model import task_config, transferred
from ogpt.training.tf_initialization import initialize
from ogpt.training.tf_precision import choose_policy, set_threads
from ogpt.training.tf_task_objective import TFTaskModel
from ogpt.weights.arrays import Array


def start_tf_task_model(
    folder: ModelFolder,
    spec: TaskSpec,
    tokenizer: BPETokenizer,
    settings: FinetuneSection,
    training: TrainingSettings,
) -> TFTaskModel:
    """Build the model with its initial weights, of which those that are new follow the seed.

    Args:
        folder: The model to start from: a language model, or one with any head, which is replaced.
        spec: The task.
        tokenizer: With the task tokens.
        settings: n_transfer, frozen_layers, dropout rates and seed.
        training: Precision and threads.

    Raises:
        ConfigError: more frozen layers than the model has.
        WeightsError, CheckpointError: weights that are missing or damaged.
    """
    config = task_config(folder.config, spec, tokenizer, settings)
    set_threads(training)
    several = spec.family == "multiple-choice"
    kind = TFOpenAIGPTDoubleHeadsModel if several else TFOpenAIGPTForSequenceClassification
    model: TFTaskModel = kind(config, dtype=choose_policy(training.precision))
    initialize(model, settings.seed)
    if settings.n_transfer >= 0:
        new = range(len(folder.tokenizer), len(tokenizer))
        _transfer(model, folder, settings.n_transfer, new)
    for block in model.transformer.h[: settings.frozen_layers]:
        block.trainable = False
    return model


def _transfer(model: TFTaskModel, folder: ModelFolder, n_transfer: int, new: range) -> None:
    """Copy the embeddings and the first blocks of a model; what is new keeps its random weights.

    `new` are the ids of the new tokens. Rows of the model without a token were never trained to
    stand for one, so that a new token does not take over theirs.
    """
    with collecting():  # that the new head is not in the file is no news
        known = TFOpenAIGPTForSequenceClassification.from_pretrained(folder, dtype="float32")
    held = known.transformer.stored_variables()
    for name, stored in model.transformer.stored_variables().items():
        if not transferred(name, n_transfer):
            continue
        weight, source = stored.array().data.copy(), held[name].array().data
        fresh = weight[new.start : new.stop].copy()
        rows = min(len(weight), len(source))
        weight[:rows] = source[:rows]
        if name == "tokens_embed.weight":
            weight[new.start : new.stop] = fresh
        stored.assign(Array("float32", weight))
