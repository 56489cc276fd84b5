"""transformers' data collators with our tokenizers: padding, language modelling, choices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ogpt.errors import TokenizerError
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.golden.tokenizer_cases import MERGES, VOCAB, maker

SPECIAL = {"pad_token": "<pad>", "mask_token": "<mask>"}
TEXTS = ["the cat sat on", "low", "the low cat sat."]


@pytest.fixture(params=["fast", "openai", "bert"])
def ours(request) -> BPETokenizer:
    if request.param == "fast":
        return OpenAIGPTTokenizerFast(vocab=VOCAB, merges=MERGES, **SPECIAL)
    return OpenAIGPTTokenizer(vocab=VOCAB, merges=MERGES, pre_tokenizer=request.param, **SPECIAL)


@pytest.fixture
def theirs(tmp_path: Path) -> Any:
    return maker(transformers.OpenAIGPTTokenizerFast, tmp_path)(**SPECIAL)


def equal(one: Any, other: Any) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding(ours: BPETokenizer, theirs: Any, side: Any) -> None:
    ours.padding_side = theirs.padding_side = side
    collated = []
    for tokenizer in (ours, theirs):
        rows = [{**tokenizer(text), "label": place} for place, text in enumerate(TEXTS)]
        collate = transformers.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=4)
        collated.append(collate(rows))
    assert equal(*collated)
    assert collated[0]["labels"].tolist() == [0, 1, 2]
    assert collated[0]["input_ids"].shape == (3, 8)
    ours.padding_side = "left" if side == "right" else "right"
    rows = [{**ours(text), "label": place} for place, text in enumerate(TEXTS)]
    planted = transformers.DataCollatorWithPadding(ours, pad_to_multiple_of=4)(rows)
    assert not equal(planted, collated[1])


@pytest.mark.parametrize("masked", [False, True])
def test_language_modelling(ours: BPETokenizer, theirs: Any, masked: bool) -> None:
    collated = []
    for tokenizer in (ours, theirs):
        collate = transformers.DataCollatorForLanguageModeling(tokenizer, mlm=masked, seed=3)
        collated.append(collate([tokenizer(text) for text in TEXTS]))
    assert equal(*collated)
    assert (collated[0]["labels"] == -100).any()
    if not masked:
        assert torch.equal(collated[0]["labels"] == -100, collated[0]["attention_mask"] == 0)


def test_multiple_choice(ours: BPETokenizer, theirs: Any) -> None:
    collated = []
    for tokenizer in (ours, theirs):
        rows = [
            {**tokenizer([TEXTS[0]] * 2, [TEXTS[1], answer]), "label": place}
            for place, answer in enumerate(TEXTS[1:])
        ]
        collated.append(transformers.DataCollatorForMultipleChoice(tokenizer)(rows))
    assert equal(*collated)
    assert collated[0]["input_ids"].shape[:2] == (2, 2)


def test_labels_of_tokens(ours: BPETokenizer, theirs: Any) -> None:
    for kind in ("DataCollatorForTokenClassification", "DataCollatorForSeq2Seq"):
        collated = []
        for tokenizer in (ours, theirs):
            rows = [tokenizer(text) for text in TEXTS]
            labelled = [{**row, "labels": row["input_ids"][1:]} for row in rows]
            collated.append(getattr(transformers, kind)(tokenizer)(labelled))
        assert equal(*collated), kind
        assert (collated[0]["labels"] == -100).any()


def test_tensors_of_transformers_kinds(ours: BPETokenizer) -> None:
    kinds = transformers.TensorType
    strategy = transformers.tokenization_utils_base.PaddingStrategy
    cut = transformers.tokenization_utils_base.TruncationStrategy.DO_NOT_TRUNCATE
    batch = ours(TEXTS, padding=strategy.LONGEST, truncation=cut, return_tensors=kinds.PYTORCH)
    assert torch.equal(batch.input_ids, ours(TEXTS, padding=True, return_tensors="pt").input_ids)
    assert batch.to("cpu", non_blocking=True) is batch
    held = batch.input_ids
    assert batch.convert_to_tensors("pt").input_ids is held
    assert torch.equal(
        batch.convert_to_tensors("pt", prepend_batch_axis=True).input_ids, held[None]
    )
    again = ours.pad(ours([TEXTS[0]] * 2, return_tensors="pt"), pad_to_multiple_of=4)
    assert isinstance(again["input_ids"], torch.Tensor)
    assert again["input_ids"].shape == (2, 4)


def test_what_cannot_be_padded(ours: BPETokenizer) -> None:
    rows: list[dict[str, Any]] = [{"input_ids": [5, 6], "labels": 1}, {"input_ids": [7]}]
    with pytest.raises(TokenizerError, match="row 1 has no 'labels', which row 0 has") as caught:
        ours.pad(rows)
    assert "same options" in caught.value.hint
    for bad in ({"labels": [1]}, [[5, 6]], 5):
        with pytest.raises(TokenizerError, match="what to pad has no input_ids") as caught:
            ours.pad(bad)
        assert "calling the tokenizer" in caught.value.hint
    with pytest.raises(TokenizerError, match=r"numbers of rows: \{'labels': 1\}") as caught:
        ours.pad({"input_ids": [[5], [6]], "labels": [1]})
    assert "every column" in caught.value.hint
    rows = [{"input_ids": [5, 6], "labels": [1, 2]}, {"input_ids": [7], "labels": [1]}]
    with pytest.raises(TokenizerError, match="labels has rows of 1 to 2 tokens") as caught:
        ours.pad(rows, return_tensors="np")
    assert "padding=True" in caught.value.hint
    rows = [{"input_ids": [5], "text": "a"}, {"input_ids": [7], "text": "b"}]
    with pytest.raises(TokenizerError, match=r"text is \['a', 'b'\]; allowed in an") as caught:
        ours.pad(rows, return_tensors="np")
    assert "remove text" in caught.value.hint
    assert ours.pad(rows)["text"] == ["a", "b"]
    rows = [{"input_ids": [5], "boxes": [[1, 2], [3]]}, {"input_ids": [7], "boxes": [[1], [2]]}]
    with pytest.raises(TokenizerError, match=r"boxes is .* in rows of one length"):
        ours.pad(rows, return_tensors="np")
    ours.pad_token = None
    with pytest.raises(TokenizerError, match="no padding token"):
        ours.pad({"input_ids": [[5, 6], [7]]})
    assert ours.pad({"input_ids": []})["attention_mask"] == []
