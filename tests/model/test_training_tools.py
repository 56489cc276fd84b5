"""What training tools, such as transformers' Trainer, find out about a model."""

import inspect

import pytest
import torch
from torch import Tensor

from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from tests.model.small import KINDS, Kind, draw_ids, small

IDS = draw_ids(2, 6)


def labels_of(kind: Kind) -> list[str]:
    """The arguments that Trainer takes for labels, which must be in every batch it evaluates."""
    return [name for name in inspect.signature(kind.forward).parameters if "label" in name]


def test_names_of_labels() -> None:
    found = {kind: labels_of(kind) for kind in KINDS}
    assert found == {
        OpenAIGPTModel: [],
        OpenAIGPTLMHeadModel: ["labels"],
        OpenAIGPTDoubleHeadsModel: ["labels", "mc_labels"],
        OpenAIGPTForSequenceClassification: ["labels"],
    }


@pytest.mark.parametrize("kind", KINDS)
def test_the_number_of_labels_is_passed_where_there_is_a_loss(kind: Kind) -> None:
    named = "num_items_in_batch" in inspect.signature(kind.forward).parameters
    assert kind.accepts_loss_kwargs == named == (kind is not OpenAIGPTModel)
    assert (kind.loss_type == "ForCausalLM") == hasattr(small(kind), "lm_head")


PROBLEMS = [
    ("single_label_classification", torch.tensor([2, 0])),
    ("single_label_classification", torch.tensor([2, -100])),
    ("multi_label_classification", torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])),
    ("regression", torch.tensor([[0.5, -2.0, 1.0], [0.0, 3.0, 1.0]])),
]


@pytest.mark.parametrize(("problem", "labels"), PROBLEMS)
@pytest.mark.parametrize("as_tensor", [True, False])
def test_micro_batches_of_a_classifier_add_up(
    problem: str, labels: Tensor, as_tensor: bool
) -> None:
    model = small(OpenAIGPTForSequenceClassification, problem_type=problem)
    whole = model(IDS, labels=labels).loss
    items = (labels != -100).sum()  # as Trainer counts them
    count = items if as_tensor else int(items)
    parts = [
        model(IDS[row : row + 1], labels=labels[row : row + 1], num_items_in_batch=count).loss
        for row in (0, 1)
    ]
    assert abs(sum(parts) - whole) < 1e-5
    assert abs(parts[0] - model(IDS[:1], labels=labels[:1]).loss) > 0.01 or items == 1


def test_a_number_of_labels_without_labels() -> None:
    """Trainer's label smoothing takes the labels away, and passes their number."""
    out = small()(IDS, num_items_in_batch=torch.tensor(3))
    assert out.loss is None
    assert out[0] is out.logits


@pytest.mark.parametrize("tied", [True, False])
def test_tied_weights_are_declared(tied: bool) -> None:
    model = small(tie_word_embeddings=tied)
    pairs = model.all_tied_weights_keys
    state = model.state_dict(keep_vars=True)
    assert all(state[name] is state[source] for name, source in pairs.items())
    shared = [name for name in state if sum(each is state[name] for each in state.values()) > 1]
    assert sorted(shared) == sorted([*pairs, *pairs.values()])
    assert model._keys_to_ignore_on_save == (["lm_head.weight"] if tied else None)
    if tied:
        model.untie_weights()
        assert model.all_tied_weights_keys == {}
    assert small(OpenAIGPTModel).all_tied_weights_keys == {}


@pytest.mark.parametrize("tied", [True, False])
def test_numbers_of_weights(tied: bool) -> None:
    model = small(tie_word_embeddings=tied, n_layer=1)
    # c_attn, c_proj of attention, c_fc, c_proj of the MLP, two norms
    block = (16 * 48 + 48) + (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16) + 4 * 16
    tables, head = 40 * 16 + 16 * 16, 0 if tied else 40 * 16
    assert model.num_parameters() == block + tables + head
    assert model.num_parameters(exclude_embeddings=True) == block + head
    model.freeze(layers=1)
    assert model.num_parameters(only_trainable=True) == head
    assert model.num_parameters(only_trainable=True, exclude_embeddings=True) == head
