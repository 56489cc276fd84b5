"""What truncation cuts off, as rows of its own: the same rows as transformers gives."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import OpenAIGPTTokenizer as TransformersTokenizer

from ogpt.errors import TokenizerError
from tests.tokens.four import every_tokenizer, fresh
from tests.tokens.real import learned


@pytest.mark.parametrize("truncation_side", ["right", "left"])
@pytest.mark.parametrize("stride", [0, 1, 2])
@pytest.mark.parametrize("max_length", [3, 4, 7, 50])
@pytest.mark.parametrize(
    ("pairs", "truncation"),
    [
        (False, True),
        (True, "only_first"),
        (True, "only_second"),
        (False, "only_first"),
        (False, False),
    ],
)
def test_overflow_is_transformers(
    truncation_side: Any, stride: int, max_length: int, pairs: bool, truncation: Any
) -> None:
    ours = fresh("fast", pad_token="<pad>", truncation_side=truncation_side)
    theirs = TransformersTokenizer(vocab=learned().get_vocab(), merges=learned().merges)
    theirs.add_special_tokens({"pad_token": "<pad>"})
    theirs.truncation_side = truncation_side
    texts = ["the value of a function", "a", "return the module"]
    options = {
        "text_pair": ["a b", "c d", "e f"] if pairs else None,
        "truncation": truncation,
        "max_length": max_length,
        "stride": stride,
        "return_overflowing_tokens": True,
        "return_offsets_mapping": True,
        "padding": True,
    }
    try:
        expected = theirs(texts, **options, verbose=False)
    except BaseException as error:  # noqa: BLE001  # Rust panics: too little is left of a text
        expected = error
    try:
        found = ours(texts, **options)
    except TokenizerError:
        assert isinstance(expected, BaseException)
        return
    if isinstance(expected, BaseException):  # the stride is longer than what is left of the text
        assert pairs
        assert max(map(len, found["input_ids"])) <= max_length
        return
    assert dict(found) == {name: expected[name] for name in found}


@every_tokenizer
def test_overflow_covers_the_text(name: str) -> None:
    tokenizer = fresh(name)
    ids = tokenizer.encode("a b c d e f g")
    found = tokenizer("a b c d e f g", max_length=3, stride=1, return_overflowing_tokens=True)
    assert found["input_ids"] == [ids[at : at + 3] for at in (0, 2, 4)]
    assert found["overflow_to_sample_mapping"] == [0, 0, 0]
    several = tokenizer(["a", "a b c d"], max_length=3, return_overflowing_tokens=True)
    assert several["overflow_to_sample_mapping"] == [0, 1, 1]


def test_overflow_that_cannot_be() -> None:
    tokenizer = fresh("fast")
    for stride in (3, -1, 1.5):
        with pytest.raises(
            TokenizerError, match=f"stride is {stride}; allowed: 0 to 2, below max_length"
        ) as caught:
            tokenizer("a b c d", max_length=3, stride=stride, return_overflowing_tokens=True)
        assert "larger max_length" in caught.value.hint
    with pytest.raises(TokenizerError, match="pair whose texts are both too long") as caught:
        tokenizer("a b c d", "a b c d", max_length=4, return_overflowing_tokens=True)
    assert "truncation='only_first'" in caught.value.hint
