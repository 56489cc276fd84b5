"""Embeddings grow and shrink, heads are pruned, weights are tied, untied and frozen."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ogpt.config.lstm_config import LSTMConfig
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, ContextTooLong
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from tests.model.small import KINDS, Kind, apart, config, draw_ids, small

IDS = draw_ids(2, 6)


# token embeddings


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tied", [True, False])
def test_rows_come_and_go(kind, tied: bool) -> None:  # type: ignore[no-untyped-def]
    model = small(kind, tie_word_embeddings=tied)
    before, old = model(IDS), model.get_input_embeddings().weight.detach().clone()
    embedding = model.resize_token_embeddings(45)
    assert embedding is model.get_input_embeddings()
    assert embedding.weight.shape == (45, 16)
    assert embedding.num_embeddings == model.config.vocab_size == 45
    assert torch.equal(embedding.weight[:40], old)
    assert apart(embedding.weight[40:], old.mean(0).expand(5, -1)) < 1e-6
    grown = model(torch.full((1, 3), 44))
    assert all(torch.isfinite(x).all() for x in grown.values())
    head = model.get_output_embeddings()
    if head is not None:
        assert (head.weight is embedding.weight) == tied
        assert head.out_features == len(head.weight) == 45
        assert apart(model(IDS).logits[..., :40], before.logits) < 1e-6
    else:
        assert apart(model(IDS)[0], before[0]) < 1e-6
    model.resize_token_embeddings(30)
    assert torch.equal(embedding.weight, old[:30])
    assert model(IDS % 30)[0].isfinite().all()


def test_new_rows_by_chance() -> None:
    torch.manual_seed(0)
    model = small(n_embd=64, initializer_range=0.05)
    model.resize_token_embeddings(540, mean_resizing=False)
    new = model.get_input_embeddings().weight[40:]
    assert abs(new.std().item() - 0.05) < 0.002
    assert abs(new.mean().item()) < 0.002


@pytest.mark.parametrize(("rows", "multiple", "found"), [(41, 8, 48), (None, 64, 64), (48, 8, 48)])
def test_rows_in_multiples(rows: int | None, multiple: int, found: int) -> None:
    model = small()
    model.resize_token_embeddings(rows, pad_to_multiple_of=multiple)
    assert model.config.vocab_size == found
    assert small().resize_token_embeddings().num_embeddings == 40


@pytest.mark.parametrize("bad", [0, -8, 1.5, True])
def test_a_multiple_that_is_none(bad: object) -> None:
    message = f"pad_to_multiple_of is {bad!r}; allowed: an integer, 1 or more"
    with pytest.raises(ConfigError, match=message) as caught:
        small().resize_token_embeddings(41, pad_to_multiple_of=bad)
    assert "64" in caught.value.hint


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_new_rows_keep_dtype_and_gradient(dtype: torch.dtype) -> None:
    model = small(OpenAIGPTDoubleHeadsModel, tie_word_embeddings=False).to(dtype)
    model.get_input_embeddings().weight.requires_grad_(False)
    model.resize_token_embeddings(50)
    assert model.get_input_embeddings().weight.dtype == model.lm_head.weight.dtype == dtype
    assert not model.get_input_embeddings().weight.requires_grad
    assert model.lm_head.weight.requires_grad


def test_a_refused_size_changes_nothing() -> None:
    model = small()
    for change in (model.resize_token_embeddings, model.resize_position_embeddings):
        with pytest.raises(ConfigError, match="is -3; allowed: an integer, 1 or more"):
            change(-3)
    assert model.config.to_dict() == config().to_dict()
    assert model.num_parameters() == small().num_parameters()


# positions


@pytest.mark.parametrize("kind", KINDS)
def test_positions_come_and_go(kind) -> None:  # type: ignore[no-untyped-def]
    model = small(kind)
    before, old = model(IDS)[0], model.base_model.positions_embed.weight.detach().clone()
    model.resize_position_embeddings(30)
    assert model.config.n_positions == 30
    assert torch.equal(model.base_model.positions_embed.weight[:16], old)
    assert 0.1 < model.base_model.positions_embed.weight[16:].std() < 0.6
    assert torch.equal(model(IDS)[0], before)
    long = model(draw_ids(1, 30), use_cache=True)
    assert long.past_key_values.get_seq_length() == 30
    model.resize_position_embeddings(4)
    with pytest.raises(
        ContextTooLong, match="the input has 6 tokens; the model's context length is 4"
    ):
        model(IDS)


# heads


PRUNED = {0: [1, 3], 1: [2]}


def head_mask(heads: dict[int, list[int]]) -> torch.Tensor:
    mask = torch.ones(2, 4)
    for layer, gone in heads.items():
        mask[layer, gone] = 0
    return mask


@pytest.mark.parametrize("kind", KINDS)
def test_pruning_equals_zeroing(kind) -> None:  # type: ignore[no-untyped-def]
    model = small(kind)
    expected = model(IDS, head_mask=head_mask(PRUNED))[0]
    whole, size = model(IDS)[0], model.num_parameters()
    model.prune_heads(PRUNED)
    assert apart(model(IDS)[0], expected) < 1e-5
    assert apart(whole, expected) > 0.01
    assert model.config.pruned_heads == PRUNED
    assert size - model.num_parameters() == 3 * (4 * 16 * 3 + 4 * 3 + 4 * 16)
    out = model(IDS, output_attentions=True)
    assert [probs.shape[1] for probs in out.attentions] == [2, 3]
    mask = torch.tensor([[0.5, 1.0, 1.0, 0.0], [1.0, 0.5, 1.0, 1.0]])
    expected = small(kind)(IDS, head_mask=head_mask(PRUNED) * mask)[0]
    assert apart(model(IDS, head_mask=mask)[0], expected) < 1e-5


def test_pruning_twice() -> None:
    model, twice = small(), small()
    model.prune_heads(PRUNED)
    twice.prune_heads({0: [3]})
    twice.prune_heads({0: [1, 3], 1: [2]})
    assert twice.config.pruned_heads == PRUNED
    assert torch.equal(twice(IDS).logits, model(IDS).logits)
    for one, other in zip(model.parameters(), twice.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("parity", ["ogpt", "transformers-4"])
@pytest.mark.parametrize("gone", [[1], [0, 2, 3]])
def test_masks_for_each_head_of_a_pruned_model(parity: str, gone: list[int]) -> None:
    model = small(parity=parity)
    mask = torch.rand(2, 4, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.3
    mask |= torch.eye(6, dtype=torch.bool)
    expected = model(IDS, attention_mask=mask, head_mask=head_mask({0: gone})).logits
    model.prune_heads({0: gone})
    assert apart(model(IDS, attention_mask=mask).logits, expected) < 1e-5


def test_a_pruned_model_saves_loads_caches_and_generates(tmp_path: Path) -> None:
    model = small()
    model.prune_heads(PRUNED)
    model.save_pretrained(tmp_path)
    loaded = OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
    assert loaded.config.pruned_heads == PRUNED
    whole = model(IDS).logits
    assert torch.equal(loaded(IDS).logits, whole)
    first = loaded(IDS[:, :4], use_cache=True)
    second = loaded(IDS[:, 4:], past_key_values=first.past_key_values)
    assert apart(second.logits, whole[:, 4:]) < 1e-5
    zeroed, ids = small(), IDS
    for _ in range(4):
        nearest = zeroed(ids, head_mask=head_mask(PRUNED)).logits[:, -1].argmax(-1)
        ids = torch.cat([ids, nearest[:, None]], dim=1)
    assert torch.equal(loaded.generate(IDS, max_new_tokens=4), ids)
    assert loaded.generate(IDS, max_new_tokens=4, num_beams=3).shape == (2, 10)


@pytest.mark.parametrize(
    ("heads", "seen"), [({2: [0]}, "layer 2"), ({-3: [0]}, "layer -3"), ({0: [4]}, r"\[4\]")]
)
def test_heads_that_are_not_there(heads: dict[int, list[int]], seen: str) -> None:
    with pytest.raises(ConfigError, match=rf"{seen}.* allowed: layers 0 to 1, heads 0 to 3") as e:
        small().prune_heads(heads)
    assert "{layer: [heads]}" in e.value.hint


def test_layers_and_heads_from_the_end() -> None:
    model, other = small(), small()
    model.prune_heads({-1: [0, -1], 1: [2]})
    other.prune_heads({1: [0, 2, 3]})
    assert model.config.pruned_heads == {1: [0, 2, 3]}
    assert torch.equal(model(IDS).logits, other(IDS).logits)
    stored = OpenAIGPTConfig(**{**small().config.to_dict(), "pruned_heads": {"-1": [0]}})
    assert stored.pruned_heads == {1: [0]}  # transformers 4 writes -1 into config.json


def test_the_last_head_stays() -> None:
    model = small()
    model.prune_heads({1: [0, 1]})
    with pytest.raises(ConfigError, match="all 4 heads of layer 1") as caught:
        model.prune_heads({1: [2, 3]})
    assert "fewer" in caught.value.hint
    assert model.config.pruned_heads == {1: [0, 1]}


# ties and frozen weights


def test_a_head_is_untied_and_tied_again(tmp_path: Path) -> None:
    model = small()
    before, size = model(IDS).logits, model.num_parameters()
    model.untie_weights()
    assert model.lm_head.weight is not model.transformer.tokens_embed.weight
    assert model.num_parameters() == size + 40 * 16
    assert torch.equal(model(IDS).logits, before)
    with torch.no_grad():
        model.lm_head.weight.mul_(2)
    assert apart(model(IDS).logits, before * 2) < 1e-5
    model.save_pretrained(tmp_path)
    loaded = OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)
    assert not loaded.config.tie_word_embeddings


def test_other_embeddings_and_heads() -> None:
    model = small()
    model.set_input_embeddings(nn.Embedding(40, 16))
    assert model.lm_head.weight is model.get_input_embeddings().weight
    with pytest.raises(ConfigError, match=r"has the shape \(40,\); allowed: \(rows, 16\)"):
        model.set_input_embeddings(SimpleNamespace(weight=torch.zeros(40)))
    assert small(KINDS[3]).get_output_embeddings() is None


@pytest.mark.parametrize("kind", KINDS[1:3])
@pytest.mark.parametrize("tied", [True, False])
def test_another_head_is_no_longer_tied(kind: Kind, tied: bool, tmp_path: Path) -> None:
    model = small(kind, tie_word_embeddings=tied)
    given, head = model.config, nn.Linear(16, 40, bias=False)
    model.set_output_embeddings(head)
    assert model.get_output_embeddings() is head
    assert given.tie_word_embeddings == tied  # other models may share it
    assert model.config is model.transformer.config
    assert not model.config.tie_word_embeddings
    assert not model.all_tied_weights_keys
    out = model(IDS).logits
    assert torch.equal(out, head(model.transformer(IDS)[0]))
    model.save_pretrained(tmp_path)
    assert torch.equal(kind.from_pretrained(tmp_path)(IDS).logits, out)


def test_the_same_head_stays_tied() -> None:
    model = small()
    model.set_output_embeddings(model.get_output_embeddings())
    assert model.config.tie_word_embeddings
    assert model.lm_head.weight is model.get_input_embeddings().weight
    model.untie_weights()
    head = nn.Linear(16, 40, bias=False)
    head.weight = model.get_input_embeddings().weight
    model.set_output_embeddings(head)
    assert model.config.tie_word_embeddings


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (nn.Linear(16, 41, bias=False), r"the shape \(41, 16\); allowed: \(40, 16\), no bias"),
        (nn.Linear(16, 40), r"the shape \(40, 16\) and a bias; allowed"),
    ],
)
def test_a_head_that_does_not_fit(head: nn.Linear, message: str) -> None:
    model = small()
    before = model.lm_head
    with pytest.raises(ConfigError, match=message) as caught:
        model.set_output_embeddings(head)
    assert "resize_token_embeddings" in caught.value.hint
    assert model.lm_head is before
    assert model.config.tie_word_embeddings


def test_a_model_without_a_head_gets_none() -> None:
    model = small(KINDS[3])
    with pytest.raises(ConfigError, match="without a language-model head") as caught:
        model.set_output_embeddings(nn.Linear(16, 40, bias=False))
    assert "OpenAIGPTLMHeadModel" in caught.value.hint
    assert not hasattr(model, "lm_head")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("rows", [43, 38])
def test_an_embedding_with_other_rows(tied: bool, rows: int) -> None:
    model = small(tie_word_embeddings=tied, tokenizer_fingerprint="x")
    config, head = model.config, model.lm_head.weight.detach().clone()
    table = nn.Embedding(rows, 16)
    model.set_input_embeddings(table)
    assert model.get_input_embeddings() is table
    assert model.config.vocab_size == model.transformer.config.vocab_size == rows
    assert config.vocab_size == 40  # that of other models
    assert not hasattr(model.config, "tokenizer_fingerprint")
    ids = torch.tensor([[1, rows - 1]])
    out = model(ids, labels=ids)
    assert out.logits.shape == (1, 2, rows)
    assert out.loss.isfinite()
    assert (model.lm_head.weight is table.weight) == tied
    if not tied:
        assert torch.equal(model.lm_head.weight[:38], head[:38])
        assert model.lm_head.out_features == rows


def test_the_position_embedding() -> None:
    for kind in KINDS:
        model = small(kind)
        assert model.get_position_embeddings() is model.base_model.positions_embed
    model = OpenAIGPTLMHeadModel(LSTMConfig(vocab_size=9, n_embd=4, lstm_units=5))
    with pytest.raises(ConfigError, match="the model is an LSTM; only a transformer") as caught:
        model.get_position_embeddings()
    assert "in order" in caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_weights_do_not_move(kind) -> None:  # type: ignore[no-untyped-def]
    model = small(kind).train()
    model.freeze(layers=1)
    before = copy.deepcopy(model)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    prefix = "" if kind is KINDS[0] else "transformer."
    assert {name.removeprefix(prefix).split(".")[0] for name in frozen} == {
        "tokens_embed",
        "positions_embed",
        "h",
    }
    assert all(".h.0." in f".{name}" for name in frozen if "embed" not in name)
    assert model.num_parameters(only_trainable=True) < model.num_parameters()
    model(IDS)[0].square().sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    for (name, new), old in zip(model.named_parameters(), before.parameters(), strict=True):
        assert torch.equal(new, old) == (name in frozen or new.grad is None), name
    model.freeze(embeddings=False, layers=[1])
    assert model.base_model.tokens_embed.weight.requires_grad
    assert not any(p.requires_grad for p in model.base_model.h[1].parameters())
    model.freeze(False)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("bad", [3, -1, [2], [-1, 0]])
def test_layers_that_are_not_there(bad: object) -> None:
    with pytest.raises(ConfigError, match=r"layers \[.*\] were to be frozen; allowed: 0 to 1") as e:
        small().freeze(layers=bad)
    assert "how many" in e.value.hint
