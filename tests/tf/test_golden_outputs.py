"""What transformers 4.57.6 answered in TensorFlow comes out of ours by its switch."""

from typing import Any

import pytest
import torch

from tests.model.golden import answers, arguments, distance, golden_model, recorded
from tests.tf.twins import twin

# what transformers reads as text, ours reads as text with a notice
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:there is no attention_mask"),
]
TOLERANCE = 1e-5
CASES = [
    (name, case)
    for name, entry in recorded("tensorflow").items()
    for case, record in entry["cases"].items()
    if "out" in record
    and "generate" not in record
    and (name, case) != ("double", "choices_mask")  # ours takes the last token of the mask
]


def asked(name: str, case: str, **settings: Any) -> dict[str, float]:
    """How far each recorded output is from ours, in units of its largest number."""
    other = twin(golden_model("tensorflow", name, **settings))
    given = arguments("tensorflow", name, case)
    out = other(**{k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in given.items()})
    expected = answers("tensorflow", name, case)
    if "loss" in expected:  # one for each row; ours is the mean
        expected["loss"] = expected["loss"].mean()
    found = {}
    for key, value in expected.items():
        last = key == "last_hidden_state" and key not in out
        ours = out.hidden_states[-1] if last else out[key]
        pairs = zip(ours, value, strict=True) if isinstance(value, tuple) else [(ours, value)]
        found[key] = max(distance(torch.tensor(one.numpy()), two) for one, two in pairs)
    return found


@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_switch_answers_as_they_did(name: str, case: str) -> None:
    found = asked(name, case, parity="transformers-4-tf")
    assert all(far < TOLERANCE for far in found.values()), found


@pytest.mark.parametrize(
    ("name", "case"), [("lm", "left"), ("lm_large", "holes"), ("lm_gelu", "none")]
)
def test_without_the_switch_ours_differs(name: str, case: str) -> None:
    found = asked(name, case)
    assert max(found.values()) > 50 * TOLERANCE
    assert all(far < 10 for far in found.values())  # and not by infinities or NaN
