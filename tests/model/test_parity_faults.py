"""Faults that ports of GPT-1 make: each is beyond the tolerance of the parity tests, and finite."""

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.model import attention, classification, double_heads, transformer
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from tests.model.parity import TOLERANCE, Case, gaps, random_model, theirs

SIZE = {"vocab_size": 40, "n_embd": 24, "n_head": 3, "n_positions": 12, "n_layer": 2, "afn": "gelu"}
Patch = pytest.MonkeyPatch


def lm() -> Case:
    """Left padding, token types, labels of which some count nothing, and everything asked for."""
    model = random_model(3, OpenAIGPTLMHeadModel, **SIZE)
    ids, types = torch.randint(0, 40, (2, 3, 9))
    mask = torch.arange(9) >= torch.tensor([[0], [2], [5]])
    labels = ids.masked_fill(~mask, -100)
    labels[:, 1:][~mask[:, :-1]] = -100
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "labels": labels}
    given |= {"output_hidden_states": True, "output_attentions": True}
    positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
    return Case(model, given, {**given, "position_ids": positions}, mask)


def double() -> Case:
    model = random_model(4, OpenAIGPTDoubleHeadsModel, **SIZE)
    ids = torch.randint(0, 40, (3, 3, 9))
    places = torch.tensor([[8, 5, 6], [3, 8, 4], [7, 1, 8]])
    given = {"input_ids": ids, "labels": ids, "mc_labels": torch.tensor([0, 2, 1])}
    given |= {"mc_token_ids": places}
    return Case(model, given, dict(given), torch.ones(9, 9, dtype=torch.bool))


def classifier() -> Case:
    model = random_model(
        5, OpenAIGPTForSequenceClassification, **SIZE, num_labels=3, pad_token_id=0
    )
    mask = torch.arange(9) < torch.tensor([[9], [4], [6]])
    ids = torch.randint(1, 40, (3, 9)) * mask
    given = {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([2, 0, 1])}
    return Case(model, given, dict(given), mask)


class ShiftedPositions(nn.Module):
    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.weight, self.num_embeddings = embedding.weight, embedding.num_embeddings

    def forward(self, positions: Tensor) -> Tensor:
        return F.embedding((positions + 1) % self.num_embeddings, self.weight)


class PreNormBlock(transformer.Block):
    """As GPT-2 has it."""

    def forward(self, x: Tensor, run: transformer.Pass) -> Tensor:
        x = x + self.attn(self.ln_1(x), run)
        return x + self.mlp(self.ln_2(x), run.seed)


class DetachedBlock(transformer.Block):
    """The same answers; the gradient does not pass by the attention."""

    def forward(self, x: Tensor, run: transformer.Pass) -> Tensor:
        n = self.ln_1(x.detach() + self.attn(x, run))
        return self.ln_2(n + self.mlp(n, run.seed))


def erf_gelu(case: Case, patch: Patch) -> None:
    for block in case.model.transformer.h:
        block.mlp.act = partial(F.gelu, approximate="none")


def pre_norm(case: Case, patch: Patch) -> None:
    for block in case.model.transformer.h:
        block.__class__ = PreNormBlock


def detached_residual(case: Case, patch: Patch) -> None:
    for block in case.model.transformer.h:
        block.__class__ = DetachedBlock


def position_off_by_one(case: Case, patch: Patch) -> None:
    body = case.model.transformer
    body.positions_embed = ShiftedPositions(body.positions_embed)


def padding_takes_positions(case: Case, patch: Patch) -> None:
    case.ours["position_ids"] = torch.arange(9)


def other_epsilon(case: Case, patch: Patch) -> None:
    for block in case.model.transformer.h:
        block.ln_1.eps = 1e-3  # for 1e-5


def transposed_weight(case: Case, patch: Patch) -> None:
    weight = case.model.transformer.h[0].attn.c_proj.weight
    weight.data = weight.data.t().contiguous()


def missing_scale(case: Case, patch: Patch) -> None:
    for block in case.model.transformer.h:  # queries that undo the scale
        for part in (block.attn.c_attn.weight, block.attn.c_attn.bias):
            part.data[..., :24] *= math.sqrt(8)


def query_and_key_swapped(case: Case, patch: Patch) -> None:
    for block in case.model.transformer.h:
        for part in (block.attn.c_attn.weight, block.attn.c_attn.bias):
            query, key, value = part.data.chunk(3, -1)
            part.data = torch.cat([key, query, value], -1)


def heads_interleaved(case: Case, patch: Patch) -> None:
    for block in case.model.transformer.h:
        for part in (block.attn.c_attn.weight, block.attn.c_attn.bias):
            leading = part.shape[:-1]
            part.data = part.data.view(*leading, 3, 8, 3).transpose(-1, -2).reshape(part.shape)


def bias_forgotten(case: Case, patch: Patch) -> None:
    case.model.transformer.h[1].mlp.c_fc.bias.data.zero_()


def mask_dropped(case: Case, patch: Patch) -> None:
    # positions that start at 1: from 0 on, they would tell padding as packed texts
    case.ours["position_ids"] = case.theirs["position_ids"] = case.theirs["position_ids"] + 1
    del case.ours["attention_mask"]


def one_future_token_seen(case: Case, patch: Patch) -> None:
    del case.ours["attention_mask"], case.theirs["attention_mask"], case.theirs["position_ids"]

    def late(rows: int, columns: int, device: torch.device) -> Tensor:
        return torch.ones(rows, columns, dtype=torch.bool).tril(columns - rows + 1)

    patch.setattr(attention, "causal", late)


def token_types_forgotten(case: Case, patch: Patch) -> None:
    del case.ours["token_type_ids"]


def unshifted_label(case: Case, patch: Patch) -> None:
    case.ours["shift_labels"] = case.ours.pop("labels")


def loss_mean_over_padding(case: Case, patch: Patch) -> None:
    case.ours["num_items_in_batch"] = case.ours["labels"][:, 1:].numel()


def choice_pooled_one_early(case: Case, patch: Patch) -> None:
    case.ours["mc_token_ids"] = case.ours["mc_token_ids"] - 1


def choice_pooled_at_the_end(case: Case, patch: Patch) -> None:
    del case.ours["mc_token_ids"]


def softmax_over_the_batch(case: Case, patch: Patch) -> None:
    def loss(scores: Tensor, labels: Tensor, name: str, leading: tuple[int, ...]) -> Tensor:
        return F.cross_entropy(scores.t(), labels)

    patch.setattr(double_heads, "class_loss", loss)


def summary_activated(case: Case, patch: Patch) -> None:
    case.model.multiple_choice_head.activation = torch.tanh


def classified_at_the_end(case: Case, patch: Patch) -> None:
    def end(kept: Tensor) -> Tensor:
        return torch.full((len(kept),), kept.shape[1] - 1)

    patch.setattr(classification, "last_kept", end)


def classified_after_the_end(case: Case, patch: Patch) -> None:
    def after(kept: Tensor) -> Tensor:  # the first padding, as a count used for an index
        return kept.sum(1).clamp(max=kept.shape[1] - 1)

    patch.setattr(classification, "last_kept", after)


def squared_error_of_classes(case: Case, patch: Patch) -> None:
    def loss(scores: Tensor, labels: Tensor, *_: object) -> Tensor:
        return F.mse_loss(scores, F.one_hot(labels, 3).to(scores))

    patch.setattr(classification, "class_loss", loss)


FAULTS: list[tuple[Callable[[], Case], Callable[[Case, Patch], None]]] = [
    (lm, erf_gelu),
    (lm, pre_norm),
    (lm, detached_residual),
    (lm, position_off_by_one),
    (lm, padding_takes_positions),
    (lm, other_epsilon),
    (lm, transposed_weight),
    (lm, missing_scale),
    (lm, query_and_key_swapped),
    (lm, heads_interleaved),
    (lm, bias_forgotten),
    (lm, mask_dropped),
    (lm, one_future_token_seen),
    (lm, token_types_forgotten),
    (lm, unshifted_label),
    (lm, loss_mean_over_padding),
    (double, choice_pooled_one_early),
    (double, choice_pooled_at_the_end),
    (double, softmax_over_the_batch),
    (double, summary_activated),
    (classifier, classified_at_the_end),
    (classifier, classified_after_the_end),
    (classifier, squared_error_of_classes),
]


@pytest.mark.parametrize(("make", "plant"), FAULTS, ids=[plant.__name__ for _, plant in FAULTS])
def test_a_planted_fault_is_caught(
    make: Callable[[], Case], plant: Callable[[Case, Patch], None], monkeypatch: Patch
) -> None:
    torch.manual_seed(0)
    case = make()
    other = theirs(case.model)
    assert max(gaps(case, other).values()) < TOLERANCE
    faulty = Case(copy.deepcopy(case.model), dict(case.ours), dict(case.theirs), case.counted)
    plant(faulty, monkeypatch)
    seen = gaps(faulty, other).values()
    assert all(map(math.isfinite, seen))  # a comparison with NaN would prove nothing
    assert max(seen) > 10 * TOLERANCE


@pytest.mark.parametrize("faulty", [False, True])
def test_a_summary_that_means_padding_is_caught(faulty: bool, monkeypatch: Patch) -> None:
    """transformers is asked for each row without its padding."""
    torch.manual_seed(1)
    model = random_model(6, OpenAIGPTDoubleHeadsModel, **SIZE, summary_type="mean")
    ids, mask = torch.randint(0, 40, (2, 9)), torch.arange(9) < torch.tensor([[9], [4]])
    bare: Any = theirs(model)
    expected = torch.cat([bare(ids[:1]).mc_logits, bare(ids[1:, :4]).mc_logits])
    if faulty:
        monkeypatch.setattr(double_heads, "kept_tokens", lambda *given: None)
    far = (model(ids, attention_mask=mask).mc_logits - expected).abs().max()
    assert far > 10 * TOLERANCE if faulty else far < TOLERANCE
