"""From a configuration to a training step: initial weights, device, precision, compilation."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ogpt.config.finetune_settings import FinetuneSection
from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.folders.model_folder import ModelFolder
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import collecting
from ogpt.tasks.task_spec import TaskSpec
from ogpt.training.cost import Lengths, flops_per_token
from ogpt.training.torch_2018_objective import Torch2018Objective
from ogpt.training.torch_objective import TorchLanguageModeling
from ogpt.training.torch_openai_adam import make_openai_adam
from ogpt.training.torch_precision import choose_compile, choose_device
from ogpt.training.torch_step import TorchTrainStep, make_adamw
from ogpt.training.torch_task_objective import TaskModel, TorchTaskObjective


def start_language_model(
    config: OpenAIGPTConfig, init: ModelFolder | None, settings: TrainingSettings, tokens: int
) -> TorchTrainStep:
    """Make the training step of a language model.

    Args:
        config: Configuration of the model, and the fingerprint of its tokenizer.
        init: Model folder to take the initial weights from; None initializes them by the seed.
        settings: Seed, optimizer, precision, compilation and threads.
        tokens: Number of tokens of the whole run, which decides whether compiling pays.
    """
    device = choose_device()
    model = _initial_model(config, init, settings.seed, device)
    model.notice_only_ogpt()
    flops = flops_per_token(config, config.n_positions) * tokens
    compiled = choose_compile(settings.compile, flops, device)
    return TorchTrainStep(TorchLanguageModeling(model), settings, compiled)


def start_fine_tuning(
    model: TaskModel,
    spec: TaskSpec,
    settings: FinetuneSection,
    training: TrainingSettings,
    lengths: Lengths,
    class_weights: Sequence[float] | None = None,
) -> TorchTrainStep:
    """Make the training step of a fine-tuning.

    Args:
        model: With its initial weights.
        spec: The task.
        settings: Weight of the language loss, classifier dropout.
        training: The same settings for the loop.
        lengths: Of the training sequences.
        class_weights: Weight of each class; None: all alike.
    """
    weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
    given = (model, spec, settings.lm_coef, settings.classifier_dropout, weights)
    of_2018 = spec.recipe == "2018-code"
    objective = (
        Torch2018Objective(*given, lengths.context) if of_2018 else TorchTaskObjective(*given)
    )
    model.notice_only_ogpt()
    flops = flops_per_token(
        model.config,
        lengths.mean,
        head=settings.lm_coef > 0,
        frozen_layers=settings.frozen_layers,
    )
    compiled = choose_compile(training.compile, flops * lengths.run_tokens, model.device)
    rows = training.micro_batch_size * lengths.sequences
    return TorchTrainStep(
        objective,
        training,
        compiled,
        shape=(rows, lengths.longest),
        flops_for_token=flops,
        make_optimizer=make_openai_adam if of_2018 else make_adamw,
    )


def check_initial_model(init: ModelFolder) -> None:
    """Load a model once and drop it: what is wrong with it shows before hours of preparation.

    Raises:
        CheckpointError, ConfigError, WeightsError: the weights are missing, damaged, quantized or
            not those of the configuration.
    """
    with collecting():  # the run itself emits the notices
        OpenAIGPTLMHeadModel.from_pretrained(init)


def _initial_model(
    config: OpenAIGPTConfig, init: ModelFolder | None, seed: int, device: torch.device
) -> OpenAIGPTLMHeadModel:
    if init is not None:
        model = OpenAIGPTLMHeadModel.from_pretrained(init, dtype=torch.float32, device=device)
        fingerprint = getattr(config, TOKENIZER_FINGERPRINT)
        setattr(model.config, TOKENIZER_FINGERPRINT, fingerprint)
        return model
    # on the CPU: a GPU's generator would give other initial weights for the same seed
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return OpenAIGPTLMHeadModel(config).to(device)
