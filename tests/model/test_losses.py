"""Losses: which labels count, what the sum is divided by, and which labels are refused."""

import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ogpt.errors import ConfigError, TokenOutOfRange
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.notices import collecting
from tests.model.small import apart, draw_ids, small

LM = small()
DOUBLE = small(OpenAIGPTDoubleHeadsModel)
IDS = draw_ids(2, 6)
CHOICES = draw_ids(2, 3, 6)


def by_hand(logits: Tensor, labels: Tensor, ignored: int = -100) -> float:
    """Mean of -log p(label t + 1 | token t) over the labels that count, in float64."""
    total, count = 0.0, 0
    flat = logits.detach().double().log_softmax(-1).flatten(0, -3)
    for row, wanted in zip(flat, labels.flatten(0, -2), strict=True):
        for t, label in enumerate(wanted[1:].tolist()):
            if label != ignored:
                total -= row[t, label].item()
                count += 1
    return total / count


@pytest.mark.parametrize("kind", ["lm", "double"])
def test_the_mean_over_the_labels_that_count(kind: str) -> None:
    model, ids = (LM, IDS) if kind == "lm" else (DOUBLE, CHOICES)
    labels = ids.masked_fill(torch.rand(ids.shape, generator=torch.Generator()) < 0.4, -100)
    out = model(ids, labels=labels)
    assert out.loss.shape == ()
    assert abs(out.loss.item() - by_hand(out.logits, labels)) < 1e-5
    unshifted = F.cross_entropy(out.logits.flatten(0, -2), labels.flatten())
    assert abs(out.loss.item() - unshifted.item()) > 0.01  # the fault to catch


def test_shifted_labels_go_first() -> None:
    shifted = IDS.roll(-1, -1)
    shifted[:, -1] = -100
    expected = LM(IDS, labels=IDS).loss
    assert torch.equal(LM(IDS, shift_labels=shifted).loss, expected)
    assert torch.equal(LM(IDS, shift_labels=shifted, labels=IDS + 1).loss, expected)


def test_another_label_that_counts_nothing() -> None:
    labels = IDS.clone()
    labels[:, 3:] = 7
    out = LM(IDS, labels=labels, ignore_index=7)
    assert abs(out.loss.item() - by_hand(out.logits, labels, ignored=7)) < 1e-5


@pytest.mark.parametrize("number", [7, torch.tensor(7)])
def test_items_of_a_whole_batch(number: int | Tensor) -> None:
    """Micro-batches divided by the whole batch's items add up to the whole batch's mean."""
    labels = IDS.clone()
    labels[0, 3:] = -100  # 2 labels count in the first row, 5 in the second
    whole = LM(IDS, labels=labels).loss
    parts = [
        LM(IDS[row : row + 1], labels=labels[row : row + 1], num_items_in_batch=number).loss
        for row in (0, 1)
    ]
    assert abs(sum(parts) - whole) < 1e-5
    means = [LM(IDS[row : row + 1], labels=labels[row : row + 1]).loss for row in (0, 1)]
    assert abs(sum(means) / 2 - whole) > 0.01  # the mean of means is another number
    doubled = DOUBLE(CHOICES, labels=CHOICES, num_items_in_batch=number).loss * 7 / 30
    assert abs(doubled - DOUBLE(CHOICES, labels=CHOICES).loss) < 1e-5


@pytest.mark.parametrize("number", [None, 0, torch.tensor(0), 5])
@pytest.mark.parametrize("length", [1, 6])
def test_nothing_to_learn(number: int | Tensor | None, length: int) -> None:
    model = small(seed=1)
    labels = torch.full((2, length), -100)
    with collecting() as notices:
        loss = model(IDS[:, :length], labels=labels, num_items_in_batch=number).loss
    assert loss.item() == 0.0
    told = [notice.kind for notice in notices]
    assert told == (["nothing-to-learn"] if number is None else [])
    loss.backward()
    for parameter in model.parameters():
        assert not parameter.grad.any()


def test_nothing_to_learn_for_choices_and_classes() -> None:
    labels = torch.full_like(CHOICES, -100)
    with collecting() as notices:
        out = DOUBLE(CHOICES, labels=labels, mc_labels=torch.tensor([-100, -100]))
        classes = small(OpenAIGPTForSequenceClassification)(IDS, labels=torch.tensor([-100, -100]))
    assert [out.loss.item(), out.mc_loss.item(), classes.loss.item()] == [0.0] * 3
    assert [notice.message for notice in notices] == [
        "all labels are -100, the value to ignore: the loss is zero"
    ] * 3


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_are_summed_in_float32(dtype: torch.dtype) -> None:
    model = small(seed=2).to(dtype)
    out = model(IDS, labels=IDS)
    assert out.loss.dtype == torch.float32
    assert abs(out.loss.item() - by_hand(out.logits, IDS)) < 1e-5


def test_float64_stays() -> None:
    assert small(seed=2).double()(IDS, labels=IDS).loss.dtype == torch.float64


def test_labels_of_another_number_of_tokens() -> None:
    message = r"shift_labels has the shape \(2, 5\); allowed: \(2, 6\)"
    with pytest.raises(ConfigError, match=message) as caught:
        LM(IDS, shift_labels=IDS[:, 1:])
    assert "-100" in caught.value.hint
    with pytest.raises(ConfigError, match=r"shift_labels are of torch\.float32") as caught:
        LM(IDS, shift_labels=IDS.float())
    assert "ids" in caught.value.hint
    with pytest.raises(TokenOutOfRange, match=r"label 40 was passed; .* 0 to 39") as out_of_range:
        LM(IDS, shift_labels=torch.full_like(IDS, 40))
    assert "tokenizer" in out_of_range.value.hint


# choices


def test_the_loss_of_choices_and_both_together() -> None:
    mc_labels = torch.tensor([2, 0])
    out = DOUBLE(CHOICES, labels=CHOICES, mc_labels=mc_labels)
    expected = -out.mc_logits.detach().double().log_softmax(-1)[torch.arange(2), mc_labels].mean()
    assert abs(out.mc_loss.item() - expected.item()) < 1e-5
    alone = DOUBLE(CHOICES, mc_labels=mc_labels)
    assert alone.loss is None
    assert torch.equal(alone.mc_loss, out.mc_loss)


def test_two_axes_are_the_choices_of_one_question() -> None:
    flat = DOUBLE(CHOICES[0], mc_labels=torch.tensor([1]))
    assert flat.mc_logits.shape == (3,)
    assert apart(flat.mc_loss, DOUBLE(CHOICES[:1], mc_labels=torch.tensor([1])).mc_loss) < 1e-6


@pytest.mark.parametrize("bad", [3, -1])
def test_a_choice_that_is_not_there(bad: int) -> None:
    with pytest.raises(ConfigError, match=f"mc_labels holds {bad}; allowed: 0 to 2") as caught:
        DOUBLE(CHOICES, mc_labels=torch.tensor([0, bad]))
    assert "choices" in caught.value.hint


def test_labels_for_other_examples() -> None:
    with pytest.raises(ConfigError, match=r"have the shape \(3,\); allowed: \(2,\)") as caught:
        DOUBLE(CHOICES, mc_labels=torch.tensor([0, 1, 2]))
    assert "one label" in caught.value.hint


def test_choices_without_one_score() -> None:
    model = small(OpenAIGPTDoubleHeadsModel, summary_proj_to_labels=False)
    message = re.escape("mc_logits have the shape (2, 3, 16); allowed: (2, 3)")
    with pytest.raises(ConfigError, match=message) as caught:
        model(CHOICES, mc_labels=torch.tensor([0, 1]))
    assert "summary_proj_to_labels" in caught.value.hint


# classes


def classifier(**changes: object) -> OpenAIGPTForSequenceClassification:
    return small(OpenAIGPTForSequenceClassification, **changes)


@pytest.mark.parametrize("named", [True, False])
def test_each_problem_type(named: bool) -> None:
    def problem(name: str) -> dict[str, str]:
        return {"problem_type": name} if named else {}

    single = classifier(**problem("single_label_classification"))
    out = single(IDS, labels=torch.tensor([2, 0]))
    log_probs = out.logits.detach().double().log_softmax(-1)
    assert abs(out.loss + (log_probs[0, 2] + log_probs[1, 0]) / 2) < 1e-5

    multi = classifier(**problem("multi_label_classification"))
    wanted = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    out = multi(IDS, labels=wanted)
    probs = out.logits.detach().double().sigmoid()
    expected = -(wanted * probs.log() + (1 - wanted) * (1 - probs).log()).mean()
    assert abs(out.loss - expected) < 1e-5
    assert torch.equal(multi(IDS, labels=wanted.bool()).loss, out.loss)

    one = classifier(num_labels=1, **problem("regression"))
    out = one(IDS, labels=torch.tensor([0.5, -2.0]))
    expected = (out.logits.detach().double()[:, 0] - torch.tensor([0.5, -2.0])).square().mean()
    assert abs(out.loss - expected) < 1e-5
    assert torch.equal(one(IDS, labels=torch.tensor([[0.5], [-2.0]])).loss, out.loss)


def test_a_regression_of_several_numbers() -> None:
    model = classifier(problem_type="regression")
    wanted = torch.randn(2, 3)
    out = model(IDS, labels=wanted)
    assert abs(out.loss - (out.logits - wanted).square().mean()) < 1e-5


@pytest.mark.filterwarnings("ignore:cross-entropy over one label")
def test_classes_of_one_label() -> None:
    model = classifier(num_labels=1, problem_type="single_label_classification")
    with collecting() as notices:
        out = model(IDS, labels=torch.tensor([0, 0]))
    assert out.loss.item() == 0.0
    assert [notice.kind for notice in notices] == ["one-label"]
    with pytest.raises(ConfigError, match="labels holds 1; allowed: 0 to 0"):
        model(IDS, labels=torch.tensor([0, 1]))


def test_what_one_call_found_out_does_not_stick() -> None:
    model = classifier()
    model(IDS, labels=torch.tensor([2, 0]))
    assert model.config.problem_type is None
    expected = classifier(problem_type="multi_label_classification")(IDS, labels=torch.zeros(2, 3))
    assert torch.equal(model(IDS, labels=torch.zeros(2, 3)).loss, expected.loss)


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_numbers_for_other_labels(problem: str) -> None:
    message = rf"labels have the shape \(2,\); allowed for {problem}: \(2, 3\)"
    with pytest.raises(ConfigError, match=message) as caught:
        classifier(problem_type=problem)(IDS, labels=torch.tensor([0.0, 1.0]))
    assert "each label" in caught.value.hint


def test_classes_that_are_not_there() -> None:
    with pytest.raises(ConfigError, match="labels holds 3; allowed: 0 to 2") as caught:
        classifier()(IDS, labels=torch.tensor([0, 3]))
    assert "number of labels" in caught.value.hint
    with pytest.raises(ConfigError, match=r"labels are of torch\.float32") as caught:
        classifier(problem_type="single_label_classification")(IDS, labels=torch.ones(2))
    assert "ids" in caught.value.hint


def test_a_loss_is_the_logarithm_of_the_vocabulary_where_all_is_equal() -> None:
    model = small(initializer_range=0.0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert abs(model(IDS, labels=IDS).loss.item() - math.log(40)) < 1e-6
