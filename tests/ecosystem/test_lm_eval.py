"""EleutherAI's lm-evaluation-harness, its Hugging Face backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from lm_eval.api.instance import Instance
from lm_eval.evaluator import evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from ogpt.integrations import transformers as door
from tests.ecosystem import small
from tests.ecosystem.endings import TASK

LIBRARY = "lm_eval"


def asked(kind: str, arguments: list[tuple[Any, ...]]) -> list[Instance]:
    return [
        Instance(request_type=kind, doc={}, arguments=each, idx=index)
        for index, each in enumerate(arguments)
    ]


def test_requests_equal_those_of_transformers_model(tmp_path: Path) -> None:
    """loglikelihood, loglikelihood_rolling, generate_until equal those of transformers' GPT-1."""
    tokenizer = small.folder(tmp_path, door.OpenAIGPTLMHeadModel)
    pairs = [(text[:12], text[12:]) for text in small.TEXTS]
    until = [(text, {"until": ["sea"], "max_gen_toks": 5}) for text in small.TEXTS]
    found = []
    for kind in (transformers.OpenAIGPTLMHeadModel, door.OpenAIGPTLMHeadModel):
        # transformers' model is wrong with padding on the left, which batches have
        size = 2 if kind is door.OpenAIGPTLMHeadModel else 1
        model = kind.from_pretrained(tmp_path).eval()
        lm = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=size)
        assert lm.prefix_token_id == tokenizer.eos_token_id
        likelihoods = lm.loglikelihood(asked("loglikelihood", pairs), disable_tqdm=True)
        rolling = lm.loglikelihood_rolling(
            asked("loglikelihood_rolling", [(text,) for text in small.TEXTS]), disable_tqdm=True
        )
        written = lm.generate_until(asked("generate_until", until), disable_tqdm=True)
        found.append((likelihoods, rolling, written))
    theirs, ours = found
    assert [value for value, _ in ours[0]] == pytest.approx([v for v, _ in theirs[0]], abs=1e-3)
    assert [greedy for _, greedy in ours[0]] == [greedy for _, greedy in theirs[0]]
    assert ours[1] == pytest.approx(theirs[1], abs=1e-3)
    assert ours[2] == theirs[2]


def test_a_task_has_the_scores_of_transformers_model(tmp_path: Path) -> None:
    """A local task of choices: the scores and log-probabilities of transformers' GPT-1."""
    tokenizer = small.folder(tmp_path, door.OpenAIGPTLMHeadModel)
    found = []
    for kind in (transformers.OpenAIGPTLMHeadModel, door.OpenAIGPTLMHeadModel):
        lm = HFLM(pretrained=kind.from_pretrained(tmp_path).eval(), tokenizer=tokenizer)
        task = TaskManager(include_defaults=False).load([dict(TASK)])
        results: Any = evaluate(lm, task, bootstrap_iters=0)
        rows = [
            value for one in results["samples"]["endings"] for value, _ in one["filtered_resps"]
        ]
        found.append(
            ([results["results"]["endings"][f"{m},none"] for m in ("acc", "acc_norm")], rows)
        )
    theirs, ours = found
    assert ours[0] == theirs[0]
    assert 0 < ours[0][0] < 1
    assert ours[1] == pytest.approx(theirs[1], abs=1e-3)
