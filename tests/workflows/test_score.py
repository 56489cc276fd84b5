"""`score`: log-probabilities of a text and of choices, against naive sums over the model."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import (
    ConfigError,
    ContextTooLong,
    DecoderError,
    SamplingError,
    TokenizerError,
    TokenOutOfRange,
)
from ogpt.generation.protocol.likelihood import score_choices
from ogpt.generation.texts.text_scores import Score
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import collecting
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.workflows import score as scoring
from tests.markov import StandInDecoder, StandInTokenizer, contextual, log_softmax


def score(*arguments: Any, **options: Any) -> list[Score]:
    return scoring.score(*arguments, threads=1, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    vocab = {piece: i for i, piece in enumerate(StandInTokenizer().pieces)}
    OpenAIGPTTokenizerFast(vocab=vocab, merges=[]).save_pretrained(folder)
    config = OpenAIGPTConfig(vocab_size=len(vocab), n_positions=12, n_embd=16, n_layer=2, n_head=2)
    torch.manual_seed(0)
    OpenAIGPTLMHeadModel(config).save_pretrained(folder)
    return folder


def naive(folder: Path, ids: list[int]) -> list[float]:
    """Log-probability of each id but the first after all those before it."""
    model = OpenAIGPTLMHeadModel.from_pretrained(folder)
    with torch.no_grad():
        logits = model(torch.tensor([ids[:-1]])).logits[0].numpy()
    return [float(log_softmax(row)[token]) for row, token in zip(logits, ids[1:], strict=True)]


def test_a_text(folder: Path) -> None:
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    with collecting():  # the ø is unknown
        [found] = score(folder, "bad cab ø.")
    ids = tokenizer.encode("bad cab ø.")
    expected = naive(folder, ids)
    np.testing.assert_allclose(found.log_probs, expected, atol=1e-5)
    assert found.tokens == tokenizer.convert_ids_to_tokens(ids[1:])
    assert found.log_prob == pytest.approx(sum(expected), abs=1e-4)
    assert found.mean == pytest.approx(sum(expected) / len(expected), abs=1e-5)
    assert found.perplexity == pytest.approx(math.exp(-found.mean))
    # 11 bytes: the ø has two
    assert found.per_byte == pytest.approx(found.mean * len(ids) / 11)
    shifted = naive(folder, [ids[0], *ids[:-1]])
    assert found.log_prob != pytest.approx(sum(shifted), abs=1e-4)


def test_several_texts_are_scored_in_order(folder: Path) -> None:
    texts = ["bad cab", "ace fade bed."]
    assert score(folder, texts) == [*score(folder, texts[0]), *score(folder, texts[1])]
    assert score(folder, texts[:1], choices=["a"]) == score(folder, texts[0], choices=["a"])
    assert score(folder, []) == []


def test_a_long_text_is_read_in_windows(folder: Path) -> None:
    text = "bad cab a dab ace fade bed " * 3
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    ids = tokenizer.encode(text)
    assert len(ids) > 24
    [coarse], [fine] = score(folder, text, stride=12), score(folder, text, stride=1)
    assert len(coarse.log_probs) == len(fine.log_probs) == len(ids) - 1
    # with stride 1 a token sees the n_positions tokens before it
    expected = naive(folder, ids[-13:-1] + ids[-1:])[-1]
    assert fine.log_probs[-1] == pytest.approx(expected, abs=1e-5)
    assert coarse.log_probs != pytest.approx(fine.log_probs, abs=1e-5)


def test_choices_follow_the_text(folder: Path) -> None:
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    choices = ["cab", "a dab", "."]
    found = score(folder, "bad a", choices=choices)
    prefix = tokenizer.encode("bad a")
    for one, choice in zip(found, choices, strict=True):
        ids = tokenizer.encode(choice)
        expected = naive(folder, prefix + ids)[-len(ids) :]
        np.testing.assert_allclose(one.log_probs, expected, atol=1e-5)
        assert one.text == choice
        assert one.tokens == tokenizer.convert_ids_to_tokens(ids)
        assert one.per_byte == pytest.approx(one.log_prob / len(choice))


def test_choices_share_one_reading_of_the_text() -> None:
    decoder = contextual(7, n_positions=9, slots=1)
    found = score_choices(decoder, [1, 2, 3, 4], [[5], [6, 1], [5]])
    assert decoder.calls == ["run 0+3", "score 0 1", "score 0 2", "score 0 1"]
    assert found[0] == found[2]
    for choice, scores in zip([[5], [6, 1]], found, strict=False):
        held = [1, 2, 3, 4]
        for token, value in zip(choice, scores.log_probs, strict=True):
            expected = log_softmax(decoder.logits_of(tuple(held)).astype(np.float32))[token]
            assert value == pytest.approx(expected, rel=1e-6)
            held.append(token)
    assert decoder.held == [[]]
    assert len(score_choices(decoder, [1], [[2, 3]])[0].log_probs) == 2
    with pytest.raises(TokenOutOfRange):
        score_choices(decoder, [1, 2], [[7]])
    assert decoder.held == [[]]


def test_a_text_that_leaves_no_room_is_cut_with_a_notice(folder: Path) -> None:
    text = "bad cab a dab ace"
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    ids = tokenizer.encode(text)
    assert len(ids) == 13
    with collecting() as notices:
        found = score(folder, text, choices=["bad", "a"])
    assert [notice.message for notice in notices] == [
        "the text has 13 tokens, and the context length is 12: using only the last 10 tokens "
        "before the choices, to leave room for the longest choice"
    ]
    for one, choice in zip(found, ["bad", "a"], strict=True):
        more = tokenizer.encode(choice)
        expected = naive(folder, ids[-10:] + more)[-len(more) :]
        np.testing.assert_allclose(one.log_probs, expected, atol=1e-5)


def test_unknown_tokens_are_told(folder: Path) -> None:
    with collecting() as notices:
        score(folder, "a x", choices=["b"])
    assert [notice.message for notice in notices] == [
        "1 of 2 prompt tokens are unknown to this vocabulary"
    ]


@pytest.mark.parametrize(
    ("text", "options", "error", "message", "hint"),
    [
        ("", {}, SamplingError, "the text '' has 0 tokens; at least 2 are needed", "longer text"),
        ("a", {}, SamplingError, "the text 'a' has 1 tokens; at least 2", "longer text"),
        ("", {"choices": ["a"]}, SamplingError, "the text '' has 0 tokens; at least 1 is", "word"),
        ("a", {"choices": [" "]}, SamplingError, "the text ' ' has 0 tokens; at least 1", "word"),
        ("a", {"choices": ["a " * 13]}, ContextTooLong, "13 tokens; the model has 12", "shorter"),
        ("a \udce9", {}, SamplingError, "the text is not UTF-8: character 2 of", "iconv"),
        (
            "a",
            {"choices": ["b", "\ud83d"]},
            SamplingError,
            "text is not UTF-8: character 0",
            "conv",
        ),
        (["a", "b"], {"choices": "a"}, ConfigError, "2 texts and 1 choices; allowed: one", "each"),
        (["a b", 7], {}, TokenizerError, "a text is 7, int; allowed: str", "list of texts"),
        (None, {}, TokenizerError, "the text is None, NoneType; allowed", "list of texts"),
        ("a b", {"stride": 13}, ConfigError, "stride is 13; allowed: 0 to 12", "omit it"),
    ],
)
def test_refusals(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: Any,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
    hint: str,
) -> None:
    monkeypatch.setattr(scoring, "open_decoder", None)  # nothing is loaded
    with pytest.raises(error, match=message) as caught:
        score(folder, text, **options)
    assert hint in caught.value.hint  # type: ignore[attr-defined]  # every error of ours has one


def test_log_probabilities_that_are_not_numbers_are_refused() -> None:
    decoder = StandInDecoder(lambda held: np.full(7, np.nan), 7)
    with pytest.raises(DecoderError, match="1 tokens sum to nan"):
        score_choices(decoder, [1, 2], [[3]])
    assert decoder.held[0] == []
