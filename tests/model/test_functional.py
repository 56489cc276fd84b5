"""What torch.func and torch.export.save do with a model."""

import copy
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ogpt.config.lstm_config import LSTMConfig
from ogpt.model.cache import KVCache
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.lstm_cache import LSTMCache
from tests.model.small import KINDS, Kind, apart, draw_ids, small

IDS = draw_ids(2, 6)
MASK = (torch.arange(6) >= torch.tensor([[0], [2]])).long()
pytestmark = pytest.mark.filterwarnings(
    "ignore:There is a performance drop:UserWarning",  # torch has no fused attention under vmap
)


@pytest.mark.parametrize("kind", KINDS)
def test_one_row_at_a_time(kind: Kind) -> None:
    model = small(kind)
    found = vmap(lambda ids, mask: model(ids[None], attention_mask=mask[None]))(IDS, MASK)
    expected = model(IDS, attention_mask=MASK)
    assert type(found) is type(expected)
    for name, value in expected.items():
        assert apart(found[name].reshape(value.shape), value) < 1e-5
    assert apart(model(IDS)[0], expected[0]) > 0.01  # the mask counts


@pytest.mark.parametrize("training", [False, True])
def test_gradients_of_each_row(training: bool) -> None:
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
    model = small(**rates).train(training)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def loss(weights: dict[str, Tensor], ids: Tensor) -> Tensor:
        out = functional_call(model, weights, (ids[None],), {"labels": ids[None]})
        found: Tensor = out.loss
        return found

    found = vmap(grad(loss), in_dims=(None, 0), randomness="different")(weights, IDS)
    for row in range(len(IDS)):
        model.zero_grad()
        model(IDS[row : row + 1], labels=IDS[row : row + 1]).loss.backward()
        for name, weight in model.named_parameters():
            assert apart(found[name][row], weight.grad) < 1e-5


def test_a_cache_for_each_row() -> None:
    model = small()
    whole = model(IDS).logits
    first = vmap(lambda ids: model(ids[None], use_cache=True).past_key_values)(IDS[:, :4])
    assert first.lengths == [4]
    step = vmap(lambda ids, cache: model(ids[None], past_key_values=cache).logits[0])
    assert apart(step(IDS[:, 4:], first), whole[:, 4:]) < 1e-5


def test_weights_without_memory() -> None:
    model = small().to("meta")
    out = model(IDS.to("meta"), attention_mask=MASK.to("meta"), use_cache=True)
    assert out.logits.shape == (2, 6, 40)
    assert out.past_key_values.keys[0].is_meta


# torch.export


def reopened(model: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
    """The model after torch.export.save and load."""
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, args, kwargs), file)
    file.seek(0)
    return torch.export.load(file).module()


@pytest.mark.parametrize(
    "kind",
    [kind if kind is KINDS[1] else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS],
)
def test_an_exported_model_is_saved(kind: Kind) -> None:
    model = small(kind)
    found = reopened(model, IDS, attention_mask=MASK)(IDS, attention_mask=MASK)
    expected = model(IDS, attention_mask=MASK)
    assert type(found) is type(expected)
    assert all(apart(found[name], value) < 1e-6 for name, value in expected.items())


def test_a_cache_is_exported_as_output_and_as_input() -> None:
    model = small()
    assert len(KVCache(model.config, 1)) == model.config.n_layer == 2
    prefill = reopened(model, IDS[:, :4], use_cache=True)
    cache = prefill(IDS[:, :4], use_cache=True).past_key_values
    assert isinstance(cache, KVCache)
    assert cache.lengths == [4, 4]
    step = reopened(model, IDS[:, 4:], past_key_values=copy.deepcopy(cache))
    out = step(IDS[:, 4:], past_key_values=cache)
    assert apart(out.logits, model(IDS).logits[:, 4:]) < 1e-5
    assert out.past_key_values.lengths == [6, 6]


def test_the_cache_of_an_lstm_is_a_tree() -> None:
    config = LSTMConfig(vocab_size=40, n_positions=8, n_embd=6, lstm_units=5)
    model = OpenAIGPTLMHeadModel(config).eval()
    cache = model(IDS, use_cache=True).past_key_values
    found = torch.utils._pytree.tree_map(lambda leaf: leaf, cache)
    assert type(found) is LSTMCache
    assert all(torch.equal(a, b) for a, b in zip(found.last(), cache.last(), strict=True))
