"""The double-heads model and the classifier equal transformers', outputs, losses, gradients."""

import pytest
import torch
import torch.nn.functional as F

from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from tests.model.parity import TOLERANCE, gap, gaps, random_model, theirs
from tests.model.parity_cases import classifier_case, double_case

SEEDS = range(45)


@pytest.mark.parametrize("seed", SEEDS)
def test_double_heads(seed: int) -> None:
    case = double_case(seed)
    wrong = {k: v for k, v in gaps(case, theirs(case.model)).items() if not v < TOLERANCE}
    assert not wrong, case.ours


@pytest.mark.parametrize("seed", SEEDS)
def test_classifier(seed: int) -> None:
    case = classifier_case(seed)
    wrong = {k: v for k, v in gaps(case, theirs(case.model)).items() if not v < TOLERANCE}
    assert not wrong, case.ours


def test_the_cases_cover_what_they_should() -> None:
    double = [double_case(seed) for seed in SEEDS]
    shapes = {(case.model.config.summary_type, "mc_token_ids" in case.ours) for case in double}
    assert {kind for kind, _ in shapes} == {"last", "first", "mean", "cls_index"}
    assert {("cls_index", True), ("cls_index", False)} <= shapes
    configs = [case.model.config for case in double]
    assert len({config.summary_activation for config in configs}) == 8
    scores = {(c.summary_use_proj, c.summary_proj_to_labels) for c in configs}
    assert scores == {(True, True), (True, False), (False, True), (False, False)}
    losses = [{"labels", "mc_labels"} & case.ours.keys() for case in double]
    assert all(kind in losses for kind in ({"labels", "mc_labels"}, {"labels"}, {"mc_labels"}))
    single = [classifier_case(seed) for seed in SEEDS]
    problems = {
        (case.model.config.problem_type, case.model.config.num_labels > 1) for case in single
    }
    assert problems == {
        (None, False),
        (None, True),
        ("regression", False),
        ("regression", True),
        ("single_label_classification", True),
        ("multi_label_classification", False),
        ("multi_label_classification", True),
    }
    for cases in (double, single):
        assert {case.ours.get("attention_mask") is None for case in cases} == {True, False}
        assert {"inputs_embeds" in case.ours for case in cases} == {True, False}


def test_the_label_shapes_of_a_regression() -> None:
    model = random_model(1, OpenAIGPTForSequenceClassification, num_labels=1, pad_token_id=0)
    other = theirs(model)
    ids = torch.randint(1, 5, (3, 2))
    for labels in (torch.randn(3), torch.randn(3, 1)):
        assert gap(model(ids, labels=labels).loss, other(ids, labels=labels).loss) < TOLERANCE


@pytest.mark.filterwarnings("ignore:there is no attention_mask")  # padded on the left
def test_pooling_by_pad_id_alone() -> None:
    """Right, left, holes and nothing but padding, as transformers finds the last token."""
    model = random_model(2, OpenAIGPTForSequenceClassification, num_labels=3, pad_token_id=0)
    model.resize_position_embeddings(8)
    ids = torch.tensor([[4, 3, 2, 0, 0], [0, 0, 1, 2, 3], [3, 0, 2, 0, 0], [0, 0, 0, 0, 0]])
    assert gap(model(ids).logits, theirs(model)(ids).logits) < TOLERANCE


def test_one_row_without_a_pad_id() -> None:
    model = random_model(3, OpenAIGPTForSequenceClassification, num_labels=3, n_positions=6)
    ids = torch.randint(0, model.config.vocab_size, (1, 6))
    assert gap(model(ids).logits, theirs(model)(ids).logits) < TOLERANCE


@pytest.mark.parametrize("summary", ["last", "first", "mean"])
def test_summaries_of_padded_choices_are_those_of_the_bare_rows(summary: str) -> None:
    """transformers takes a choice, not a token, and counts padding; each row by itself is right."""
    model = random_model(4, OpenAIGPTDoubleHeadsModel, n_positions=9, summary_type=summary)
    other = theirs(model)
    ids = torch.randint(0, model.config.vocab_size, (2, 3, 7))
    lengths = torch.tensor([[7, 4, 5], [1, 6, 2]])
    mask = torch.arange(7) < lengths[..., None]
    ours = model(ids, attention_mask=mask, mc_labels=torch.tensor([2, 0]))
    bare = torch.stack(
        [
            other(row[None, : int(length)]).mc_logits[0]
            for row, length in zip(ids.flatten(0, 1), lengths.flatten(), strict=True)
        ]
    ).view(2, 3)
    assert gap(ours.mc_logits, bare) < TOLERANCE
    assert gap(ours.mc_loss, F.cross_entropy(bare, torch.tensor([2, 0]))) < TOLERANCE
    wrong = other(ids, attention_mask=mask.flatten(0, 1)).mc_logits
    assert wrong.shape != ours.mc_logits.shape or gap(ours.mc_logits, wrong) > 0.01
