"""The same ids as transformers' tokenizer and as the published golden rows; planted faults show."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers
from transformers import AutoTokenizer, OpenAIGPTTokenizer

from ogpt import notices
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.vocabulary import NAMINGS
from tests.tokens.real import (
    GOLDEN,
    PYTHON_DOCS,
    VOCABULARY,
    books,
    gpt1,
    learned,
    needs_books,
    needs_vocabulary,
)

ROWS = json.loads(GOLDEN.read_text("utf-8"))
any_text = st.text(st.characters(exclude_categories=("Cs",)))


def peer(tokenizer: OpenAIGPTTokenizerFast) -> OpenAIGPTTokenizer:
    """transformers' tokenizer with the same vocabulary."""
    return OpenAIGPTTokenizer(vocab=tokenizer.get_vocab(), merges=tokenizer.merges)


learned_peer = functools.cache(lambda: peer(learned()))


def different(ours: OpenAIGPTTokenizerFast, theirs, texts: Sequence[str]) -> list[str]:
    """The texts whose ids differ, by any of our three ways to encode."""
    arrays = ours.encode_batch_arrays(texts)
    called = ours(list(texts))["input_ids"]
    expected = theirs(list(texts))["input_ids"]
    return [
        text
        for text, array, ids, right in zip(texts, arrays, called, expected, strict=True)
        if not (array.tolist() == ids == right)
    ]


@needs_vocabulary
@pytest.mark.parametrize("names", NAMINGS)
def test_golden_rows(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, original in zip(names, NAMINGS[1], strict=True):
        (tmp_path / name).write_bytes((VOCABULARY / original).read_bytes())
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(tmp_path)
    assert (tokenizer.vocab_size, len(tokenizer.merges)) == (40_478, 40_000)
    for text, _, _, ids, _, _, decoded in ROWS:
        assert tokenizer.encode(text) == tokenizer(text)["input_ids"] == ids, text
        assert tokenizer.decode(ids) == decoded, text


def test_equal_on_pythons_documentation() -> None:
    assert different(learned(), learned_peer(), PYTHON_DOCS) == []


@needs_vocabulary
@needs_books
def test_equal_on_books() -> None:
    paragraphs = [part for book in books() for part in book[:150_000].split("\n\n")]
    assert different(gpt1(), peer(gpt1()), paragraphs) == []


def test_a_planted_fault_shows() -> None:
    """Capitals kept, and two merges in the other order."""
    theirs = peer(learned())
    theirs.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    assert different(learned(), theirs, PYTHON_DOCS)
    merges = learned().merges
    rival = next(rank for rank, (_, right) in enumerate(merges) if right == merges[0][0])
    merges[0], merges[rival] = merges[rival], merges[0]  # they compete for a symbol
    swapped = OpenAIGPTTokenizerFast(vocab=learned().get_vocab(), merges=merges)
    assert different(swapped, learned_peer(), PYTHON_DOCS)


@settings(max_examples=300, deadline=None)
@given(st.lists(any_text, min_size=1, max_size=3))
def test_equal_on_all_of_unicode(texts: list[str]) -> None:
    assert different(learned(), learned_peer(), texts) == []


mixed_text = st.text(st.sampled_from("ab \n\x0b\x1c\x85\u2028é日.<unk>\u0301"), max_size=20)


@settings(max_examples=300, deadline=None)
@given(mixed_text)
def test_equal_on_white_space_and_controls(text: str) -> None:
    assert different(learned(), learned_peer(), [text]) == []


def test_saved_folder_in_transformers(tmp_path: Path) -> None:
    tokenizer = OpenAIGPTTokenizerFast(
        vocab=learned().get_vocab(),
        merges=learned().merges,
        model_max_length=77,
        pad_token="<pad>",
        additional_special_tokens=["<speaker>"],
    )
    tokenizer.add_tokens(["pydoc"])
    tokenizer.save_pretrained(tmp_path)
    texts = [*PYTHON_DOCS[:20], "a <speaker> b<unk>c PYDOC", "<pad>"]
    for kind in (AutoTokenizer, OpenAIGPTTokenizer):
        theirs = kind.from_pretrained(tmp_path)
        assert different(tokenizer, theirs, texts) == []
        assert len(theirs) == len(tokenizer)
        assert theirs.model_max_length == 77
        assert theirs.pad_token_id == tokenizer.pad_token_id


def test_folder_of_transformers_in_ours(tmp_path: Path) -> None:
    theirs = peer(learned())
    theirs.add_special_tokens({"pad_token": "<pad>", "extra_special_tokens": ["<speaker>"]})
    theirs.add_tokens(["pydoc"])
    theirs.save_pretrained(tmp_path)
    assert not (tmp_path / "vocab.json").exists()
    ours = OpenAIGPTTokenizerFast.from_pretrained(tmp_path)
    assert ours.model_max_length == 512
    assert ours.pad_token_id == theirs.pad_token_id
    assert ours.additional_special_tokens == ["<speaker>"]
    assert different(ours, theirs, [*PYTHON_DOCS[:20], "a <speaker> b PyDoc<pad>"]) == []
    from_file = OpenAIGPTTokenizerFast(tokenizer_file=tmp_path / "tokenizer.json")
    assert from_file.encode("a <speaker> b") == ours.encode("a <speaker> b")


texts = st.lists(st.text("ab c.", max_size=12), min_size=1, max_size=4)


@settings(max_examples=150, deadline=None)
@given(
    texts,
    st.booleans(),
    st.sampled_from([True, "only_first", "only_second", False, None]),
    st.sampled_from([False, True, "max_length"]),
    st.none() | st.integers(1, 12),
    st.none() | st.integers(1, 5),
    st.sampled_from(["left", "right"]),
    st.sampled_from(["left", "right"]),
)
def test_padding_and_truncation_equal(
    texts, pairs, truncation, padding, max_length, multiple, padding_side, truncation_side
) -> None:
    ours = OpenAIGPTTokenizerFast(
        vocab=learned().get_vocab(),
        merges=learned().merges,
        model_max_length=10,
        pad_token="<pad>",
        padding_side=padding_side,
        truncation_side=truncation_side,
    )
    theirs = peer(learned())
    theirs.add_special_tokens({"pad_token": "<pad>"})
    theirs.model_max_length = 10
    theirs.padding_side, theirs.truncation_side = padding_side, truncation_side
    options = {
        "text_pair": texts[::-1] if pairs else None,
        "padding": padding,
        "truncation": truncation,
        "max_length": max_length,
        "return_token_type_ids": True,
        "return_special_tokens_mask": True,
        "return_offsets_mapping": True,
    }
    if padding and (truncation in (False, None) or multiple is None):
        options["pad_to_multiple_of"] = multiple
    try:
        expected = theirs(texts, **options, verbose=False)
    except BaseException as error:  # noqa: BLE001  # Rust panics where it cannot truncate
        expected = error
    with notices.collecting():
        try:
            found = ours(texts, **options)
        except ValueError:
            assert isinstance(expected, BaseException)
            return
    assert not isinstance(expected, BaseException)
    assert dict(found) == {name: expected[name] for name in found}
    assert list(found["input_ids"]) == list(expected["input_ids"])
