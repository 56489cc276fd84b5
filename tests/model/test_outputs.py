"""Outputs by name, by index and as a tuple; which logits are kept."""

import re

import pytest
import torch

from ogpt.errors import ConfigError
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.outputs import CausalLMOutput
from tests.model.small import KINDS, apart, draw_ids, small

MODEL = small()
IDS = draw_ids(2, 6)
LM = ["loss", "logits", "past_key_values", "hidden_states", "attentions"]
ORDER = [
    ["last_hidden_state", "past_key_values", "hidden_states", "attentions"],
    LM,
    ["loss", "mc_loss", "logits", "mc_logits", *LM[2:]],
    LM,
]
LABELS = [
    {},
    {"labels": IDS},
    {"labels": IDS, "mc_labels": torch.tensor([1])},
    {"labels": torch.tensor([0, 1])},
]
EVERYTHING = {"use_cache": True, "output_hidden_states": True, "output_attentions": True}


@pytest.mark.parametrize(("kind", "names", "labels"), list(zip(KINDS, ORDER, LABELS, strict=True)))
def test_the_parts_of_each_output(kind, names: list[str], labels: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    model = small(kind)
    out = model(IDS, **labels, **EVERYTHING)
    assert out.keys() == list(out) == names
    assert len(out) == len(names)
    for place, (name, value) in enumerate(out.items()):
        assert out[name] is value
        assert out[place] is value
        assert getattr(out, name) is value
        assert out.get(name) is value
        assert name in out
    assert all(a is b for a, b in zip(out[1:], out.values()[1:], strict=True))
    assert len(model(IDS)) == len(names) - len(labels) - 3
    as_tuple = model(IDS, **labels, **EVERYTHING, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert torch.equal(as_tuple[0], out[0])
    assert [type(x) for x in as_tuple] == [type(x) for x in out.to_tuple()]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_configuration_asks_for(kind) -> None:  # type: ignore[no-untyped-def]
    out = small(kind, output_attentions=True, output_hidden_states=True)(IDS)
    assert len(out.attentions) == 2
    assert len(out.hidden_states) == 3
    quiet = small(kind, output_attentions=True)(IDS, output_attentions=False)
    assert "attentions" not in quiet
    for told in ({"return_dict": False}, {"torchscript": True}):
        model = small(kind, **told)
        assert isinstance(model(IDS), tuple)
        assert not isinstance(model(IDS, return_dict=True), tuple)


def test_parts_that_are_not_there() -> None:
    out = MODEL(IDS)
    assert out.loss is None
    assert "loss" not in out
    assert out.get("loss", 3) == 3
    with pytest.raises(KeyError):
        out["loss"]
    with pytest.raises(IndexError):
        out[1]
    assert CausalLMOutput().to_tuple() == ()


def test_states_are_those_between_the_blocks() -> None:
    base = MODEL.transformer
    out = base(IDS, output_hidden_states=True)
    embedded = base.tokens_embed(IDS) + base.positions_embed(torch.arange(6))
    assert torch.equal(out.hidden_states[0], embedded)
    assert torch.equal(out.hidden_states[-1], out.last_hidden_state)


# logits_to_keep


@pytest.mark.parametrize("shape", [(6,), (2, 6), (2, 3, 6)])
def test_logits_to_keep(shape: tuple[int, ...]) -> None:
    ids = draw_ids(*shape)
    whole = MODEL(ids).logits
    for count in (1, 4, 6, 9):
        assert apart(MODEL(ids, logits_to_keep=count).logits, whole[..., -count:, :]) < 1e-5
    index = torch.tensor([5, 0, 3])
    assert apart(MODEL(ids, logits_to_keep=index).logits, whole[..., index, :]) < 1e-5
    every = torch.tensor([True, False, True, False, False, True])
    assert apart(MODEL(ids, logits_to_keep=every).logits, whole[..., every, :]) < 1e-5
    if len(shape) > 1:
        each = draw_ids(*shape[:-1], 4, vocab_size=6)
        expected = whole.gather(-2, each[..., None].expand(*each.shape, 40))
        assert apart(MODEL(ids, logits_to_keep=each).logits, expected) < 1e-5
        chosen = draw_ids(*shape, seed=4) > 20
        assert apart(MODEL(ids, logits_to_keep=chosen).logits, whole[chosen]) < 1e-5


def test_a_negative_number_of_logits() -> None:
    with pytest.raises(ConfigError, match="logits_to_keep is -1; allowed: 0 or more") as caught:
        MODEL(IDS, logits_to_keep=-1)
    assert "every position" in caught.value.hint


@pytest.mark.parametrize(
    "keep",
    [
        torch.tensor(3),
        torch.zeros(3, 1, dtype=torch.int64),
        torch.zeros(2, 5, dtype=torch.bool),
        torch.zeros(2, 3, 1, dtype=torch.int64),
    ],
)
def test_an_index_of_another_shape(keep: torch.Tensor) -> None:
    shown = rf"logits_to_keep has dtype {keep.dtype} and shape {re.escape(str(tuple(keep.shape)))}"
    with pytest.raises(ConfigError, match=shown) as caught:
        MODEL(IDS, logits_to_keep=keep)
    assert "from the end" in caught.value.hint
    with pytest.raises(ConfigError, match="logits_to_keep"):
        MODEL(IDS[0], logits_to_keep=torch.tensor(3))


def test_labels_with_kept_logits() -> None:
    for given in ({"labels": IDS}, {"shift_labels": IDS}):
        with pytest.raises(ConfigError, match="together with logits_to_keep=") as caught:
            MODEL(IDS, logits_to_keep=torch.tensor([1]), **given)
        assert "every position" in caught.value.hint


def test_choices_keep_their_shape_in_every_state() -> None:
    """transformers gives (B * K, T, C) for all states but the last."""
    out = small(OpenAIGPTDoubleHeadsModel)(draw_ids(2, 3, 5), **EVERYTHING)
    assert {state.shape for state in out.hidden_states} == {(2, 3, 5, 16)}
    assert {probs.shape for probs in out.attentions} == {(2, 3, 4, 5, 5)}
