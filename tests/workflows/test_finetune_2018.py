"""`ogpt finetune --recipe 2018-code`: the recipe reaches all parts of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ogpt
from ogpt.errors import StrictNotice
from ogpt.folders.run_folder import RunFolder, read_events
from ogpt.notices import Notice, collecting, listening
from ogpt.tasks.task_source import TaskSource
from ogpt.tasks.task_spec import task_of
from ogpt.training.torch_2018_objective import Torch2018Objective
from ogpt.training.torch_openai_adam import OpenAIAdam
from ogpt.workflows.finetune_setup import (
    FinetuneRequest,
    finetune_settings,
    make_finetune_step,
    set_up_finetune,
)
from tests.workflows.finetuning import FAST, base_model, write


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("base"))


def polarity(count: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        words = list(rng.choice(["a", "film", "story", "the", "end"], int(rng.integers(3, 7))))
        label = str(rng.choice(["good", "bad"]))
        words.insert(int(rng.integers(0, len(words))), label)
        rows.append({"text": " ".join(words), "label": label + " film"})
    return rows


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    longest = {"text": "the film with the good story with the end with this", "label": "good film"}
    return {
        "train": write(folder / "train.jsonl", polarity(192, 0)),
        "valid": write(folder / "valid.jsonl", [*polarity(24, 1), longest]),
    }


def run(base: Path, files: dict[str, Path], out: Path) -> Any:
    return ogpt.finetune(
        model=base,
        out=out,
        family="classification",
        recipe="2018-code",
        **files,
        overrides=[*FAST, "finetune.epochs=6"],
    )


@pytest.fixture(scope="module")
def tuned(base: Path, files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("tuned") / "run"
    with collecting() as notices:
        result = run(base, files, out)
    return out, result, [notice.kind for notice in notices]


def test_a_task_is_learned_and_saved_for_ogpt_only(tuned: Any) -> None:
    out, result, kinds = tuned
    assert result.valid["accuracy"] > 0.9
    assert kinds.count("only-ogpt") == 1
    words, model = ogpt.load(out)
    assert model.config.classifier_bias
    assert model.score.bias.abs().min() > 0
    assert task_of(model.config, out).recipe == "2018-code"
    folder = RunFolder.open(out).checkpoint(result.steps)
    assert "Use it with ogpt only" in (folder / "README.md").read_text("utf-8")
    with torch.no_grad():
        scores = model(**words("a good film", return_tensors="pt")).logits
    assert model.config.id2label[int(scores.argmax())] == "good film"


def test_the_schedule_decays_during_the_warm_up_too(tuned: Any) -> None:
    events = [e for e in read_events(tuned[0] / "metrics.jsonl") if e["event"] == "train"]
    total, last = events[-1]["total_steps"], events[-1]
    assert last["step"] == total
    assert last["learning_rate"] == 0.0


def test_the_parts_of_a_run(base: Path, files: dict[str, Path], tmp_path: Path) -> None:
    source = TaskSource(family="classification", **files)
    request = FinetuneRequest(model=base, out=tmp_path, source=source, recipe="2018-code")
    with collecting():
        setup = set_up_finetune(request, finetune_settings(request))
    assert not setup.train.bucketed
    with collecting():
        step: Any = make_finetune_step(setup)
    assert isinstance(step.objective, Torch2018Objective)
    assert isinstance(step.optimizer, OpenAIAdam)
    # the longest sequence is one of the validation set
    longest = max(int(part.lengths.max()) for part in setup.valid.values())
    assert step.objective.n_ctx == longest > int(setup.train.lengths.max())


def test_the_notice_precedes_the_work(base: Path, files: dict[str, Path], tmp_path: Path) -> None:
    def refuse(notice: Notice) -> None:
        if notice.kind == "only-ogpt":
            raise StrictNotice(notice.message, hint="")

    with listening(refuse), pytest.raises(StrictNotice, match="the classifier has a bias"):
        run(base, files, tmp_path / "run")
    assert not list(tmp_path.glob("run/checkpoints/step-*"))
