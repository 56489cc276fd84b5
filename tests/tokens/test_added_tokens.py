"""Added tokens are the same for every path and every way to encode."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import AddedToken

from tests.tokens.four import NAMES, every_tokenizer, fresh


@every_tokenizer
def test_special_tokens_in_their_case_and_others_in_any(name: str) -> None:
    tokenizer = fresh(name)
    assert tokenizer.add_special_tokens({"cls_token": "[CLS]"}) == 1
    assert tokenizer.add_tokens("NewTok") == 1
    a = tokenizer.encode("a")
    for text, ids in (
        ("a [CLS]a", [*a, 1000, *a]),
        ("a[CLS][CLS]a", [*a, 1000, 1000, *a]),
        ("anewtokA", [*a, 1001, *a]),
        ("NEWTOK newtok", [1001, 1001]),
        ("[CLS]newTok", [1000, 1001]),
    ):
        assert tokenizer.encode(text) == tokenizer(text)["input_ids"] == ids, text
    assert 1000 not in tokenizer.encode("[cls]")
    assert tokenizer.tokenize("[CLS]") == ["[CLS]"]
    assert tokenizer.convert_ids_to_tokens([1000, 1001])[0] == "[CLS]"


ADDED = {
    "lstrip": AddedToken("york", lstrip=True),
    "rstrip": AddedToken("york", rstrip=True),
    "both": AddedToken("york", lstrip=True, rstrip=True),
    "single_word": AddedToken("york", single_word=True),
    "single_word_strip": AddedToken("york", single_word=True, lstrip=True, rstrip=True),
    "special": AddedToken("<york>", special=True, normalized=False),
    "special_strip": AddedToken("<York>", special=True, normalized=False, lstrip=True),
    "two_words": AddedToken("new york"),
    "accented": AddedToken("Yórk"),
    "not_normalized": AddedToken("York", normalized=False),
    "ideograph": AddedToken("日"),
}
SPELLINGS = (
    "New York yorks",
    "a new  york<york>york",
    "a\n york \n b",
    "the YORK,york;yorkyork x york_y",
    "yórk y\u0301ork YO\u0301RK yôrk",
    "<York> <YORK> <york>\t<york>a",
    "x日y 日 york日york",
    "york",
    " york ",
    "y\u200bork yo\x00rk",
    "",
)


@pytest.mark.parametrize("flag", ADDED)
def test_added_tokens_are_the_same_on_both_bert_paths(flag: str) -> None:
    both = [fresh("fast"), fresh("bert")]
    for tokenizer in both:
        tokenizer.add_tokens([ADDED[flag]])
    for text in SPELLINGS:
        ids = both[0].encode(text)
        assert both[0](text)["input_ids"] == ids, text
        assert both[1].encode(text) == ids, text
        assert both[1](text)["input_ids"] == ids, text


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("normalized", [False, True])
@every_tokenizer
def test_a_token_that_is_not_normalized_keeps_its_case(
    name: str, normalized: bool, special: bool, tmp_path: Path
) -> None:
    tokenizer = fresh(name)
    if name == "fast" or tokenizer.pre_tokenizer == "bert":
        any_case = normalized
    else:  # the slow class of transformers 4 matches special tokens in their case
        any_case = normalized and not special
    token = AddedToken("York", normalized=normalized, special=special)
    tokenizer.add_tokens([token], special_tokens=special)
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, type(tokenizer).from_pretrained(tmp_path)):
        assert one.tokenize("a York a")[1] == "York"
        assert ("York" in one.tokenize("a york a")) is any_case
        assert (1000 in one.encode_batch_arrays(["a YORK a"])[0]) is any_case


@pytest.mark.parametrize("name", NAMES)
def test_a_surrogate_inside_a_special_token(name: str) -> None:
    """Dropped before all else, by every path alike."""
    assert fresh(name).encode("<u\ud800nk>") == fresh(name).encode("<unk>")


@pytest.mark.parametrize("order", ["openai", "hf-spacy"])
@pytest.mark.parametrize("flag", ADDED)
def test_added_tokens_are_the_same_called_and_in_arrays(order: str, flag: str) -> None:
    tokenizer = fresh(order)
    tokenizer.add_tokens([ADDED[flag]])
    for text in (*SPELLINGS, "ｙｏｒｋ", "<ＹＯＲＫ>", "a<YORK>b", "newyork&#32;york"):
        ids = tokenizer.encode(text)
        assert tokenizer(text)["input_ids"] == ids, text
        assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) == ids, text


def test_text_that_only_becomes_a_special_token_is_none() -> None:
    for name in ("openai", "hf-spacy"):
        tokenizer = fresh(name)
        for text in ("a<UNK>b", "＜ｕｎｋ＞", "<unk&gt;", "a＜unk>b"):
            ids = tokenizer.encode(text)
            assert tokenizer(text)["input_ids"] == ids, text


def test_signs_of_regular_expressions_stand_for_themselves() -> None:
    tokens = ["(a|b)", "(?P<x>c)", "[z", "x.y", "\\w"]
    for name in ("openai", "bert", "fast"):
        tokenizer = fresh(name)
        tokenizer.add_tokens(tokens)
        for place, token in enumerate(tokens):
            assert tokenizer.encode(f"{token}") == tokenizer(token)["input_ids"] == [1000 + place]
        assert not {1000, 1001, 1003, 1004} & set(tokenizer.encode("a c xzy w"))


@every_tokenizer
def test_added_tokens_keep_their_spelling(name: str) -> None:
    tokenizer = fresh(name)
    tokenizer.add_tokens("NewTok")
    tokens = tokenizer.tokenize("a newTOK")
    assert tokens[-1] == "NewTok"
    assert tokenizer.convert_tokens_to_ids(tokens) == tokenizer("a newTOK")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("NEWTOK")) == ["NewTok"]


@every_tokenizer
def test_a_special_token_as_hugging_face_gives_it(name: str) -> None:
    tokenizer = fresh(name)
    assert tokenizer.add_special_tokens({"pad_token": AddedToken("<pad>", special=True)}) == 1
    assert tokenizer.pad_token == "<pad>"
