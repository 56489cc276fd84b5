"""Gradient checkpointing: the same numbers in less memory."""

import pytest
import torch
from torch import Tensor

from ogpt.errors import ConfigError
from ogpt.model.heads import OpenAIGPTLMHeadModel
from tests.model.small import KINDS, draw_ids, small

IDS = draw_ids(2, 9)
BOTH = pytest.mark.parametrize("reentrant", [False, True])


def train_once(model: OpenAIGPTLMHeadModel, **asked: object) -> tuple[Tensor, list[Tensor | None]]:
    """Loss and gradients of a step with dropout, always of the same seed."""
    model.train()
    model.zero_grad()
    torch.manual_seed(3)
    out = model(IDS, **asked)
    loss = (out["loss"] if "loss" in out else out[0]).square().sum()
    loss.backward()
    return loss.detach(), [parameter.grad for parameter in model.parameters()]


def same(one: list[Tensor | None], other: list[Tensor | None]) -> bool:
    return all(
        (a is None and b is None) or torch.equal(a, b) for a, b in zip(one, other, strict=True)
    )


@BOTH
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_loss_and_gradients_bit_for_bit(kind, reentrant: bool) -> None:  # type: ignore[no-untyped-def]
    model = small(kind)
    plain = train_once(model)
    assert not model.is_gradient_checkpointing
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    assert model.is_gradient_checkpointing
    found = train_once(model)
    assert torch.equal(found[0], plain[0])
    assert same(found[1], plain[1])
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    assert same(train_once(model)[1], plain[1])


def test_blocks_are_computed_again() -> None:
    model, seen = small().train(), []
    model.transformer.h[0].mlp.register_forward_hook(lambda *given: seen.append(1))
    train_once(model, labels=IDS)
    assert len(seen) == 1
    model.gradient_checkpointing_enable()
    train_once(model, labels=IDS)
    assert len(seen) == 3
    model.eval()(IDS, labels=IDS).loss.backward()  # in evaluation there is nothing to save
    assert len(seen) == 4


@pytest.mark.parametrize(("every", "again"), [(1, 4), (2, 2), (3, 2), (4, 1)])
def test_every_so_many_blocks(every: int, again: int) -> None:
    model = small(n_layer=4).train()
    plain = train_once(model, labels=IDS)
    seen: list[int] = []
    for block in model.transformer.h:
        block.mlp.register_forward_hook(lambda *given: seen.append(1))
    model.activation_checkpointing_enable(every_n_layers=every)
    assert model.is_activation_checkpointing
    assert same(train_once(model, labels=IDS)[1], plain[1])
    assert len(seen) == 4 + again
    model.activation_checkpointing_disable()
    assert not model.is_gradient_checkpointing


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_no_such_number_of_blocks(every: object) -> None:
    with pytest.raises(ConfigError, match=f"every_n_layers is {every}; allowed: an int") as bad:
        small().gradient_checkpointing_enable(every_n_layers=every)
    assert "every block" in bad.value.hint


def test_inputs_of_blocks_in_the_memory_of_the_cpu() -> None:
    model = small()
    plain = train_once(model, labels=IDS)
    model.gradient_checkpointing_enable(offload=True)
    assert same(train_once(model, labels=IDS)[1], plain[1])
    assert model.transformer.checkpoint_offload


@BOTH
def test_masks_states_and_attentions(reentrant: bool) -> None:
    model = small()
    mask = (torch.arange(9) >= torch.tensor([[0], [4]])).long()
    asked = {"attention_mask": mask, "labels": IDS, "head_mask": torch.tensor([1.0, 0, 1, 0.5])}
    plain = train_once(model, **asked)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    assert same(train_once(model, **asked)[1], plain[1])
    torch.manual_seed(3)
    out = model(IDS, **asked, output_attentions=True, output_hidden_states=True)
    assert len(out.attentions) == 2
    out.loss.backward()
    assert len(out.attentions) == 2
    assert len(out.hidden_states) == 3


@BOTH
def test_frozen_embeddings(reentrant: bool) -> None:
    """Reentrant checkpointing needs an input that requires a gradient."""
    model = small()
    model.freeze(layers=1)
    plain = train_once(model, labels=IDS)[1]
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    found = train_once(model, labels=IDS)[1]
    assert same(found, plain)
    assert any(gradient is not None for gradient in found)
    assert model.transformer.tokens_embed.weight.grad is None
    with torch.inference_mode():
        assert torch.isfinite(model.eval()(IDS, token_type_ids=IDS).logits).all()


def test_a_cache_is_refused() -> None:
    model = small().train()
    model.gradient_checkpointing_enable()
    with pytest.raises(ConfigError, match="a cache was passed while training") as caught:
        model(IDS, use_cache=True)
    assert "use_cache" in caught.value.hint
    assert model.eval()(IDS, use_cache=True).past_key_values.get_seq_length() == 9
