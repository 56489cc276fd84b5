"""Outputs, losses and gradients in float32 are PyTorch's, on random configurations and calls."""

import random
from typing import Any

import pytest
import torch

from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from tests.tf.twins import (
    TOLERANCE,
    as_numpy,
    drawn_inputs,
    drawn_labels,
    drawn_model,
    gap,
    gaps,
    length_of,
    twin,
)

pytestmark = pytest.mark.slow
SEEDS = range(12)


def assert_equal(model: Any, given: dict[str, Any]) -> None:
    far = gaps(model, twin(model), given, as_numpy(given))
    assert max(far.values()) < TOLERANCE, far


def started(what: str, seed: int) -> random.Random:
    torch.manual_seed(seed)
    return random.Random(f"{what} {seed}")


@pytest.mark.parametrize("seed", SEEDS)
def test_the_base_model(seed: int) -> None:
    draw = started("base", seed)
    pruned = draw.choice([{}, {0: [0]}])
    model = drawn_model(draw, OpenAIGPTModel)
    if model.config.n_head > 1:
        model.prune_heads(pruned)
    leading = draw.choice([(), (draw.randint(1, 4),), (2, draw.randint(1, 3))])
    given = drawn_inputs(draw, model, leading)
    assert_equal(model, given)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_language_model(seed: int) -> None:
    draw = started("lm", seed)
    tied = draw.random() < 0.7
    model = drawn_model(draw, OpenAIGPTLMHeadModel, tie_word_embeddings=tied)
    leading = draw.choice([(1,), (4,), (2, draw.randint(1, 3))])
    given = drawn_inputs(draw, model, leading)
    if length_of(given) > 1:  # else no token has one before it to predict it
        shape = (*leading, length_of(given))
        given["labels"] = drawn_labels(draw, model.config.vocab_size, shape)
    assert_equal(model, given)


@pytest.mark.parametrize("seed", SEEDS)
def test_double_heads(seed: int) -> None:
    draw = started("double", seed)
    summary = {
        "summary_type": draw.choice(["last", "first", "mean", "cls_index", "cls_index"]),
        "summary_use_proj": draw.random() < 0.8,
        "summary_proj_to_labels": draw.random() < 0.8,
        "summary_activation": draw.choice(
            [None, "tanh", "relu", "gelu", "gelu_new", "sigmoid", "silu", "swish"]
        ),
    }
    model = drawn_model(draw, OpenAIGPTDoubleHeadsModel, **summary)
    B, K = draw.randint(1, 3), draw.randint(1, 4)
    leading = draw.choice([(B, K), (B, K), (B,)])
    given = drawn_inputs(draw, model, leading)
    T = length_of(given)
    if draw.random() < 0.7:
        given["mc_token_ids"] = torch.randint(0, T, leading)
    if T > 1:
        shape = (*leading, T)
        given["labels"] = drawn_labels(draw, model.config.vocab_size, shape)
    if summary["summary_use_proj"] and summary["summary_proj_to_labels"] and draw.random() < 0.8:
        given["mc_labels"] = torch.randint(0, leading[-1], leading[:-1] or (1,))
    assert_equal(model, given)


@pytest.mark.parametrize("seed", SEEDS)
def test_classifier(seed: int) -> None:
    draw = started("classifier", seed)
    count = draw.choice([1, 2, 5])
    problems = [None, "regression", "multi_label_classification"]
    problems += ["single_label_classification"] * (count > 1)
    problem = draw.choice(problems)
    model = drawn_model(
        draw,
        OpenAIGPTForSequenceClassification,
        num_labels=count,
        problem_type=problem,
        pad_token_id=draw.choice([None, 0, 3]),
        classifier_bias=draw.random() < 0.3,
    )
    leading = draw.choice([(1,), (draw.randint(2, 4),), (2, 2)])
    given = drawn_inputs(draw, model, leading)
    if problem is None:
        problem = "regression" if count == 1 else "single_label_classification"
    if problem == "single_label_classification":
        given["labels"] = torch.randint(0, count, leading)
    elif problem == "regression":
        given["labels"] = torch.randn(*leading, count)
    else:
        given["labels"] = torch.randint(0, 2, (*leading, count)).float()
    assert_equal(model, given)


@pytest.mark.parametrize("parity", ["2018", "transformers-4", "transformers-4-tf"])
def test_the_parity_switches(parity: str) -> None:
    draw = started("parity", 0)
    model = drawn_model(draw, OpenAIGPTLMHeadModel, parity=parity, afn="gelu", n_positions=9)
    ids = torch.randint(0, model.config.vocab_size, (2, 7))
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1], [1, 1, 1, 0, 1, 0, 0]])
    assert_equal(model, {"input_ids": ids, "attention_mask": mask, "labels": ids})


def test_float64_is_equal_to_its_own_rounding() -> None:
    draw = started("float64", 0)
    model = drawn_model(draw, OpenAIGPTLMHeadModel).double()
    ids = torch.randint(0, model.config.vocab_size, (3, 4))
    found = twin(model, dtype="float64")(ids.numpy(), labels=ids.numpy())
    expected = model(ids, labels=ids)
    assert found.logits.dtype == "float64"
    assert gap(found.logits, expected.logits.detach()) < 1e-13
    assert gap(found.loss, expected.loss.detach()) < 1e-13


def test_other_weights_have_other_answers() -> None:
    draw = started("others", 0)
    model = drawn_model(draw, OpenAIGPTLMHeadModel)
    other = drawn_model(draw, OpenAIGPTLMHeadModel, **sizes_of(model))
    ids = torch.randint(0, model.config.vocab_size, (2, 4))
    far = gaps(model, twin(other), {"input_ids": ids}, {"input_ids": ids.numpy()})
    assert min(far.values()) > 100 * TOLERANCE


def sizes_of(model: Any) -> dict[str, Any]:
    names = ("n_head", "n_embd", "n_layer", "n_positions", "vocab_size")
    return {name: getattr(model.config, name) for name in names}
