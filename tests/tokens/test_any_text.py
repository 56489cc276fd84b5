"""What holds on every text; `fuzz.py` looks further."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.tokens.any_text import (
    PROPERTIES,
    SAMPLES,
    both_bert_paths_agree,
    hf_spacy_is_as_described,
    openai_is_as_described,
    search,
    tokenizer,
)


@pytest.mark.parametrize("name", PROPERTIES)
def test_no_counter_example(name: str) -> None:
    search(name, 20 * PROPERTIES[name].share)


@pytest.mark.parametrize("name", ["openai", "hf-spacy", "bert", "fast"])
def test_every_sample(name: str) -> None:
    """Each sample alone, between words, and each pair of neighbours."""
    check = {"openai": openai_is_as_described, "hf-spacy": hf_spacy_is_as_described}
    for left, right in pairwise([*SAMPLES, *SAMPLES[::3], *SAMPLES[::7]]):
        for text in (left, f"the {left} cat", left + right, f"{left} {right}", f"{left}\n{right}"):
            check.get(name, both_bert_paths_agree)(text)


ACROSS = ("Whatd. _.", "x:>. >", "Wed. _.)")
"""Texts in which spaCy's last look for special cases reaches over white space."""
FAULTS: dict[str, tuple[str, Any]] = {
    "text is not standardised": ("ogpt.tokens.english_words._parts", str.split),
    "chunks are read alone": (
        "ogpt.tokens.english_words.EnglishWords.read_apart",
        lambda self, chunks, depends: list(chunks),
    ),
}


@pytest.mark.parametrize("text", ACROSS)
def test_a_case_across_white_space(text: str) -> None:
    openai_is_as_described(text)
    openai_is_as_described(f"the {text} cat")


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_planted_is_found(fault: str, monkeypatch) -> None:
    monkeypatch.setattr(*FAULTS[fault])
    tokenizer.cache_clear()
    with pytest.raises(AssertionError):
        for text in (*ACROSS, "the cat_sat,on"):
            openai_is_as_described(text)
    tokenizer.cache_clear()
