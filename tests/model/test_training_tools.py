"""What training tools, such as transformers' Trainer, find out about a model."""

import inspect
import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ogpt.errors import ConfigError
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import collecting
from tests.model.small import KINDS, Kind, draw_ids, small

IDS = draw_ids(2, 6)
CLASSIFIER = OpenAIGPTForSequenceClassification


def labels_of(kind: Kind) -> list[str]:
    """The arguments that Trainer takes for labels, which must be in every batch it evaluates."""
    return [name for name in inspect.signature(kind.forward).parameters if "label" in name]


class Adapter(torch.nn.Linear):
    """As PEFT makes one of a layer."""

    __module__ = "peft.tuners.lora.layer"


def test_an_adapter_of_a_head_is_reported() -> None:
    """PEFT's all-linear finds no other layer of these classes."""
    for kind, name in ((OpenAIGPTLMHeadModel, "lm_head"), (CLASSIFIER, "score")):
        model, layer = small(kind), Adapter(16, 40, bias=False)
        with collecting() as notices:
            setattr(model, name, layer)
        assert [notice.fields for notice in notices] == [{"layer": name}]
        assert "ogpt.integrations.transformers" in notices[0].message
        assert getattr(model, name) is layer


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


@pytest.mark.parametrize("kind", KINDS)
def test_sizes(kind: Kind) -> None:
    model = small(kind)
    weights = model.num_parameters()
    assert model.get_memory_footprint() == 4 * weights
    assert small(kind).bfloat16().get_memory_footprint(return_buffers=False) == 2 * weights
    model.register_buffer("more", torch.zeros(3, dtype=torch.float64))
    assert model.get_memory_footprint() == 4 * weights + 24
    assert model.get_memory_footprint(return_buffers=False) == 4 * weights
    batch = {"input_ids": IDS, "labels": IDS}
    inside = model.num_parameters(exclude_embeddings=True)
    assert model.estimate_tokens(batch) == 12
    assert model.floating_point_ops(batch) == 6 * 12 * inside
    assert model.floating_point_ops(batch, exclude_embeddings=False) == 6 * 12 * weights
    assert model.estimate_tokens({"inputs_embeds": torch.zeros(2, 3, 16)}) == 0
    assert model(**model.dummy_inputs)[0] is not None
    assert model.can_generate() == kind.can_generate() == hasattr(model, "generate")


def test_weights_and_buffers_by_name() -> None:
    model = small()
    model.register_buffer("more", IDS)
    assert model.get_parameter_or_buffer("more") is IDS
    name = "transformer.h.0.attn.c_attn.weight"
    assert model.get_parameter_or_buffer(name) is model.transformer.h[0].attn.c_attn.weight
    with pytest.raises(AttributeError, match="missing"):
        model.get_parameter_or_buffer("missing")


def test_tags_of_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    model, cards = small(), []

    def push_folder(folder: str, repo_id: str, **options: object) -> str:
        cards.append((Path(folder) / "README.md").read_text("utf-8"))
        return ""

    monkeypatch.setattr("ogpt.model.pretrained.push_folder", push_folder)
    assert model.model_tags is None
    model.add_model_tags("mine")
    model.add_model_tags(["poems", "mine"])
    assert model.model_tags == ["mine", "poems"]
    assert small().model_tags is None
    model.push_to_hub("me/gpt", tags=["poems", "new"])
    (line,) = re.findall(r"^tags: (.*)$", cards[0], re.MULTILINE)
    assert json.loads(line) == ["openai-gpt", "gpt-1", "mine", "poems", "new"]


def test_networks_are_replaced() -> None:
    model, other = small(), small(OpenAIGPTModel, seed=3)
    assert model.get_decoder() is model.transformer
    assert other.get_decoder() is other
    model.set_decoder(other)
    assert model.lm_head.weight is other.tokens_embed.weight
    expected = other(IDS).last_hidden_state @ other.tokens_embed.weight.T
    assert torch.allclose(model(IDS).logits, expected, atol=1e-5)
    with pytest.raises(ConfigError, match="is a OpenAIGPTModel, a network without a head") as bad:
        other.set_decoder(other)
    assert "with a head" in bad.value.hint


def test_initial_weights_again() -> None:
    model = small(initializer_range=0.02)
    model.lm_head.weight = torch.nn.Parameter(torch.ones(40, 16))
    model.init_weights()
    assert model.lm_head.weight is model.transformer.tokens_embed.weight
    assert 0.015 < model.transformer.tokens_embed.weight.std() < 0.025
    assert not model.transformer.h[0].attn.c_attn.bias.any()


def test_gradients_of_the_embeddings_output() -> None:
    model = small()
    model.freeze()
    table = model.get_input_embeddings()
    model.enable_input_require_grads()
    model.enable_input_require_grads()  # once more changes nothing
    assert table(IDS).requires_grad
    model.disable_input_require_grads()
    model.disable_input_require_grads()
    assert not table(IDS).requires_grad


# the steps of other libraries' searches


def step_by_step(model: OpenAIGPTLMHeadModel, ids: Tensor, **options: object) -> list[int]:
    """Greedy search by prepare_inputs_for_generation, with a cache."""
    cache, found = None, []
    for _ in range(4):
        more = {"use_cache": True, "cache_position": torch.arange(3), "is_first_iteration": True}
        given = model.prepare_inputs_for_generation(ids, cache, **more, **options)
        assert "cache_position" not in given
        out = model(**given)
        cache = out.past_key_values
        found.append(int(out.logits[0, -1].argmax()))
        ids = torch.cat([ids, torch.tensor([[found[-1]]])], 1)
    return found


@pytest.mark.parametrize("kind", [OpenAIGPTLMHeadModel, OpenAIGPTDoubleHeadsModel])
def test_inputs_of_the_next_step(kind: Kind) -> None:
    model, prompt = small(kind), IDS[:1]
    expected = model.generate(prompt, max_new_tokens=4)[0, 6:].tolist()
    assert step_by_step(model, prompt) == expected
    places = torch.arange(10)[None]
    given = model.prepare_inputs_for_generation(
        prompt,
        model(prompt[:, :4], use_cache=True).past_key_values,
        None,
        position_ids=places[:, :6],
    )
    assert given["input_ids"].tolist() == prompt[:, 4:].tolist()
    assert given["position_ids"].tolist() == [[4, 5]]
    assert torch.allclose(model(**given).logits, model(prompt).logits[:, 4:], atol=1e-5)


def test_a_prompt_of_embeddings() -> None:
    model, prompt = small(), IDS[:1]
    expected = model.generate(prompt, max_new_tokens=4)[0, 6:].tolist()
    embeds = model.get_input_embeddings()(prompt)
    empty = torch.zeros(1, 0, dtype=torch.int64)
    given = model.prepare_inputs_for_generation(empty, None, None, embeds, use_cache=True)
    out = model(**given)
    found = [int(out.logits[0, -1].argmax())]
    for _ in range(3):
        ids = torch.tensor([found])
        given = model.prepare_inputs_for_generation(ids, out.past_key_values, None, embeds)
        out = model(**given)
        found.append(int(out.logits[0, -1].argmax()))
    assert found == expected
