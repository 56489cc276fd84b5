"""The paper's objective of fine-tuning against a plain computation, with planted faults."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ogpt.data.batch import Batch
from ogpt.tasks.example import FAMILIES
from ogpt.tasks.task_spec import TaskSpec
from ogpt.training.objective import added_counts
from ogpt.training.task_objective import LM_LOSS, TASK_LOSS
from ogpt.training.torch_task_objective import TorchTaskObjective
from tests.training.task_batches import SPECS, batch_for, model_for


def plain(model, batch, spec, *, place=-1, orders=2, shift=1, count_padding=False):
    """Task and language loss, one sequence at a time; the keywords plant faults."""
    task, lm = [], []
    head = getattr(model, "score", None) or model.multiple_choice_head.summary
    for rows, mask, label in zip(batch.ids, batch.attention_mask, batch.labels, strict=True):
        scores = []
        for ids, kept in zip(rows, mask, strict=True):
            if not kept.any():
                continue
            whole = torch.tensor(ids if count_padding else ids[kept])[None]
            hidden = model.transformer(whole).last_hidden_state[0]
            state = hidden[kept.sum() + place]
            scores.append(head(state))
            logits = hidden @ model.transformer.tokens_embed.weight.T
            lm.append(
                F.cross_entropy(logits[: len(logits) - shift], whole[0, shift:], reduction="sum")
            )
        if spec.family == "multiple-choice":
            made = torch.stack(scores)[:, 0]
        else:
            made = torch.stack(scores[:orders]).sum(0)
        if spec.problem == "regression":
            task.append((made[0] - float(label)) ** 2)
        else:
            task.append(F.cross_entropy(made[None], torch.tensor([int(label)])))
    return torch.stack(task).sum(), torch.stack(lm).sum()


def close(objective, batch, expected) -> bool:
    sums = objective.measure(batch).sums
    pairs = zip((sums[TASK_LOSS], sums[LM_LOSS]), expected, strict=True)
    return all(math.isclose(one.item(), two.item(), rel_tol=1e-5) for one, two in pairs)


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_equal_a_plain_computation(family):
    spec = SPECS[family]
    model, batch = model_for(spec), batch_for(spec)
    objective = TorchTaskObjective(model, spec)
    assert close(objective, batch, plain(model, batch, spec))
    assert objective.counts(batch) == {
        TASK_LOSS: 5,
        LM_LOSS: int(sum(max(0, n - 1) for n in batch.attention_mask.sum(-1).ravel())),
    }


FAULTS = {
    "the state before the extract token": {"place": -2},
    "one order only": {"orders": 1},
    "language loss not shifted": {"shift": 0},
    "padding counted": {"count_padding": True},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_caught(fault):
    spec = SPECS["similarity"]
    model, batch = model_for(spec), batch_for(spec)
    expected = plain(model, batch, spec, **FAULTS[fault])
    assert not close(TorchTaskObjective(model, spec), batch, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_equal_those_of_the_plain_computation(family):
    spec = SPECS[family]
    model, batch = model_for(spec), batch_for(spec)
    sums = TorchTaskObjective(model, spec).measure(batch).sums
    (sums[TASK_LOSS] + 0.5 * sums[LM_LOSS]).backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    task, lm = plain(model, batch, spec)
    (task + 0.5 * lm).backward()
    for name, parameter in model.named_parameters():
        assert torch.allclose(ours[name], parameter.grad, rtol=1e-4, atol=1e-4), name
    assert len(ours) > 20


def test_micro_batches_add_up():
    spec = SPECS["multiple-choice"]
    model, batch = model_for(spec), batch_for(spec)
    objective = TorchTaskObjective(model, spec)
    parts = [
        Batch(
            batch.ids[cut],
            targets=batch.targets[cut],
            attention_mask=batch.attention_mask[cut],
            places=batch.places[cut],
            labels=batch.labels[cut],
        )
        for cut in (slice(2), slice(2, 5))
    ]
    whole = objective.measure(batch).sums
    for name in (TASK_LOSS, LM_LOSS):
        added = sum(objective.measure(part).sums[name] for part in parts)
        assert torch.allclose(added, whole[name], rtol=1e-5)
    assert added_counts(map(objective.counts, parts)) == objective.counts(batch)


def test_a_missing_choice_is_never_chosen():
    spec = SPECS["multiple-choice"]
    logits = TorchTaskObjective(model_for(spec), spec).measure(batch_for(spec)).predictions
    assert logits[2, 2] == -torch.inf
    assert torch.isfinite(logits).sum() == 14


def test_without_the_language_loss_it_is_not_computed():
    spec = SPECS["classification"]
    found = TorchTaskObjective(model_for(spec), spec, lm_coef=0).measure(batch_for(spec))
    assert list(found.sums) == [TASK_LOSS]


def test_class_weights_scale_the_loss_of_a_class():
    spec = SPECS["classification"]
    model, batch = model_for(spec), batch_for(spec)
    weights = torch.tensor([1.0, 2.0, 4.0])
    found = TorchTaskObjective(model, spec, class_weights=weights).measure(batch)
    losses = F.cross_entropy(found.predictions, torch.tensor(batch.labels), reduction="none")
    expected = (losses * weights[batch.labels]).sum()
    assert torch.allclose(found.sums[TASK_LOSS], expected)


def test_several_labels():
    spec = TaskSpec(
        family="classification", problem="multi_label_classification", labels=("a", "b", "c")
    )
    batch = batch_for(spec)
    labels = np.array([[1, 0, 1]] * 5, dtype=np.float32)
    batch = Batch(
        batch.ids,
        targets=batch.targets,
        attention_mask=batch.attention_mask,
        places=batch.places,
        labels=labels,
    )
    found = TorchTaskObjective(model_for(spec), spec).measure(batch)
    expected = F.binary_cross_entropy_with_logits(found.predictions, torch.tensor(labels))
    assert torch.allclose(found.sums[TASK_LOSS], 5 * expected)


def test_dropout_is_on_in_training_only():
    spec = SPECS["classification"]
    model, batch = model_for(spec), batch_for(spec)
    objective = TorchTaskObjective(model, spec, dropout=0.5)
    first = objective.measure(batch).predictions
    assert torch.equal(first, objective.measure(batch).predictions)
    model.train()
    for block in (model.transformer.config,):
        block.embd_pdrop = block.attn_pdrop = block.resid_pdrop = 0.0
    drawn = [objective.measure(batch).predictions for _ in range(2)]
    assert not torch.equal(*drawn)


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_alone_are_those_beside_the_losses(family, monkeypatch):
    spec = SPECS[family]
    objective, batch = TorchTaskObjective(model_for(spec), spec), batch_for(spec)
    expected = objective.measure(batch).predictions
    monkeypatch.setattr(objective, "_language_loss", lambda *_: pytest.fail("computed"))
    assert torch.equal(objective.predict(batch), expected)
