"""Zero-shot probes of a model that TensorFlow trains: the scores of PyTorch, in runs and plans."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ogpt
from ogpt import notices
from ogpt.errors import DecoderError
from ogpt.generation.protocol.likelihood import Choices, Scorer
from ogpt.training import joined_choices
from ogpt.training.common_prefix import with_common_prefix
from ogpt.training.tf_scorer import tf_scorer
from ogpt.training.torch_scorer import torch_scorer
from ogpt.workflows.plan import Plan
from tests.evaluation.probe_files import write_probes
from tests.tf.steps import both
from tests.training.corpus import write_text
from tests.workflows.finetuning import base_model

pytestmark = pytest.mark.slow

ASKED = [
    Choices([1, 2, 3], [[4, 5], [6], [7, 8, 9]]),
    Choices([10], [[11, 12]]),
    Choices([*range(14)], [[3, 4, 5], [6, 7, 8]]),  # together too long for 16 positions
]
SETTINGS = [
    *("training.max_steps=4", "training.batch_size=4", "training.micro_batch_size=2"),
    *("training.warmup_steps=2", "training.eval_every=2", "training.compile=off"),
    *("training.precision=float32", "training.probe_rows=0"),
]


def scores(scorer: Scorer) -> list[float]:
    return [float(one) for each in scorer(ASKED) for choice in each for one in choice]


def test_the_scores_are_those_of_pytorch_without_dropout() -> None:
    step, other = both(pdrop=0.5)
    np.testing.assert_allclose(scores(tf_scorer(other)), scores(torch_scorer(step)), atol=1e-5)


@pytest.mark.parametrize("fault", ["positions", "visible"])
def test_a_planted_fault_shows(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step, other = both()
    expected = scores(torch_scorer(step))

    def wrong(groups: Sequence[Sequence[list[int]]], pad_id: int) -> Any:
        made = with_common_prefix(groups, pad_id)
        if fault == "positions":  # of the next token
            return made._replace(positions=np.minimum(made.positions + 1, 15))
        return made._replace(visible=np.ones_like(made.visible))  # choices see each other

    monkeypatch.setattr(joined_choices, "with_common_prefix", wrong)
    assert np.abs(np.subtract(scores(tf_scorer(other)), expected)).max() > 1e-3


def test_scores_that_are_not_finite() -> None:
    _, other = both()
    table = other.model.transformer.tokens_embed.embeddings
    table.assign(table.numpy() * np.nan)
    with pytest.raises(DecoderError, match="allowed: finite"):
        tf_scorer(other)(ASKED)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The arguments of a run with a set of the probes."""
    folder = tmp_path_factory.mktemp("given")
    write_text(folder / "text.jsonl")
    base = base_model(folder / "base", n_layer=1)
    probes = write_probes(folder / "probes", "cola")
    return {"data": folder / "text.jsonl", "init": base, "probes": probes, "overrides": SETTINGS}


def test_a_run_measures_them_at_each_evaluation(given: dict[str, Any], tmp_path: Path) -> None:
    with notices.collecting():
        ogpt.pretrain(out=tmp_path / "run", backend="tensorflow", **given)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    measured = [each for each in events if each["event"] == "probe"]
    assert [(each["step"], each["name"], each["rows"]) for each in measured] == [
        (2, "cola", 6),
        (4, "cola", 6),
    ]


def test_a_plan_counts_them(given: dict[str, Any], tmp_path: Path) -> None:
    def planned(**more: Any) -> Plan:
        with notices.collecting():
            return ogpt.plan(out=tmp_path / "run", backend="tensorflow", **{**given, **more})

    found, without = planned(), planned(probes=None)
    assert found.probes_s > 0 == without.probes_s
    assert found.eta_s > found.probes_s + found.evaluations_s
    assert (found.device, found.compile, found.dtype) == ("cpu", "off", "float32")
    assert not (tmp_path / "run").exists()
