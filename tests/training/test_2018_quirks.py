"""Recipe `2018-code`: its dropout, its context length, its optimizer in a run, its saved model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt import OpenAIGPTConfig, OpenAIGPTForSequenceClassification
from ogpt.config.pretrain_settings import TrainingSettings
from ogpt.data.batch import IGNORED, Batch
from ogpt.errors import ContextTooLong, DataError
from ogpt.folders.model_card import write_card
from ogpt.model.openai_2018 import states_2018
from ogpt.notices import collecting
from ogpt.tasks.example import Problem
from ogpt.tasks.task_spec import TaskSpec
from ogpt.training.task_objective import LM_LOSS, TASK_LOSS
from ogpt.training.torch_2018_objective import Torch2018Objective
from ogpt.training.torch_openai_adam import OpenAIAdam, make_openai_adam
from ogpt.training.torch_step import TorchTrainStep
from tests.golden import run_2018


def classifier(seed: int = 0, **fields: Any) -> OpenAIGPTForSequenceClassification:
    torch.manual_seed(seed)
    sizes = {"vocab_size": 20, "n_positions": 16, "n_embd": 8, "n_layer": 1, "n_head": 2}
    config = OpenAIGPTConfig(**sizes, num_labels=3, classifier_bias=True, **fields)
    return OpenAIGPTForSequenceClassification(config)


def small_batch(**changes: Any) -> Batch:
    """Two examples in both orders; the second is a token shorter."""
    ids = np.array([[[1, 5, 6, 3], [1, 6, 5, 3]], [[1, 7, 3, 2], [1, 8, 3, 2]]])
    mask = np.array([[[1, 1, 1, 1]] * 2, [[1, 1, 1, 0]] * 2], dtype=bool)
    targets = np.full_like(ids, IGNORED)
    targets[..., :-1] = np.where(mask[..., 1:], ids[..., 1:], IGNORED)
    given = {"targets": targets, "attention_mask": mask, "labels": np.array([0, 2])}
    return Batch(ids, **(given | {"places": mask.sum(-1) - 1} | changes))


def both_orders(
    model: OpenAIGPTForSequenceClassification,
    problem: Problem = "single_label_classification",
    **settings: Any,
) -> Torch2018Objective:
    spec = TaskSpec(family="similarity", problem=problem, recipe="2018-code")
    return Torch2018Objective(model, spec, **settings)


def test_embedding_dropout_is_one_mask_over_the_whole_table() -> None:
    model = classifier(embd_pdrop=0.5, attn_pdrop=0.0, resid_pdrop=0.0).train()
    states = states_2018(model.transformer, torch.tensor([[4, 4, 4], [4, 9, 4]]), 5)
    assert states.table.shape == (25, 8)
    dropped = states.table == 0
    assert 0.3 < dropped.float().mean() < 0.7
    assert dropped[20:].any()  # positions too
    body = model.transformer
    whole = torch.cat([body.tokens_embed.weight, body.positions_embed.weight[:5]])
    assert torch.equal(states.table[~dropped], whole[~dropped] * 2)
    # a token loses the same channels in every row: equal prefixes have equal states
    assert torch.equal(states.hidden[0, 0], states.hidden[1, 0])


def test_without_dropout_the_states_are_those_of_the_model() -> None:
    model = classifier().eval()
    ids = torch.tensor([[4, 8, 15], [1, 2, 3]])
    states = states_2018(model.transformer, ids, 5)
    assert torch.allclose(states.hidden, model.transformer(ids).last_hidden_state, atol=1e-6)


def test_the_classifier_drops_the_same_channels_of_all_sequences() -> None:
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
    model = classifier(**rates)
    seen: list[Tensor] = []
    model.score.register_forward_pre_hook(lambda layer, given: seen.append(given[0].detach()))
    both_orders(model.train(), dropout=0.5).measure(small_batch())
    dropped = seen[0] == 0
    assert dropped.any()
    assert torch.equal(dropped[:, 0], dropped[:, 1])
    assert not torch.equal(dropped[0], dropped[1])  # each example has its own mask


def test_a_choice_that_is_not_there_counts_in_no_loss() -> None:
    batch = small_batch(labels=np.array([0, 0]))
    assert batch.attention_mask is not None
    assert batch.targets is not None
    mask, targets = batch.attention_mask.copy(), batch.targets.copy()
    mask[1, 1], targets[1, 1] = False, IGNORED
    batch = replace(batch, attention_mask=mask, targets=targets)
    model = run_2018.model_of(run_2018.read(), "p")
    objective = Torch2018Objective(model, TaskSpec(family="multiple-choice"))
    assert objective.counts(batch) == {TASK_LOSS: 2, LM_LOSS: 3}
    sums, logits = objective.measure(batch)
    assert logits is not None
    assert torch.isinf(logits).tolist() == [[False, False], [False, True]]
    assert all(total.isfinite() for total in sums.values())


def test_the_context_length_is_that_of_the_longest_sequence() -> None:
    model = classifier().eval()
    losses = [
        both_orders(model, n_ctx=n_ctx).measure(small_batch()).sums[LM_LOSS].item()
        for n_ctx in (4, 16, None)
    ]
    assert losses[0] < losses[1] == losses[2]  # 4 position rows in the softmax, or 16
    with pytest.raises(ContextTooLong, match="n_ctx is 3 for sequences of 4 tokens"):
        states_2018(model.transformer, torch.ones(1, 4, dtype=torch.int64), 3)


def test_without_the_language_loss() -> None:
    objective = both_orders(classifier(), lm_coef=0.0)
    assert objective.counts(small_batch()) == {TASK_LOSS: 2}
    assert [*objective.measure(small_batch()).sums] == [TASK_LOSS]
    with pytest.raises(DataError, match="the batch has no places"):
        objective.counts(small_batch(places=None))


def test_predictions_alone() -> None:
    objective = both_orders(classifier().eval(), n_ctx=5)
    expected = objective.measure(small_batch()).predictions
    assert expected is not None
    assert torch.equal(objective.predict(small_batch()), expected)


def test_regression_and_several_labels() -> None:
    model = classifier().eval()
    scores = np.array([0.5, 2.0], dtype=np.float32)
    objective = both_orders(model, "regression")
    sums, logits = objective.measure(small_batch(labels=scores))
    assert logits is not None
    assert torch.allclose(sums[TASK_LOSS], ((logits[:, 0] - torch.tensor(scores)) ** 2).sum())
    several = np.eye(3, dtype=np.float32)[:2]
    objective = both_orders(model, "multi_label_classification")
    sums, logits = objective.measure(small_batch(labels=several))
    assert logits is not None
    each = F.binary_cross_entropy_with_logits(logits, torch.tensor(several), reduction="none")
    assert torch.allclose(sums[TASK_LOSS], each.mean(-1).sum())


def test_weighted_chunks_have_the_gradient_of_a_plain_loss() -> None:
    model = classifier().eval()
    objective, batch = both_orders(model), small_batch()
    objective.measure(batch).sums[LM_LOSS].backward()  # type: ignore[no-untyped-call]
    seen = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    ids = torch.from_numpy(batch.ids).flatten(0, 1)
    targets = torch.from_numpy(batch.targets).flatten(0, 1)
    states = states_2018(model.transformer, ids, 16)
    logits = (states.hidden @ states.table.T).transpose(1, 2)
    losses = F.cross_entropy(logits, targets, reduction="none")
    (losses.sum(1) / (targets != IGNORED).sum(1)).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            assert torch.allclose(seen[name], parameter.grad, atol=1e-6), name


def make_step(seed: int) -> TorchTrainStep:
    settings = TrainingSettings(precision="float32", threads=1, learning_rate=1e-2)
    model = classifier(seed)
    return TorchTrainStep(both_orders(model), settings, False, make_optimizer=make_openai_adam)


def test_a_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    step = make_step(0)
    assert isinstance(step.optimizer, OpenAIAdam)
    for number in range(2):
        step.train([small_batch()], number, 1e-2)
    with collecting():
        step.save(tmp_path)
    again = make_step(1)
    again.load(tmp_path)
    for number in range(2, 4):
        results = [one.train([small_batch()], number, 1e-2) for one in (step, again)]
        assert results[0] == results[1]
    pairs = zip(step.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_parameters_without_a_gradient_stay() -> None:
    one, other = (torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2))
    one.grad = torch.ones(2, 2)
    OpenAIAdam([one, other], lr=0.1).step()
    assert (one < 1).all()
    assert torch.equal(other, torch.ones(2, 2))


def test_a_classifier_with_a_bias_is_for_ogpt_only(tmp_path: Path) -> None:
    model = classifier().eval()
    model.score.bias.data += torch.tensor([1.0, -2.0, 0.5])
    with collecting() as notices:
        model.save_pretrained(tmp_path)
        model.save_pretrained(tmp_path)  # a run that saves often says it once
    assert [notice.kind for notice in notices] == ["only-ogpt"]
    write_card(tmp_path)
    card = (tmp_path / "README.md").read_text("utf-8")
    assert "Use it with ogpt only: the classifier has a bias, which transformers ignores." in card
    assert "from transformers" not in card
    again = OpenAIGPTForSequenceClassification.from_pretrained(tmp_path)
    ids = torch.tensor([[4, 8, 15]])
    assert torch.equal(again(ids).logits, model(ids).logits)
