"""Which framework trains: PyTorch or TensorFlow. Each is imported only when it is used."""

from __future__ import annotations

import dataclasses
from importlib import import_module

from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.errors import BackendMissing
from ogpt.evaluation.zero_shot_probes import ZeroShotProbes
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.likelihood import Scorer
from ogpt.reporting import Reporter, Several
from ogpt.training.loop import Probes
from ogpt.training.step import TrainStep

_FRAMEWORKS = {"torch": ("PyTorch", "torch"), "tensorflow": ("TensorFlow", "tf")}
"""Name and extra of each backend, which is the name of its package."""


def check_backend(backend: str, work: str = "training") -> None:
    """Check that the framework of a backend is installed.

    Args:
        backend: torch or tensorflow.
        work: That needs it, for the error.

    Raises:
        BackendMissing: it is not.
    """
    try:
        import_module(backend)
    except ModuleNotFoundError as error:
        framework, extra = _FRAMEWORKS[backend]
        raise BackendMissing(
            f"{work} needs {framework}: {error}", hint=f"pip install 'ogpt[{extra}]'"
        ) from error


def check_initial_model(init: ModelFolder, training: TrainingSettings) -> None:
    """Load a model once and drop it: what is wrong with it shows before hours of preparation.

    Args:
        init: The model to start from.
        training: Backend and threads.

    Raises:
        CheckpointError, ConfigError, WeightsError: the weights are missing, damaged, quantized or
            not those of the configuration.
    """
    if training.backend == "tensorflow":
        from ogpt.training.tf_start import check_tf_initial_model

        check_tf_initial_model(init, training)
    else:
        from ogpt.training.torch_start import check_initial_model as check

        check(init)


def make_pretrain_step(
    config: OpenAIGPTConfig, init: ModelFolder | None, training: TrainingSettings, tokens: int
) -> TrainStep:
    """A language model with its initial weights, in a training step on this machine's device.

    Args:
        config: Of the model.
        init: The initial weights; None initializes them by the seed.
        training: Backend, seed, optimizer, precision.
        tokens: Of the whole run, which decides whether compiling pays.
    """
    if training.backend == "tensorflow":
        from ogpt.training.tf_start import start_tf_language_model

        return start_tf_language_model(config, init, training, tokens)
    from ogpt.training.torch_start import start_language_model

    return start_language_model(config, init, training, tokens)


def make_probes(probes: ZeroShotProbes | None, step: TrainStep, reporter: Reporter) -> Probes:
    """What measures the zero-shot probes of a run on the model that a step trains.

    Args:
        probes: Those of the run.
        step: Trains the model.
        reporter: Receives progress.
    """
    if probes is None:
        return tuple
    score = make_scorer(step)
    progress = Several(progress=reporter)
    return lambda: [dataclasses.asdict(found) for found in probes.measure(score, progress)]


def make_scorer(step: TrainStep) -> Scorer:
    """A scorer of continuations with the weights that a step has at the time of each call.

    Args:
        step: Trains a language model.
    """
    if str(step.description["framework"]).startswith("tensorflow"):
        from ogpt.training.tf_scorer import tf_scorer

        return tf_scorer(step)  # type: ignore[arg-type]  # of its framework
    from ogpt.training.torch_scorer import torch_scorer

    return torch_scorer(step)  # type: ignore[arg-type]  # of its framework
