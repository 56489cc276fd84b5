"""`evaluate` measures a model folder on a text, whatever the form of the text."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from ogpt import notices
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ConfigError, DataError
from ogpt.evaluation import tokenized_text
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.workflows.evaluate import PerplexityResult
from ogpt.workflows.evaluate import evaluate as evaluate_on_all_cores
from tests.markov import StandInTokenizer


def evaluate(*arguments: Any, **options: Any) -> PerplexityResult:
    return evaluate_on_all_cores(*arguments, threads=1, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights and 16 positions."""
    folder = tmp_path_factory.mktemp("model")
    vocab = {piece: i for i, piece in enumerate(StandInTokenizer().pieces)}
    OpenAIGPTTokenizerFast(vocab=vocab, merges=[]).save_pretrained(folder)
    torch.manual_seed(0)
    config = OpenAIGPTConfig(vocab_size=len(vocab), n_positions=16, n_embd=16, n_layer=2, n_head=2)
    OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    return folder


def test_a_short_text_costs_what_the_model_says(folder: Path) -> None:
    text = "Bad cab ø."
    with notices.collecting() as told:
        found = evaluate(folder, text=text)
    assert [notice.kind for notice in told] == ["text-unknown"]
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    ids = torch.tensor([tokenizer.encode(text)])
    model = OpenAIGPTLMHeadModel.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = model(ids).logits[0, :-1]
    loss = float(torch.nn.functional.cross_entropy(logits, ids[0, 1:]))
    assert found.loss == pytest.approx(loss, rel=1e-5)
    assert found.perplexity == pytest.approx(math.exp(loss), rel=1e-5)
    assert (found.tokens, found.bytes, found.unknown_tokens) == (8, 11, 1)
    assert found.bits_per_byte == pytest.approx(loss / math.log(2) * 8 / 11, rel=1e-5)


def test_sources_are_read_end_to_end_whatever_their_form(folder: Path, tmp_path: Path) -> None:
    texts = ["a bad cab", "fed a hag. ", "be a cab. " * 20]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text)
    events: list[dict[str, Any]] = []

    def reporter(kind: str, /, **fields: Any) -> None:
        events.append({"kind": kind, **fields})

    whole = evaluate(folder, text=" ".join(texts), reporter=reporter)
    rows = evaluate(folder, tmp_path / "rows.jsonl")
    files = evaluate(folder, [str(tmp_path / f"{number}.txt") for number in range(3)])
    assert rows == files
    assert rows.loss == whole.loss
    assert rows.tokens == whole.tokens > 16
    assert whole.bytes == rows.bytes + 2
    assert {event["kind"] for event in events} == {"progress"}
    assert events[-1]["done"] == events[-1]["total"] == whole.bytes
    dones = [event["done"] for event in events]
    assert dones == sorted(dones)


def test_more_context_is_another_loss_over_the_same_tokens(folder: Path) -> None:
    text = "fed a bad cab. " * 12
    found = [evaluate(folder, text=text, stride=stride) for stride in (0, 8, 1, 16)]
    assert found[0] == found[1]
    assert len({one.loss for one in found}) == 3
    assert len({one.tokens for one in found}) == 1


def test_long_documents_are_read_in_groups(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a bad cab"}\n' * 30)
    at_once = evaluate(folder, file)
    monkeypatch.setattr(tokenized_text, "GROUP_CHARACTERS", 20)
    assert evaluate(folder, file) == at_once


@pytest.mark.parametrize(
    ("request_", "error", "message", "hint"),
    [
        ({}, ConfigError, "neither data nor text given; allowed: one", "pass sources"),
        (
            {"data": "x", "text": "a"},
            ConfigError,
            "both data and text given; allowed",
            "or the text",
        ),
        ({"text": "a"}, DataError, "the text has 1 tokens; at least 2", "a longer text"),
        ({"text": ""}, DataError, "the text has 0 tokens; at least 2", "a longer text"),
        ({"text": "a b", "stride": 17}, ConfigError, "stride is 17; allowed: 0 to 16", "half"),
    ],
)
def test_requests_that_cannot_be_are_refused(folder: Path, request_, error, message, hint) -> None:
    with pytest.raises(error, match=message) as caught:
        evaluate(folder, **request_)
    assert hint in caught.value.hint
