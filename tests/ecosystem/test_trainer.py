"""transformers' Trainer with our classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from transformers import Trainer, TrainingArguments

import ogpt
from ogpt.integrations import transformers as door
from tests.ecosystem import small

LIBRARY = "transformers"


def rows(kind: Any, padded: bool) -> list[dict[str, Any]]:
    torch.manual_seed(1)
    made = []
    for index in range(16):
        ids = torch.randint(1, 50, (6,))
        row: dict[str, Any] = {"input_ids": ids, "labels": ids.clone()}
        if padded and index % 2:
            row["input_ids"][4:], row["labels"][4:] = 0, -100
            row["attention_mask"] = torch.tensor([1, 1, 1, 1, 0, 0])
        elif padded:
            row["attention_mask"] = torch.ones(6, dtype=torch.int64)
        if kind.__name__ == "OpenAIGPTForSequenceClassification":
            row["labels"] = torch.tensor(index % 3)
        if kind.__name__ == "OpenAIGPTDoubleHeadsModel":
            row["mc_token_ids"] = torch.tensor(3)
        made.append(row)
    return made


def trainer(made: Any, out: Path, padded: bool = False, **changes: Any) -> Trainer:
    settings: dict[str, Any] = {
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 4,
        "max_steps": 5,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
    }
    data = rows(type(made), padded)
    arguments = TrainingArguments(output_dir=str(out), **(settings | changes))
    return Trainer(made, arguments, train_dataset=data[:12], eval_dataset=data[12:])


def losses(done: Trainer) -> list[float]:
    return [entry["loss"] for entry in done.state.log_history if "loss" in entry]


@pytest.fixture(autouse=True)
def own_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """TrainingArguments(bf16=True) is for the whole process otherwise."""
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    AcceleratorState._reset_state(reset_partial_state=True)


KINDS = [
    door.OpenAIGPTLMHeadModel,
    door.OpenAIGPTForSequenceClassification,
    door.OpenAIGPTDoubleHeadsModel,
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_saves_resumes_and_loads_the_best(kind: Any, tmp_path: Path) -> None:
    """Trainer: 5 steps, evaluation, saving, resuming, load_best_model_at_end; all heads."""
    every = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
    if kind is door.OpenAIGPTDoubleHeadsModel:
        every["label_names"] = ["labels"]
    whole = trainer(small.model(kind, num_labels=3), tmp_path / "whole", **every, **best)
    whole.train()
    assert len(losses(whole)) == 5
    assert whole.state.best_metric == min(
        entry["eval_loss"] for entry in whole.state.log_history if "eval_loss" in entry
    )
    saved = tmp_path / "whole" / "checkpoint-5"
    assert {"config.json", "model.safetensors"} <= {file.name for file in saved.iterdir()}
    own = kind.network_class.from_pretrained(saved)
    theirs = getattr(transformers, kind.__name__).from_pretrained(saved).eval()
    torch.testing.assert_close(own(small.IDS)[0], theirs(small.IDS)[0], rtol=1e-5, atol=1e-5)

    resumed = trainer(small.model(kind, num_labels=3), tmp_path / "again", **every)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert losses(resumed)[-2:] == losses(whole)[-2:]
    first, second = (
        load_file(path / "model.safetensors")
        for path in (saved, tmp_path / "again" / "checkpoint-5")
    )
    for name, weight in first.items():
        torch.testing.assert_close(second[name], weight, rtol=0, atol=0)


@pytest.mark.parametrize("padded", [False, True], ids=["dense", "padded"])
@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind.__name__)
def test_losses_are_those_of_transformers_model(kind: Any, padded: bool, tmp_path: Path) -> None:
    """Trainer: losses of dense and padded rows equal those of transformers' GPT-1."""
    ours = small.model(kind, num_labels=3)
    ours.save_pretrained(tmp_path / "model")
    theirs = getattr(transformers, kind.__name__).from_pretrained(tmp_path / "model")
    own = kind.network_class.from_pretrained(tmp_path / "model")
    theirs.loss_type = (
        kind.network_class.loss_type
    )  # else version 5 counts labels that no token predicts
    found = []
    for made in (theirs, ours, own):
        done = trainer(made, tmp_path / "run", padded)
        done.train()
        found.append([*losses(done), done.evaluate()["eval_loss"]])
    assert found[1] == pytest.approx(found[0], abs=2e-4)
    assert found[2] == found[1]


@pytest.mark.parametrize("kind", KINDS[:2], ids=lambda kind: kind.__name__)
def test_options(kind: Any, tmp_path: Path) -> None:
    """Trainer: bf16, gradient checkpointing, gradient accumulation, label smoothing."""
    plain = trainer(small.model(kind, num_labels=3), tmp_path / "plain")
    plain.train()
    for made in (kind, kind.network_class):
        recompute = trainer(
            small.model(kind, num_labels=3)
            if made is kind
            else kind.network_class(small.config(num_labels=3).own),
            tmp_path / "recompute",
            gradient_checkpointing=True,
        )
        recompute.train()
        if made is kind:
            assert losses(recompute) == pytest.approx(losses(plain), abs=1e-4)
    narrow = trainer(
        small.model(kind, num_labels=3),
        tmp_path / "narrow",
        bf16=True,
        gradient_accumulation_steps=2,
        max_steps=2,
    )
    narrow.train()
    assert losses(narrow)[0] == pytest.approx(losses(plain)[0], abs=0.3)
    smooth = trainer(
        small.model(kind, num_labels=3), tmp_path / "smooth", label_smoothing_factor=0.1
    )
    smooth.train()
    assert losses(smooth)[0] != losses(plain)[0]
    assert smooth.evaluate()["eval_loss"] > 0


@pytest.mark.parametrize("library", [transformers, door], ids=lambda library: library.__name__)
def test_double_heads_name_their_labels(library: Any, tmp_path: Path) -> None:
    """Trainer: the double-heads model reports eval_loss with label_names, as transformers' does."""
    small.model(door.OpenAIGPTDoubleHeadsModel).save_pretrained(tmp_path / "model")
    made = library.OpenAIGPTDoubleHeadsModel.from_pretrained(tmp_path / "model")
    assert "eval_loss" not in trainer(made, tmp_path / "run").evaluate()
    found = trainer(made, tmp_path / "run", label_names=["labels"]).evaluate()
    assert found["eval_loss"] > 0


def test_our_own_classes_train_and_evaluate(tmp_path: Path) -> None:
    """Trainer: ogpt's own classes train and evaluate; it refuses to save tied weights of theirs."""
    torch.manual_seed(0)
    made = ogpt.OpenAIGPTLMHeadModel(small.config().own)
    done = trainer(made, tmp_path / "run")
    done.train()
    with pytest.raises(RuntimeError, match="share memory"):
        done.save_model()
    assert done.evaluate()["eval_loss"] > 0
    done.model.save_pretrained(tmp_path / "model")
    again = ogpt.OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "model")
    torch.testing.assert_close(again(small.IDS).logits, made.eval()(small.IDS).logits)
