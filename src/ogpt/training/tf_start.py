"""From a configuration to a training step in TensorFlow: weights, precision, compilation."""

from __future__ import annotations

from collections.abc import Sequence

from ogpt.config.finetune_settings import FinetuneSection
from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.folders.model_folder import ModelFolder
from ogpt.notices import collecting, tell
from ogpt.tasks.task_spec import TaskSpec
from ogpt.tf.base import check_config
from ogpt.tf.heads import TFOpenAIGPTLMHeadModel
from ogpt.training.cost import Lengths, flops_per_token
from ogpt.training.run_precision import compiling_pays
from ogpt.training.tf_initialization import initialize
from ogpt.training.tf_objective import TFLanguageModeling
from ogpt.training.tf_precision import choose_policy, set_threads
from ogpt.training.tf_step import TFTrainStep
from ogpt.training.tf_task_objective import COMPILED_MULTIPLE, TFTaskModel, TFTaskObjective


def start_tf_language_model(
    config: OpenAIGPTConfig, init: ModelFolder | None, settings: TrainingSettings, tokens: int
) -> TFTrainStep:
    """Make the training step of a language model.

    Args:
        config: Configuration of the model, and the fingerprint of its tokenizer.
        init: Model folder to take the initial weights from; None initializes them by the seed.
        settings: Seed, optimizer, precision, compilation and threads.
        tokens: Number of tokens of the whole run, which decides whether compiling pays.
    """
    set_threads(settings)
    policy = choose_policy(settings.precision)
    if init is None:
        model = TFOpenAIGPTLMHeadModel(config, dtype=policy)
        initialize(model, settings.seed)
    else:
        model = TFOpenAIGPTLMHeadModel.from_pretrained(init, dtype=policy)
        fingerprint = getattr(config, TOKENIZER_FINGERPRINT)
        setattr(model.config, TOKENIZER_FINGERPRINT, fingerprint)
    model.notice_only_ogpt()
    flops = flops_per_token(config, config.n_positions) * tokens
    compiled = compiling_pays(settings.compile, flops)
    _tell_compiling(compiled)
    return TFTrainStep(TFLanguageModeling(model), settings, compiled)


def start_tf_fine_tuning(
    model: TFTaskModel,
    spec: TaskSpec,
    settings: FinetuneSection,
    training: TrainingSettings,
    lengths: Lengths,
    class_weights: Sequence[float] | None = None,
) -> TFTrainStep:
    """Make the training step of a fine-tuning.

    Args:
        model: With its initial weights.
        spec: The task.
        settings: Weight of the language loss, classifier dropout.
        training: The same settings for the loop.
        lengths: Of the training sequences.
        class_weights: Weight of each class; None: all alike.
    """
    model.notice_only_ogpt()
    # XLA compiles again for each length, which few fine-tunings earn back: only if asked for
    compiled = training.compile == "on"
    _tell_compiling(compiled)
    objective = TFTaskObjective(
        model,
        spec,
        settings.lm_coef,
        settings.classifier_dropout,
        class_weights,
        multiple=COMPILED_MULTIPLE if compiled else 1,
    )
    head, frozen = settings.lm_coef > 0, settings.frozen_layers
    return TFTrainStep(
        objective,
        training,
        compiled,
        shape=(training.micro_batch_size * lengths.sequences, lengths.longest),
        flops_for_token=flops_per_token(
            model.config, lengths.mean, head=head, frozen_layers=frozen
        ),
    )


def _tell_compiling(compiled: bool) -> None:
    if compiled:
        tell("compiling", what="the training step", each="shape of a batch")


def check_tf_initial_model(init: ModelFolder, settings: TrainingSettings) -> None:
    """Load a model once and drop it: what is wrong with it shows before hours of preparation.

    Raises:
        CheckpointError, ConfigError, WeightsError: the weights are missing, damaged, quantized or
            not those of the configuration; or the model is an LSTM.
    """
    set_threads(settings)
    check_config(init.config)
    with collecting():  # the run itself emits the notices
        TFOpenAIGPTLMHeadModel.from_pretrained(init)
