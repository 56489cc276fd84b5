"""Run settings refuse values that cannot be, naming the setting, the value and what is allowed."""

import dataclasses
from typing import Any

import pytest

from ogpt.config.pretrain_settings import (
    DataSettings,
    ModelSettings,
    PretrainSettings,
    TokenizerSettings,
    TrainingSettings,
)
from ogpt.errors import ConfigError

REFUSED: list[tuple[type[Any], str, str, Any, str]] = [
    *[
        (ModelSettings, "model", name, 0, "1 or more")
        for name in ("n_layer", "n_head", "n_embd", "n_positions")
    ],
    (ModelSettings, "model", "n_embd", 100, r"a multiple of model\.n_head \(12\)"),
    *[
        (ModelSettings, "model", name, value, "0 to below 1")
        for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop")
        for value in (-0.1, 1.0, float("nan"))
    ],
    (TokenizerSettings, "tokenizer", "vocab_size", 1, "2 or more"),
    (DataSettings, "data", "valid_fraction", 0.0, "above 0 and below 1"),
    (DataSettings, "data", "valid_fraction", 1.0, "above 0 and below 1"),
    (DataSettings, "data", "windows", "sliding", "contiguous, packed"),
    *[
        (TrainingSettings, "training", name, -1, "0 or more")
        for name in (
            "max_steps",
            "warmup_steps",
            "eval_windows",
            "checkpoint_every",
        )
    ],
    *[
        (TrainingSettings, "training", name, -1, "a finite number, 0 or more")
        for name in ("weight_decay", "clip_norm", "checkpoint_minutes")
    ],
    *[
        (TrainingSettings, "training", name, 0, "1 or more")
        for name in ("batch_size", "micro_batch_size", "eval_every", "log_every")
    ],
    *[
        (TrainingSettings, "training", name, 0.0, "a finite number above 0")
        for name in ("epochs", "learning_rate", "adam_epsilon")
    ],
    (TrainingSettings, "training", "adam_beta1", 1.0, "0 to below 1"),
    (TrainingSettings, "training", "adam_beta2", -0.5, "0 to below 1"),
    (TrainingSettings, "training", "batch_size", 12, r"a multiple of .*micro_batch_size \(8\)"),
    (TrainingSettings, "training", "precision", "float16", "auto, float32, bfloat16"),
    (TrainingSettings, "training", "compile", "yes", "auto, on, off"),
]


@pytest.mark.parametrize(("cls", "section", "name", "value", "allowed"), REFUSED)
def test_refused(cls: type[Any], section: str, name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"{section}.{name} is .*; allowed: {allowed}") as caught:
        cls(**{name: value})
    assert repr(value) in str(caught.value)
    assert f"--set {section}.{name}=VALUE" in caught.value.hint


def test_defaults_are_the_papers_numbers() -> None:
    settings = PretrainSettings()
    model, training = settings.model, settings.training
    assert (model.n_layer, model.n_head, model.n_embd, model.n_positions) == (12, 12, 768, 512)
    assert (training.batch_size, training.epochs, training.learning_rate) == (64, 100.0, 2.5e-4)
    assert (training.warmup_steps, training.weight_decay) == (2_000, 0.01)


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PretrainSettings().model.n_layer = 3  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("threads", 1025, "0 to 1024"),
        ("threads", 1_000_000, "0 to 1024"),
        ("threads", -1, "0 to 1024"),
        ("seed", 2**64, f"0 to {2**64 - 1}"),
        ("seed", -1, f"0 to {2**64 - 1}"),
    ],
)
def test_threads_and_seeds_have_ranges(name: str, value: int, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"training.{name} is {value}; allowed: {allowed}$"):
        TrainingSettings(**{name: value})  # type: ignore[arg-type]


def test_the_ends_of_these_ranges() -> None:
    assert TrainingSettings(threads=1024, seed=2**64 - 1).threads == 1024
