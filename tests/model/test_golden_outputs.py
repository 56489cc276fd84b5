"""What transformers 4.57.6 answered, in PyTorch and TensorFlow, comes out of ours by its switch.

Outputs agree to 1e-5 of their largest number in float32, and to about two roundings in half
precision. Without the switch ours answers otherwise where they are wrong, and rightly.
"""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.golden import (
    GOLDEN,
    TINY,
    answers,
    apart,
    arguments,
    distance,
    filled,
    golden_model,
    recorded,
)

# what transformers reads as text, ours reads as text with a notice
pytestmark = pytest.mark.filterwarnings("ignore:there is no attention_mask")

SWITCHES = {"pytorch": "transformers-4", "tensorflow": "transformers-4-tf"}
TOLERANCE = 1e-5
HALF = {"lm_bfloat16": torch.bfloat16, "lm_float16": torch.float16}
POOLED_ELSEWHERE = {  # ours takes the last token that the mask keeps: tested below
    ("pytorch", "classifier_embeds", "masked"),
    ("pytorch", "double", "flat_mask"),
    ("tensorflow", "double", "choices_mask"),
}
ANSWERED = [
    (framework, name, case)
    for framework in SWITCHES
    for name, entry in recorded(framework).items()
    for case, record in entry["cases"].items()
    if "out" in record
    and "generate" not in record
    and (framework, name, case) not in POOLED_ELSEWHERE
]
DIFFERENT = [
    *(("pytorch", "lm", case) for case in ("left", "left_positions", "all_masked", "holes")),
    *(("pytorch", "lm_large", case) for case in ("none", "left", "all_masked", "holes")),
    *(("tensorflow", "lm", case) for case in ("left", "left_positions", "all_masked", "holes")),
    *(("tensorflow", "lm_large", case) for case in ("none", "left", "all_masked", "holes")),
    ("pytorch", "lm", "right"),  # positions of padding
    ("pytorch", "lm_pruned", "left"),
    ("tensorflow", "lm_gelu", "none"),
    ("tensorflow", "lm_afn_relu", "none"),  # there the config's activation is ignored
]


def asked(framework: str, name: str, case: str, **settings: Any) -> dict[str, float]:
    model = golden_model(framework, name, **settings)
    if name == "lm_pruned":
        pruned = recorded(framework)[name]["pruned_heads"]
        model.prune_heads({int(layer): heads for layer, heads in pruned.items()})
    expected = answers(framework, name, case)
    if framework == "tensorflow" and "loss" in expected:  # one for each row; ours is the mean
        expected["loss"] = expected["loss"].mean()
    return apart(
        model.to(HALF.get(name, torch.float32)), arguments(framework, name, case), expected
    )


@pytest.mark.parametrize(("framework", "name", "case"), ANSWERED)
def test_the_switch_answers_as_they_did(framework: str, name: str, case: str) -> None:
    found = asked(framework, name, case, parity=SWITCHES[framework])
    bound = 2 * torch.finfo(HALF[name]).eps if name in HALF else TOLERANCE
    assert all(far < bound for far in found.values()), found


@pytest.mark.parametrize(("framework", "name", "case"), DIFFERENT)
def test_without_the_switch_ours_differs(framework: str, name: str, case: str) -> None:
    found = asked(framework, name, case)
    assert max(found.values()) > 50 * TOLERANCE
    assert all(far < 10 for far in found.values())  # and not by infinities or NaN


@pytest.mark.parametrize("name", ["lm", "lm_large"])
@pytest.mark.parametrize("case", ["left", "left_positions", "right", "holes", "all_masked"])
def test_without_the_switch_padding_is_as_if_it_were_not_there(name: str, case: str) -> None:
    model = golden_model("pytorch", name)
    given = arguments("pytorch", "lm", case)
    logits = model(**given).logits
    assert logits.isfinite().all()
    for ids, mask, row in zip(given["input_ids"], given["attention_mask"], logits, strict=True):
        if mask.any():
            kept = mask.bool()
            assert distance(row[kept], model(ids[kept][None]).logits[0]) < TOLERANCE


def test_without_the_switch_large_scores_leak_nothing() -> None:
    """Theirs let the future in, once its score of -1e4 is larger than those of the past."""
    leaked = answers("pytorch", "lm_large", "none")["attentions"]
    assert max(layer.triu(1).sum(-1).max().item() for layer in leaked) > 0.99
    shown = golden_model("pytorch", "lm_large")(**arguments("pytorch", "lm_large", "none"))
    assert not any(layer.triu(1).any() for layer in shown.attentions)


def test_a_row_masked_whole_sees_itself() -> None:
    given = arguments("pytorch", "lm", "all_masked")
    shown = golden_model("pytorch", "lm")(**given)
    assert torch.equal(shown.attentions[0][1], torch.eye(5).expand(2, 5, 5))
    theirs = answers("pytorch", "lm", "all_masked")["attentions"][0][1]
    torch.testing.assert_close(theirs, torch.full((2, 5, 5), 0.2))  # the future, too


def test_choices_are_pooled_by_the_mask() -> None:
    """transformers takes the last position of a padded choice, and refuses a mask of choices."""
    model = golden_model("pytorch", "double", parity="transformers-4")
    given = arguments("pytorch", "double", "choices_mask")
    assert recorded("pytorch")["double"]["cases"]["choices_mask"]["raised"][0] == "RuntimeError"
    places = given["attention_mask"].sum(-1) - 1
    shown = model(**given)
    assert distance(shown.mc_logits, model(**given, mc_token_ids=places).mc_logits) < TOLERANCE
    for framework, case in (("pytorch", "flat_mask"), ("tensorflow", "choices_mask")):
        expected = answers(framework, "double", case)
        model = golden_model(framework, "double", parity=SWITCHES[framework])
        at_the_end = torch.full((2, 2), 4)
        assert max(apart(model, {**given, "mc_token_ids": at_the_end}, expected).values()) < 1e-5
        assert distance(model(**given).mc_logits, expected["mc_logits"]) > 0.1


def test_classes_are_pooled_by_the_mask() -> None:
    """transformers looks for the pad id alone: a text of it is read at its first token."""
    model = golden_model("pytorch", "classifier_embeds", parity="transformers-4")
    given = arguments("pytorch", "classifier_embeds", "masked")
    expected = answers("pytorch", "classifier_embeds", "masked")["logits"]
    logits = model(**given).logits
    assert distance(logits[:3], expected[:3]) < TOLERANCE
    assert distance(logits[3:], expected[3:]) > 0.1
    state = model.transformer(given["input_ids"][3:]).last_hidden_state[:, 4]
    assert distance(logits[3:], model.score(state)) < TOLERANCE


def test_rows_without_a_pad_id_are_answered() -> None:
    """transformers refuses more than one row; TensorFlow's class takes the last position."""
    assert recorded("pytorch")["classifier_no_pad"]["cases"]["rows"]["raised"][0] == "ValueError"
    given = arguments("pytorch", "classifier_no_pad", "rows")
    logits = golden_model("pytorch", "classifier_no_pad")(**given).logits
    assert distance(logits, answers("tensorflow", "classifier_no_pad", "rows")["logits"]) < 1e-4


@pytest.mark.parametrize(
    "problem", ["regression_1", "regression_3", "multi_label_classification_3"]
)
def test_the_problem_is_told_from_the_labels_each_time(problem: str) -> None:
    """transformers writes what it took into the caller's config; ours leaves it as it is."""
    name = f"classifier_{problem}_unsaid"
    model = golden_model("pytorch", name)
    assert recorded("pytorch")[name]["problem_type_taken"]
    model(**arguments("pytorch", name, "labels"))
    assert model.config.problem_type is None


# model_tiny_4.57.6.json: the two versions of transformers gave the same file


@pytest.fixture(scope="module")
def tiny() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / "model_tiny_4.57.6.json").read_text())
    return found


IDS = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, 9, 10]])
LEFT = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
TINY_CALLS: dict[str, dict[str, Any]] = {
    "lm": {"labels": IDS},
    "lm_right": {"attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])},
    "lm_left": {"attention_mask": LEFT},
    "lm_left_pos": {
        "attention_mask": LEFT,
        "position_ids": torch.tensor([[0, 1, 2, 3, 4], [0, 0, 0, 1, 2]]),
    },
    "lm_tti": {"token_type_ids": torch.full((2, 5), 3)},
    "lm_label_ignore": {
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "labels": torch.tensor([[1, 2, 3, 4, 5], [6, 7, 8, -100, -100]]),
    },
}


@pytest.mark.parametrize("case", TINY_CALLS)
def test_tiny_language_model(case: str, tiny: dict[str, Any]) -> None:
    model = filled("OpenAIGPTLMHeadModel", **TINY, parity="transformers-4")
    shown = {"output_attentions": True, "output_hidden_states": True}
    out = model(IDS, **TINY_CALLS[case], **shown)
    found: dict[str, Tensor] = {
        "loss": out.loss,
        "logits": out.logits,
        "att0": out.attentions[0],
        "h0": out.hidden_states[0],
        "h_last": out.hidden_states[-1],
    }
    for name, value in tiny[case].items():
        expected = torch.tensor(value)
        assert distance(found[name].reshape(expected.shape), expected) < TOLERANCE, name


@pytest.mark.parametrize("afn", ["gelu", "relu", "silu", "swish"])
def test_tiny_activations(afn: str, tiny: dict[str, Any]) -> None:
    model = filled("OpenAIGPTLMHeadModel", **TINY, afn=afn)
    assert distance(model(IDS).logits.flatten(), torch.tensor(tiny[f"afn_{afn}"])) < TOLERANCE


def test_tiny_activations_differ(tiny: dict[str, Any]) -> None:
    rows = [torch.tensor(tiny[f"afn_{afn}"]) for afn in ("gelu", "relu", "silu")]
    assert all(distance(a, b) > 10 * TOLERANCE for a in rows for b in rows if a is not b)


def test_tiny_generation(tiny: dict[str, Any]) -> None:
    model = filled("OpenAIGPTLMHeadModel", **TINY)
    prompt = torch.tensor([[1, 2, 3]])
    assert model.generate(prompt, max_new_tokens=5).tolist() == tiny["greedy"]
    assert model.generate(prompt, max_new_tokens=5, num_beams=4).tolist() == tiny["beam4"]


def test_tiny_double_heads(tiny: dict[str, Any]) -> None:
    model = filled("OpenAIGPTDoubleHeadsModel", **TINY)
    ids = torch.tensor([[[1, 2, 3, 4], [5, 6, 7, 8]], [[2, 4, 6, 8], [1, 3, 5, 7]]])
    places, right = torch.tensor([[3, 2], [1, 0]]), torch.tensor([0, 1])
    out = model(ids, mc_token_ids=places, labels=ids, mc_labels=right)
    expected = tiny["dh"]
    assert distance(out.loss, torch.tensor(expected["loss"])) < TOLERANCE
    assert distance(out.mc_loss, torch.tensor(expected["mc_loss"])) < TOLERANCE
    assert distance(out.mc_logits.flatten(), torch.tensor(expected["mc_logits"])) < TOLERANCE
    assert abs(out.logits.sum().item() - expected["logits_sum"]) < 1e-4
    default = model(ids).mc_logits.flatten()
    assert distance(default, torch.tensor(tiny["dh_default_mc"])) < TOLERANCE


def test_tiny_classifier(tiny: dict[str, Any]) -> None:
    model = filled("OpenAIGPTForSequenceClassification", **TINY, num_labels=3, pad_token_id=0)
    ids = torch.tensor([[5, 6, 7, 0, 0], [0, 0, 5, 6, 7], [5, 0, 6, 0, 0], [0, 0, 0, 0, 0]])
    out = model(ids, labels=torch.tensor([0, 1, 2, 0]))
    assert distance(out.logits.flatten(), torch.tensor(tiny["sc"]["logits"])) < TOLERANCE
    assert distance(out.loss, torch.tensor(tiny["sc"]["loss"])) < TOLERANCE
