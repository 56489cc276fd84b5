"""Faults that ports of GPT-1 make: each is beyond the tolerance of the parity tests, and finite."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from keras import ops

from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.tf import attention, classification
from ogpt.tf.transformer import TFBlock, TFPass
from tests.model.small import small
from tests.tf.twins import TOLERANCE, as_numpy, gaps, twin

pytestmark = pytest.mark.slow
Given = dict[str, Any]
Patch = pytest.MonkeyPatch


def lm() -> tuple[Any, Given]:
    """Left padding, token types, labels of which some count nothing, and everything asked for."""
    ids, types = torch.randint(0, 40, (2, 3, 9))
    mask = torch.arange(9) >= torch.tensor([[0], [2], [5]])
    labels = ids.masked_fill(~mask, -100)
    given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types, "labels": labels}
    asked = {"output_hidden_states": True, "output_attentions": True}
    return small(OpenAIGPTLMHeadModel), {**given, **asked}


def double() -> tuple[Any, Given]:
    ids = torch.randint(0, 40, (3, 3, 9))
    places = torch.tensor([[8, 5, 6], [3, 8, 4], [7, 1, 8]])
    given = {"input_ids": ids, "labels": ids, "mc_labels": torch.tensor([0, 2, 1])}
    return small(OpenAIGPTDoubleHeadsModel), {**given, "mc_token_ids": places}


def classifier() -> tuple[Any, Given]:
    mask = torch.arange(9) < torch.tensor([[9], [4], [6]])
    given = {"input_ids": torch.randint(1, 40, (3, 9)) * mask, "attention_mask": mask}
    return small(OpenAIGPTForSequenceClassification), {**given, "labels": torch.tensor([2, 0, 1])}


class PreNormBlock(TFBlock):
    """As GPT-2 has it."""

    def call(self, x: Any, run: TFPass) -> Any:
        x = x + self.attn(self.ln_1(x), run=run)
        return x + self.mlp(self.ln_2(x), run=run)


class DetachedBlock(TFBlock):
    """The same answers; the gradient does not pass by the attention."""

    def call(self, x: Any, run: TFPass) -> Any:
        n = self.ln_1(ops.stop_gradient(x) + self.attn(x, run=run))
        return self.ln_2(n + self.mlp(n, run=run))


def erf_gelu(other: Any, given: Given, patch: Patch) -> None:
    for block in other.transformer.h:
        block.mlp.act = partial(ops.gelu, approximate=False)


def pre_norm(other: Any, given: Given, patch: Patch) -> None:
    for block in other.transformer.h:
        block.call = partial(PreNormBlock.call, block)


def detached_residual(other: Any, given: Given, patch: Patch) -> None:
    for block in other.transformer.h:
        block.call = partial(DetachedBlock.call, block)


def position_off_by_one(other: Any, given: Given, patch: Patch) -> None:
    table = other.transformer.positions_embed.embeddings
    table.assign(np.roll(table.numpy(), 1, axis=0))


def padding_takes_positions(other: Any, given: Given, patch: Patch) -> None:
    given["position_ids"] = np.arange(9)


def other_epsilon(other: Any, given: Given, patch: Patch) -> None:
    for block in other.transformer.h:
        block.ln_1.epsilon = 1e-3  # for 1e-5


def transposed_weight(other: Any, given: Given, patch: Patch) -> None:
    weight = other.transformer.h[0].attn.c_proj.weight
    weight.assign(weight.numpy().T)


def bias_forgotten(other: Any, given: Given, patch: Patch) -> None:
    bias = other.transformer.h[1].mlp.c_fc.bias
    bias.assign(np.zeros_like(bias.numpy()))


def query_and_key_swapped(other: Any, given: Given, patch: Patch) -> None:
    for block in other.transformer.h:
        for part in (block.attn.c_attn.weight, block.attn.c_attn.bias):
            query, key, value = np.split(part.numpy(), 3, -1)
            part.assign(np.concatenate([key, query, value], -1))


def mask_dropped(other: Any, given: Given, patch: Patch) -> None:
    # positions that start at 1: from 0 on, they would tell padding as packed texts
    given["position_ids"] = np.maximum(given.pop("attention_mask").cumsum(-1), 1)


def one_future_token_seen(other: Any, given: Given, patch: Patch) -> None:
    def late(length: int) -> Any:
        return ops.tril(ops.ones((length, length), dtype="bool"), 1)

    patch.setattr(attention, "causal", late)


def token_types_forgotten(other: Any, given: Given, patch: Patch) -> None:
    del given["token_type_ids"]


def unshifted_label(other: Any, given: Given, patch: Patch) -> None:
    given["labels"] = np.roll(given["labels"], 1, axis=-1)


def padding_counted_in_the_loss(other: Any, given: Given, patch: Patch) -> None:
    given["labels"] = given["input_ids"]


def heads_dropped(other: Any, given: Given, patch: Patch) -> None:
    given["head_mask"] = np.array([1.0, 1.0, 0.99, 1.0])


def choice_pooled_one_early(other: Any, given: Given, patch: Patch) -> None:
    given["mc_token_ids"] = given["mc_token_ids"] - 1


def choice_pooled_at_the_end(other: Any, given: Given, patch: Patch) -> None:
    del given["mc_token_ids"]


def summary_activated(other: Any, given: Given, patch: Patch) -> None:
    other.multiple_choice_head.activation = ops.tanh


def classified_at_the_end(other: Any, given: Given, patch: Patch) -> None:
    patch.setattr(classification, "last_kept", lambda kept: np.full(3, 8))


FAULTS: list[tuple[Callable[[], tuple[Any, Given]], Callable[[Any, Given, Patch], None]]] = [
    (lm, erf_gelu),
    (lm, pre_norm),
    (lm, detached_residual),
    (lm, position_off_by_one),
    (lm, padding_takes_positions),
    (lm, other_epsilon),
    (lm, transposed_weight),
    (lm, bias_forgotten),
    (lm, query_and_key_swapped),
    (lm, mask_dropped),
    (lm, one_future_token_seen),
    (lm, token_types_forgotten),
    (lm, unshifted_label),
    (lm, padding_counted_in_the_loss),
    (lm, heads_dropped),
    (double, choice_pooled_one_early),
    (double, choice_pooled_at_the_end),
    (double, summary_activated),
    (classifier, classified_at_the_end),
]


@pytest.mark.parametrize(("make", "plant"), FAULTS, ids=[plant.__name__ for _, plant in FAULTS])
def test_a_planted_fault_is_caught(
    make: Callable[[], tuple[Any, Given]],
    plant: Callable[[Any, Given, Patch], None],
    monkeypatch: Patch,
) -> None:
    torch.manual_seed(0)
    model, given = make()
    assert max(gaps(model, twin(model), given, as_numpy(given)).values()) < TOLERANCE
    other, its = twin(model), as_numpy(given)
    plant(other, its, monkeypatch)
    far = gaps(model, other, given, its).values()
    assert all(map(math.isfinite, far))  # a comparison with NaN would prove nothing
    assert max(far) > 10 * TOLERANCE
