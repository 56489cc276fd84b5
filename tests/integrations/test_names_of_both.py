"""Which of two methods of one name the integration's models have: transformers' or ours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import transformers

import ogpt
from ogpt.integrations import transformers as door
from ogpt.model.transformer import OpenAIGPTModel
from tests.integrations.small import CLASSES

SAME = "transformers' says the same"
LOADING = "transformers loads, saves and ties"
THEIRS = {
    "add_model_tags": "for the model cards that transformers writes",
    "base_model": SAME,
    "can_generate": SAME,
    "compute_transition_scores": "for the outputs of transformers' generate()",
    "disable_input_require_grads": "undoes enable_input_require_grads",
    "dummy_inputs": "any ids will do",
    "enable_input_require_grads": "transformers does it when it loads adapters",
    "framework": SAME,
    "get_expanded_tied_weights_keys": LOADING,
    "get_memory_footprint": SAME,
    "get_parameter_or_buffer": SAME,
    "init_weights": LOADING,
    "is_parallelizable": SAME,
    "model_tags": "for the model cards that transformers writes",
    "post_init": LOADING,
    "push_to_hub": LOADING,
    "save_pretrained": LOADING,
    "tie_weights": LOADING,
}
"""Names of our models that are transformers' in the integration, and why."""


def home(kind: type, name: str) -> str:
    """The library whose class gives a class a name."""
    found = next(base for base in kind.__mro__ if name in vars(base))
    return found.__module__.split(".")[0]


def hidden(kind: type, own: type) -> Iterator[str]:
    """Public names of `own` that classes of transformers hide in `kind`."""
    for name in dir(own):
        if name[0] != "_" and home(own, name) == "ogpt" and home(kind, name) == "transformers":
            yield name


@pytest.mark.parametrize("kind", CLASSES)
def test_every_name_of_ours_is_ours_or_has_a_reason(kind: Any) -> None:
    assert [name for name in hidden(kind, kind.network_class) if name not in THEIRS] == []
    assert all(any(hasattr(each.network_class, name) for each in CLASSES) for name in THEIRS)


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (door.OpenAIGPTTokenizer, ogpt.OpenAIGPTTokenizer),
        (door.OpenAIGPTTokenizerFast, ogpt.OpenAIGPTTokenizerFast),
    ],
)
def test_every_name_of_a_tokenizer_is_ours(kind: type, own: type) -> None:
    assert list(hidden(kind, own)) == []


def test_a_hidden_name_is_found() -> None:
    planted: Any = type("Planted", (transformers.PreTrainedModel, OpenAIGPTModel), {})
    found = set(hidden(planted, OpenAIGPTModel))
    assert {"get_position_embeddings", "resize_position_embeddings"} <= found
