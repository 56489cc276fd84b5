"""transformers' pipelines with our models and tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from transformers import pipeline

from ogpt.integrations import transformers as door
from tests.ecosystem import small

LIBRARY = "transformers"

TASKS = {
    "text-generation": (door.OpenAIGPTLMHeadModel, {"max_new_tokens": 5, "do_sample": False}),
    "text-classification": (door.OpenAIGPTForSequenceClassification, {"top_k": None}),
    "feature-extraction": (door.OpenAIGPTModel, {}),
    "zero-shot-classification": (
        door.OpenAIGPTForSequenceClassification,
        {"candidate_labels": ["calm", "sea"]},
    ),
}


def numbers(result: Any) -> list[Any]:
    """Every text and number of a result, in order."""
    if isinstance(result, dict):
        return [each for key in sorted(result) for each in [key, *numbers(result[key])]]
    if isinstance(result, list | tuple):
        return [each for one in result for each in numbers(one)]
    return [result]


@pytest.mark.parametrize("task", TASKS)
def test_pipelines(task: str, tmp_path: Path) -> None:
    """pipelines: text-generation, text-classification, feature-extraction, zero-shot."""
    kind, options = TASKS[task]
    labels = {0: "contradiction", 1: "neutral", 2: "entailment"}
    tokenizer = small.folder(
        tmp_path, kind, id2label=labels, label2id={name: id for id, name in labels.items()}
    )
    theirs = getattr(transformers, kind.__name__).from_pretrained(tmp_path)
    expected = pipeline(task, model=theirs, tokenizer=tokenizer)(
        small.TEXTS, batch_size=1, **options
    )
    with door.register():
        registered = pipeline(task, model=str(tmp_path))
    assert type(registered.model) is kind
    assert isinstance(registered.tokenizer, door.OpenAIGPTTokenizer)
    given = pipeline(task, model=kind.from_pretrained(tmp_path), tokenizer=tokenizer)
    for made in (registered, given):
        # in a batch, features of padding are among the result
        for batch_size in (1,) if task == "feature-extraction" else (1, 2):
            found = made(small.TEXTS, batch_size=batch_size, **options)
            for one, other in zip(numbers(found), numbers(expected), strict=True):
                if isinstance(other, float):
                    assert one == pytest.approx(other, abs=1e-4)
                else:
                    assert one == other
    assert np.isfinite([each for each in numbers(expected) if isinstance(each, float)]).all()
