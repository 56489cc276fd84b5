"""Outputs by name, by index and as a tuple; which logits are kept."""

import copy
import pickle
import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_map

from ogpt.errors import ConfigError
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.outputs import BaseModelOutput, CausalLMOutput
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
    assert list(out.keys()) == list(out) == list(dict(out)) == names
    assert isinstance(out, dict)
    assert len(out) == len(names)
    for place, (name, value) in enumerate(out.items()):
        assert out[name] is value
        assert out[place] is value
        assert getattr(out, name) is value
        assert out.get(name) is value
        assert name in out
    assert all(a is b for a, b in zip(out[1:], list(out.values())[1:], strict=True))
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


# as a dict


def test_fields_are_set_by_name_key_or_index() -> None:
    out = MODEL(IDS, output_hidden_states=True)
    one, other = torch.zeros(1), torch.ones(1)
    out.loss = one  # the order stays that of the fields
    assert list(out) == ["loss", "logits", "hidden_states"]
    assert out[0] is out["loss"] is one
    out["logits"] = other
    assert out.logits is out[1] is other
    out[0] = other
    assert out.loss is out["loss"] is other
    out.loss = None
    assert "loss" not in out
    out["mine"] = one  # other names follow the fields
    assert out.mine is out[-1] is one
    del out["hidden_states"]
    assert out.hidden_states is None
    assert list(out) == ["logits", "mine"]
    with pytest.raises(KeyError):
        del out["hidden_states"]
    out.aside = one  # an attribute alone, as in transformers
    assert "aside" not in out


def test_methods_of_dict_set_the_fields() -> None:
    one, other = torch.zeros(1), torch.ones(1)
    out = CausalLMOutput(loss=one)
    out.update(logits=other)
    out |= {"loss": other}
    assert out.loss is out.logits is other
    assert out.setdefault("logits", one) is other
    assert out.setdefault("attentions", (one,)) is out.attentions
    assert out.pop("logits") is other
    assert out.logits is None
    assert out.pop("logits", 3) == 3
    assert out.popitem()[0] == "loss"
    out.clear()
    assert out.to_tuple() == ()
    assert out.attentions is None


@pytest.mark.parametrize("build", [dict, lambda out: iter(out.items()), lambda out: [*out.items()]])
def test_an_output_of_a_mapping_or_pairs(build: Callable[[CausalLMOutput], object]) -> None:
    """accelerate and DataParallel build the gathered output so."""
    for out in (MODEL(IDS, labels=IDS), MODEL.transformer(IDS, output_hidden_states=True)):
        again = type(out)(build(out))
        assert dict(again) == dict(out)
        assert [getattr(again, name) for name in out] == [*out.values()]
    shape = BaseModelOutput((1, 3, 8))  # no pairs
    assert shape.last_hidden_state == (1, 3, 8)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda out: pickle.loads(pickle.dumps(out))]
)
def test_copies(again: Callable[[CausalLMOutput], CausalLMOutput]) -> None:
    out = MODEL(IDS, output_hidden_states=True)
    out = type(out)(logits=out.logits.detach(), hidden_states=(IDS,))
    found = again(out)
    assert list(found) == ["logits", "hidden_states"]
    assert torch.equal(found.logits, out.logits)
    assert torch.equal(found["hidden_states"][0], IDS)
    found.loss = IDS
    assert found[0] is IDS
    assert out.loss is None


def test_outputs_are_trees_of_torch() -> None:
    out = MODEL(IDS, labels=IDS, use_cache=True)
    narrow = tree_map(Tensor.bfloat16, out)
    assert type(narrow) is type(out)
    assert list(narrow) == list(out)
    assert narrow["logits"].dtype == narrow.loss.dtype == torch.bfloat16
    assert narrow.past_key_values.keys[1].dtype == torch.bfloat16
    assert narrow.past_key_values.lengths == [6, 6]
    named = dict(tree_flatten_with_path(out)[0])
    assert [keystr(path) for path in named] == [
        *(".loss", ".logits"),
        *(
            f".past_key_values[{(name, layer)!r}]"
            for name in ("keys", "values")
            for layer in (0, 1)
        ),
    ]


def test_outputs_of_accelerate() -> None:
    """Under mixed precision accelerate converts what a model returns to float32."""
    operations = pytest.importorskip("accelerate.utils.operations")
    model = small().bfloat16()
    found = operations.convert_outputs_to_fp32(model.forward)(IDS, output_hidden_states=True)
    expected = model(IDS, output_hidden_states=True)
    assert type(found) is CausalLMOutput
    assert found.logits.dtype == found["hidden_states"][0].dtype == torch.float32
    assert apart(found.logits, expected.logits) == 0.0
    joined = operations.concatenate([found, found])
    assert joined.logits.shape == (4, 6, 40)


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
