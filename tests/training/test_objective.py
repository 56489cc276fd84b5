"""Losses are sums over counts, whatever is learned and however a batch is cut."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import DataError
from ogpt.training.loop import BestBy, ValidationSet, evaluate
from ogpt.training.objective import (
    CausalLanguageModeling,
    Total,
    added_counts,
    added_totals,
    means,
)
from ogpt.training.torch_step import TorchTrainStep
from tests.training.multiple_choice import CHOICES, MultipleChoice, examples, part

SETTINGS = TrainingSettings(
    threads=1, batch_size=4, micro_batch_size=2, precision="float32", clip_norm=0
)


def step() -> TorchTrainStep:
    return TorchTrainStep(MultipleChoice(), SETTINGS, False)


def test_language_modeling_counts_targets() -> None:
    ids = np.zeros((2, 3), np.int64)
    targets = np.array([[1, 2, IGNORED], [IGNORED, 4, 5]])
    assert CausalLanguageModeling().counts(Batch(ids, targets)) == {"loss": 4}
    with pytest.raises(DataError, match="the batch has no targets; language modeling") as caught:
        CausalLanguageModeling().counts(Batch(ids))
    assert "shifted by one" in caught.value.hint


def test_totals_add_and_divide_once() -> None:
    left = {"a": Total(6.0, 3), "b": Total(1.0, 1)}
    added = added_totals(left, {"a": Total(2.0, 1)})
    assert added == {"a": Total(8.0, 4), "b": Total(1.0, 1)}
    assert means(added, {"a": 1.0, "b": 0.5}) == {"loss": 2.5, "a": 2.0, "b": 1.0}
    assert added_counts([{"a": 3}, {"a": 1, "b": 2}]) == {"a": 4, "b": 2}
    assert Total(0.0, 0).mean == 0.0


def test_two_losses_are_weighed_and_measured() -> None:
    result = step().train([examples(4)], 0, 1e-3)
    assert list(result.measures) == ["loss", "task_loss", "lm_loss", "accuracy"]
    measures = result.measures
    expected = measures["task_loss"] + 0.5 * measures["lm_loss"]
    assert measures["loss"] == result.loss == pytest.approx(expected, rel=1e-6)
    assert 0 <= measures["accuracy"] <= 1
    assert result.counts["task_loss"] == 4


def test_each_loss_has_its_own_count_over_the_micro_batches() -> None:
    whole = examples(5)
    one, cut = step(), step()
    together = one.train([whole], 0, 1e-2)
    apart = cut.train([part(whole, slice(0, 1)), part(whole, slice(1, 5))], 0, 1e-2)
    assert apart.counts == together.counts
    assert apart.measures == pytest.approx(together.measures, rel=1e-5)
    for mine, expected in zip(cut.model.parameters(), one.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, expected.grad, atol=1e-6, rtol=1e-4)


def test_the_evaluation_hands_out_predictions() -> None:
    made = step()
    batches = [examples(2, seed) for seed in range(3)]
    labels = np.concatenate([batch.labels for batch in batches])

    def derived(totals: Any, predictions: Any) -> dict[str, float]:
        scores = np.concatenate(predictions)
        assert scores.shape == (6, CHOICES)
        return {"by_hand": float((scores.argmax(-1) == labels).mean())}

    found = evaluate(made, ValidationSet(lambda: batches, derived))
    assert found["by_hand"] == pytest.approx(found["accuracy"])
    assert found["loss"] == pytest.approx(found["task_loss"] + 0.5 * found["lm_loss"])
    assert evaluate(made, ValidationSet(lambda: batches, lambda *_: {}), 2) != found


def test_the_state_of_any_objective_goes_round(tmp_path: Path) -> None:
    first, second = step(), step()
    first.train([examples(4)], 0, 1e-2)
    first.save(tmp_path)
    second.load(tmp_path)
    for number in (1, 2):
        losses = [each.train([examples(4, number)], number, 1e-2).loss for each in (first, second)]
        assert losses[0] == losses[1]


def test_nothing_is_read_from_the_device_per_micro_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    made, read = step(), []
    made.train([examples(2)], 0, 1e-3)
    for name in ("item", "tolist", "cpu"):
        original = getattr(torch.Tensor, name)

        def counting(self: torch.Tensor, *arguments: Any, call: Any = original) -> Any:
            read.append(self.shape)
            return call(self, *arguments)

        monkeypatch.setattr(torch.Tensor, name, counting)
    made.train([examples(2, seed) for seed in range(5)], 1, 1e-3)
    assert read == [(4,)]  # three measures and the gradient's norm, at once


@pytest.mark.parametrize(
    ("best", "value", "so_far", "expected"),
    [
        (BestBy(), 1.0, None, True),
        (BestBy(), 1.0, 2.0, True),
        (BestBy(), 2.0, 2.0, False),
        (BestBy("loss", greater_is_better=True), 2.0, 1.0, True),
        (BestBy("loss", greater_is_better=True), 1.0, 2.0, False),
        (BestBy("loss", greater_is_better=True), math.nan, None, False),
    ],
)
def test_what_is_best(best: BestBy, value: float, so_far: float | None, expected: bool) -> None:
    assert best.improves({"loss": value}, so_far) is expected
