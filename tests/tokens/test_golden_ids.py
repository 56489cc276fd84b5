"""The ids of the published golden rows, by every way to encode, in the real vocabulary."""

import json
from pathlib import Path
from typing import Any

import pytest

from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.tokens.real import GOLDEN, VOCABULARY, needs_vocabulary

SPACY = GOLDEN.with_name("tokenizer_spacy_4.57.6.json")
CASE_MATTERS = {
    "U.S.A.": (["u.", "s", ".a.</w>"], [25896, 14, 10311], "u.s.a."),
    "Mr. Smith": (["mr.</w>", "smith</w>"], [1682, 4920], "mr. smith"),
}
"""The golden rows are transformers 4's, which lower-cases first; here the 2018 order differs."""
pytestmark = needs_vocabulary


def rows(file: Path) -> list[list[Any]]:
    """Text, tokens and ids of the slow class, ids of the fast one, then decoded texts."""
    found: list[list[Any]] = json.loads(file.read_text("utf-8"))
    assert len(found) == 49
    return found


def ways(tokenizer: Any, texts: list[str]) -> dict[str, list[list[int]]]:
    """The ids of the texts by each way to encode."""
    return {
        "encode": [tokenizer.encode(text) for text in texts],
        "call": [tokenizer(text)["input_ids"] for text in texts],
        "batch": tokenizer(texts)["input_ids"],
        "arrays": [ids.tolist() for ids in tokenizer.encode_batch_arrays(texts)],
    }


@pytest.mark.parametrize(
    ("order", "file"), [("openai", SPACY), ("hf-spacy", SPACY), ("bert", GOLDEN)]
)
def test_slow_class(order: Any, file: Path) -> None:
    tokenizer = OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer=order)
    golden = rows(file)
    texts = [row[0] for row in golden]
    assert CASE_MATTERS.keys() <= set(texts)
    for way, found in ways(tokenizer, texts).items():
        for (text, *published), ours in zip(golden, found, strict=True):
            tokens, ids, _, decoded, *_ = published
            if order == "openai" and text in CASE_MATTERS:
                tokens, ids, decoded = CASE_MATTERS[text]
            assert ours == ids, (way, text)
            assert tokenizer.tokenize(text) == tokens, text
            assert tokenizer.decode(ids) == decoded, text


@pytest.mark.parametrize("file", [SPACY, GOLDEN])
def test_fast_class(file: Path) -> None:
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(VOCABULARY)
    golden = rows(file)
    for way, found in ways(tokenizer, [row[0] for row in golden]).items():
        for (text, _, _, ids, _, _, decoded), ours in zip(golden, found, strict=True):
            assert ours == ids, (way, text)
            assert tokenizer.decode(ids) == decoded, text


def test_the_orders_differ_where_case_matters() -> None:
    """The published example: transformers 4 lower-cases first, and misses "Mr." and "D.C."."""
    text = "Mr. Smith went to Washington, D.C."
    openai = OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer="openai")
    assert openai.decode(openai.encode(text)) == "mr. smith went to washington , d.c."
    assert openai.encode("Mr. U.S.") == [1682, 9901]
    transformers_4 = OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer="hf-spacy")
    assert transformers_4.tokenize("Mr. Smith") == ["mr</w>", ".</w>", "smith</w>"]
