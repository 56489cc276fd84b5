"""The four ways to words, each as a tokenizer with a vocabulary that every checkout has."""

from __future__ import annotations

from typing import Any

import pytest

from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.tokens.real import learned

NAMES = ("openai", "hf-spacy", "bert", "fast")
every_tokenizer = pytest.mark.parametrize("name", NAMES)
TEXT = "Mr. Smith doesn't PyDoc <a>—it’s  zope zopes\n<pad> É U.S."


def fresh(name: str = "openai", **options: Any) -> BPETokenizer:
    options = {"vocab": learned().get_vocab(), "merges": learned().merges, **options}
    if name == "fast":
        return OpenAIGPTTokenizerFast(**options)
    return OpenAIGPTTokenizer(pre_tokenizer=name, **options)
