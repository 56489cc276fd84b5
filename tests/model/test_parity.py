"""Logits, losses, gradients and states equal transformers'; the tolerance catches faults."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ogpt.model import transformer
from ogpt.model.heads import OpenAIGPTLMHeadModel
from tests.model.parity import random_batch, random_model, theirs

TOLERANCE = 1e-5
SEEDS = range(24)


def worst_difference(model: OpenAIGPTLMHeadModel, other: nn.Module, seed: int) -> float:
    """Largest difference of logits where there are tokens, in units of the logits' own size."""
    ids, mask = random_batch(seed, model.config)
    ours = model(ids, attention_mask=mask).logits
    expected = other(ids, attention_mask=mask).logits
    scale = max(1.0, expected.abs().max().item())
    return ((ours - expected).abs() * mask[..., None]).max().item() / scale


@pytest.mark.parametrize("seed", SEEDS)
def test_logits_equal_transformers(seed: int, tmp_path: Path) -> None:
    model = random_model(seed)
    assert worst_difference(model, theirs(model, tmp_path), seed) < TOLERANCE


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_states_attentions_and_loss_equal_transformers(seed: int, tmp_path: Path) -> None:
    model = random_model(seed)
    other = theirs(model, tmp_path)
    ids, mask = random_batch(seed, model.config)
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, 0] = ids[:, 0]
    other.set_attn_implementation("eager")
    asked = {"output_hidden_states": True, "output_attentions": True}
    ours = model(ids, attention_mask=mask, labels=labels, **asked)
    expected = other(ids, attention_mask=mask, labels=labels, **asked)
    kept = mask[..., None]
    for mine, their in zip(ours.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(mine * kept, their * kept, atol=2e-5, rtol=1e-5)
    for mine, their in zip(ours.attentions, expected.attentions, strict=True):
        torch.testing.assert_close(
            mine * kept[:, None], their * kept[:, None], atol=1e-5, rtol=1e-5
        )
    if (labels[:, 1:] != -100).any():
        torch.testing.assert_close(ours.loss, expected.loss, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_gradients_equal_transformers(seed: int, tmp_path: Path) -> None:
    model = random_model(seed, n_positions=40)
    other = theirs(model, tmp_path)
    ids, _ = random_batch(seed, model.config)
    if ids.shape[1] == 1:
        ids = torch.cat([ids, ids], dim=1)
    model(ids, labels=ids).loss.backward()
    other(ids, labels=ids).loss.backward()
    expected = dict(other.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(
            parameter.grad, expected[name].grad, atol=2e-5, rtol=1e-4, msg=name
        )


class ShiftedPositions(nn.Module):
    """A position off by one."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return self.embedding((positions + 1) % self.embedding.num_embeddings)


class PreNormBlock(transformer.Block):
    """The norm before each sub-layer, as GPT-2 has it."""

    def forward(self, x: torch.Tensor, run: transformer.Pass) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x), run)
        return x + self.mlp(self.ln_2(x), run.seed)


def plant_erf_gelu(model: OpenAIGPTLMHeadModel) -> None:
    for block in model.transformer.h:
        block.mlp.act = partial(F.gelu, approximate="none")


def plant_pre_norm(model: OpenAIGPTLMHeadModel) -> None:
    for block in model.transformer.h:
        block.__class__ = PreNormBlock


def plant_position_off_by_one(model: OpenAIGPTLMHeadModel) -> None:
    model.transformer.positions_embed = ShiftedPositions(model.transformer.positions_embed)


def plant_other_epsilon(model: OpenAIGPTLMHeadModel) -> None:
    for block in model.transformer.h:
        block.ln_1.eps = 1e-3


def plant_transposed_projection(model: OpenAIGPTLMHeadModel) -> None:
    with torch.no_grad():
        weight = model.transformer.h[0].attn.c_proj.weight
        weight.copy_(weight.t().clone())


@pytest.mark.parametrize(
    "plant",
    [
        plant_erf_gelu,
        plant_pre_norm,
        plant_position_off_by_one,
        plant_other_epsilon,
        plant_transposed_projection,
    ],
)
def test_the_tolerance_catches_a_planted_fault(plant, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model = random_model(3, afn="gelu", n_embd=24, n_head=3, n_positions=50)
    faulty = copy.deepcopy(model)
    plant(faulty)
    other = theirs(model, tmp_path)
    seen = worst_difference(faulty, other, seed=3)
    assert seen > TOLERANCE  # and, as a comparison with NaN is false, not by a NaN
    assert worst_difference(model, other, seed=3) < TOLERANCE


def test_an_unshifted_label_is_caught(tmp_path: Path) -> None:
    model = random_model(5, n_positions=30)
    other = theirs(model, tmp_path)
    ids = torch.randint(0, model.config.vocab_size, (2, 20))
    unshifted = model.token_loss(ids, ids) / ids.numel()
    assert abs(unshifted - other(ids, labels=ids).loss) > 100 * TOLERANCE
