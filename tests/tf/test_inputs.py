"""Inputs: all forms of a call, and the errors of PyTorch's models with the same text."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch

from ogpt.errors import ConfigError, OgptError, UnknownArgument
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import collecting
from ogpt.tf.inputs import OPTIONS
from tests.model.small import Kind, draw_ids, small
from tests.tf.twins import TWINS, as_numpy, gap, tf_small

pytestmark = pytest.mark.slow

IDS = draw_ids(2, 5)
CHOICES = draw_ids(2, 3, 5)
MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0]])
TYPES = draw_ids(2, 5, seed=1)
LM, DOUBLE = OpenAIGPTLMHeadModel, OpenAIGPTDoubleHeadsModel
CLASSIFIER = OpenAIGPTForSequenceClassification
MODELS = {kind: (small(kind), tf_small(kind)) for kind in TWINS}
ZEROS = torch.zeros

BAD: list[tuple[Kind, dict[str, Any]]] = [
    (LM, {}),
    (LM, {"input_ids": IDS, "inputs_embeds": ZEROS(2, 5, 16)}),
    (LM, {"input_ids": ZEROS((2, 0), dtype=torch.int64)}),
    (LM, {"input_ids": torch.tensor(3)}),
    (LM, {"inputs_embeds": ZEROS(2, 5, 15)}),
    (LM, {"inputs_embeds": ZEROS(16)}),
    (LM, {"input_ids": draw_ids(2, 17)}),
    (LM, {"input_ids": IDS + 40}),
    (LM, {"input_ids": IDS - 40}),
    (LM, {"input_ids": IDS.float()}),
    (LM, {"input_ids": IDS > 3}),
    (LM, {"input_ids": IDS, "token_type_ids": IDS + 40}),
    (LM, {"input_ids": IDS, "token_type_ids": IDS[:, :4]}),
    (LM, {"input_ids": IDS, "position_ids": torch.full((2, 5), 16)}),
    (LM, {"input_ids": IDS, "position_ids": ZEROS((3, 5), dtype=torch.int64)}),
    (LM, {"input_ids": IDS, "attention_mask": torch.ones(2, 4)}),
    (LM, {"input_ids": IDS, "attention_mask": torch.ones(2, 3, 5, 5)}),
    (LM, {"input_ids": IDS, "attention_mask": torch.full((2, 1, 5, 5), -1.5)}),
    (LM, {"input_ids": IDS, "attention_mask": torch.full((2, 5), 0.5)}),
    (LM, {"input_ids": IDS, "head_mask": torch.ones(3)}),
    (LM, {"input_ids": IDS, "labels": IDS[:, :4]}),
    (LM, {"input_ids": IDS, "labels": IDS[0]}),
    (LM, {"input_ids": IDS, "labels": IDS + 40}),
    (LM, {"input_ids": IDS, "labels": IDS.float()}),
    (DOUBLE, {"input_ids": CHOICES, "mc_token_ids": ZEROS((3, 2), dtype=torch.int64)}),
    (DOUBLE, {"input_ids": CHOICES, "mc_token_ids": torch.full((2, 3), 5)}),
    (DOUBLE, {"input_ids": CHOICES, "mc_token_ids": torch.full((2, 3), -1)}),
    (DOUBLE, {"input_ids": CHOICES, "mc_labels": torch.tensor([0, 3])}),
    (DOUBLE, {"input_ids": CHOICES, "mc_labels": torch.tensor([0, 1, 2])}),
    (DOUBLE, {"input_ids": IDS[0], "mc_labels": torch.tensor(0)}),
    (CLASSIFIER, {"input_ids": IDS, "labels": torch.tensor([0, 3])}),
    (CLASSIFIER, {"input_ids": IDS, "labels": torch.tensor([0])}),
    (CLASSIFIER, {"input_ids": IDS, "labels": ZEROS(3, 2)}),
    (OpenAIGPTModel, {"input_ids": IDS, "output_attention": True}),
]


def refusal(model: Any, given: dict[str, Any]) -> OgptError:
    with pytest.raises(OgptError) as caught:
        model(**given)
    return caught.value


@pytest.mark.parametrize(("kind", "given"), BAD)
def test_refusals_are_those_of_pytorch(kind: Kind, given: dict[str, Any]) -> None:
    model, other = MODELS[kind]
    theirs, ours = refusal(model, given), refusal(other, as_numpy(given))
    assert type(ours) is type(theirs)
    names = {"torch.int64": "int32", "torch.": "", "forward": "call"}
    expected = str(theirs)
    for one, two in names.items():
        expected = expected.replace(one, two)
    if isinstance(theirs, UnknownArgument):  # each lists its own arguments
        expected, found = (text.partition(";")[0] for text in (expected, str(ours)))
        assert found == expected
    else:
        assert str(ours) == expected
    assert ours.hint == theirs.hint


@pytest.mark.parametrize("low", [float("-inf"), -1e9, -1000.0])
@pytest.mark.parametrize("shape", [(2, 1, 5, 5), (1, 1, 5, 5), (2, 4, 5, 5), (2, 1, 1, 5)])
def test_additive_masks(shape: tuple[int, ...], low: float) -> None:
    model, other = MODELS[LM]
    hidden = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.4
    mask = torch.zeros(shape).masked_fill(hidden, low)
    with torch.no_grad():
        expected, unmasked = model(IDS, attention_mask=mask).logits, model(IDS).logits
    found = other(IDS.numpy(), attention_mask=mask.numpy()).logits
    assert gap(found, expected) < 1e-5
    assert gap(found, unmasked) > 0.01
    graph = tf.function(lambda ids, mask: other(ids, attention_mask=mask).logits)
    assert gap(graph(IDS.numpy(), mask.numpy()), expected) < 1e-5


def test_the_scores_of_choices_that_are_none() -> None:
    given = {"input_ids": CHOICES, "mc_labels": torch.tensor([0, 1])}
    changes = {"summary_proj_to_labels": False}
    theirs = refusal(small(DOUBLE, **changes), given)
    ours = refusal(tf_small(DOUBLE, **changes), as_numpy(given))
    assert (str(ours), ours.hint) == (str(theirs), theirs.hint)


# forms of a call


FORMS: dict[str, Any] = {
    "names": lambda m, ids, mask, types: m(
        input_ids=ids, attention_mask=mask, token_type_ids=types
    ),
    "positions": lambda m, ids, mask, types: m(ids, mask, types),
    "list": lambda m, ids, mask, types: m([ids, mask, types]),
    "tuple": lambda m, ids, mask, types: m((ids, mask, types)),
    "mapping": lambda m, ids, mask, types: m(
        {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    ),
    "mapping and names": lambda m, ids, mask, types: m(
        {"input_ids": ids, "attention_mask": mask}, token_type_ids=types
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("as_tensor", [np.asarray, tf.constant])
def test_forms_of_a_call(form: str, as_tensor: Any) -> None:
    given = [as_tensor(one.numpy()) for one in (IDS, MASK, TYPES)]
    found = FORMS[form](MODELS[LM][1], *given).logits
    with torch.no_grad():
        expected = MODELS[LM][0](IDS, attention_mask=MASK, token_type_ids=TYPES).logits
    assert gap(found, expected) < 1e-5


def test_a_list_with_a_gap() -> None:
    other = MODELS[LM][1]
    found = other([IDS.numpy(), None, TYPES.numpy()]).logits
    assert gap(found, other(IDS.numpy(), token_type_ids=TYPES.numpy()).logits) == 0


def test_tuples_and_options() -> None:
    other = MODELS[LM][1]
    out = other(IDS.numpy(), labels=IDS.numpy(), return_dict=False, output_hidden_states=True)
    assert [type(value) for value in out[2:]] == [tuple]
    assert gap(out[0], other(IDS.numpy(), labels=IDS.numpy()).loss) == 0
    asked = tf_small(LM, output_attentions=True, return_dict=False)(IDS.numpy())
    assert len(asked) == 2
    assert len(asked[1]) == 2
    assert set(OPTIONS) <= set(type(other).call.__code__.co_varnames)


def test_no_tensors() -> None:
    other = MODELS[LM][1]
    for given in ([[4, 8, 15]], "a text", 3):
        with pytest.raises(ConfigError, match=r"input_ids is a \w+; allowed: a tf.Tensor") as bad:
            other(given)
        assert "return_tensors" in bad.value.hint
    with pytest.raises(ConfigError, match="labels is a list"):
        other(IDS.numpy(), labels=[1, 2])
    with pytest.raises(ConfigError, match="input_ids was passed twice"):
        other({"input_ids": IDS.numpy()}, input_ids=IDS.numpy())
    with pytest.raises(UnknownArgument, match="12 positional arguments were passed; allowed: inp"):
        other(*[IDS.numpy()] * 12)


def test_errors_of_others_stay_as_they_are() -> None:
    def fail(x: tf.Tensor) -> tf.Tensor:
        raise RuntimeError("out of memory")

    other = tf_small(LM)
    other.transformer.h[0].mlp.act = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        other(IDS.numpy())


def test_unknown_arguments_are_left_out_where_parity_asks() -> None:
    other = tf_small(LM, parity="transformers-5")
    with collecting() as notices:
        other(IDS.numpy(), lm_labels=IDS.numpy())
    assert [notice.kind for notice in notices] == ["arguments-ignored"]


# in a graph


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("kind", TWINS)
def test_one_graph_for_all_shapes(kind: Kind, jit_compile: bool) -> None:
    """Batch size and length unknown when it is traced; the output comes out as it is."""
    other = MODELS[kind][1]
    axes = [None] * (3 if kind is DOUBLE else 2)
    spec = tf.TensorSpec(axes, tf.int32)

    @tf.function(input_signature=[spec, spec], jit_compile=jit_compile)
    def run(ids: tf.Tensor, mask: tf.Tensor) -> Any:
        return other(ids, mask, output_hidden_states=True)

    for size in ((2, 5), (3, 7)):
        ids = draw_ids(size[0], *axes[2:] and [4], size[1])
        mask = torch.ones_like(ids)
        mask[..., -2:] = 0
        given = (tf.constant(ids.int().numpy()), tf.constant(mask.int().numpy()))
        found, expected = run(*given), other(*given, output_hidden_states=True)
        assert type(found) is type(expected)
        for name, value in expected.items():
            pairs = zip(found[name], value, strict=True) if isinstance(value, tuple) else None
            for one, two in pairs or [(found[name], value)]:
                assert gap(one, two, 0.1) < 1e-5


def test_losses_in_a_graph() -> None:
    with collecting() as notices:
        ignored = tf.fill((2, 5), -100)
        nothing = MODELS[LM][1](IDS.numpy(), labels=ignored)
    assert [notice.kind for notice in notices] == ["nothing-to-learn"]
    assert float(nothing.loss) == 0
    traced = tf.function(lambda labels: MODELS[LM][1](IDS.numpy(), labels=labels).loss)
    assert float(traced(ignored)) == 0
