"""The same answers as transformers' tokenizers, of both versions, and no word of them forgotten."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import AddedToken

from ogpt.notices import collecting
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.golden.tokenizer_cases import CASES, MERGES, SPACED, VOCAB, answers, maker, plain

RECORDED = json.loads(
    (Path(__file__).parents[1] / "golden" / "tokenizer_calls_4.57.6.json").read_text("utf-8")
)
DIFFERENT = {
    # a special token whose AddedToken does not say `normalized` matches in its exact case
    ("4", "added single_word normalized"),
    # the list of version 5 is there in both, and so is that of version 4
    ("4", "extra_special_tokens"),
    ("5", "special_tokens_map"),
    # unknown to version 4, which takes it for a variable of the template
    ("4", "chat of a user who writes special tokens"),
}
"""Where the versions differ, and ours is the other one's; see docs/fidelity.md."""
REFUSED = {"decode several", "extra_special_tokens_ids"}
"""What version 4 does not know."""


def fast(folder: Path, **options: Any) -> BPETokenizer:
    return OpenAIGPTTokenizerFast.from_pretrained(folder, **options)


def bert(folder: Path, **options: Any) -> BPETokenizer:
    return OpenAIGPTTokenizer.from_pretrained(folder, pre_tokenizer="bert", **options)


@pytest.fixture(params=[fast, bert], ids=["fast", "bert"])
def make(request, tmp_path: Path) -> Callable[..., BPETokenizer]:
    maker(None, tmp_path)  # writes the vocabulary
    return lambda **options: request.param(tmp_path, **options)


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(plain(value)))


@pytest.mark.parametrize("case", sorted(CASES))
def test_as_version_4(case: str, make: Callable[..., BPETokenizer]) -> None:
    with collecting():  # truncation is told
        found = as_json(CASES[case](make))
    if case in REFUSED:
        assert case not in RECORDED["fast"]
    else:
        assert (found == RECORDED["fast"][case]) != (("4", case) in DIFFERENT), found


@pytest.mark.parametrize("case", sorted(SPACED))
def test_decoding_as_the_slow_class_of_version_4(
    case: str, make: Callable[..., BPETokenizer]
) -> None:
    assert as_json(SPACED[case](make)) == RECORDED["slow"][case]


def test_as_the_installed_version(make: Callable[..., BPETokenizer], tmp_path: Path) -> None:
    major = transformers.__version__.partition(".")[0]
    theirs = answers(maker(transformers.OpenAIGPTTokenizerFast, tmp_path), CASES)
    assert len(theirs) > len(CASES) / 2
    for case, right in theirs.items():
        with collecting():
            same = as_json(CASES[case](make)) == as_json(right)
        assert same != ((major, case) in DIFFERENT), case


def test_a_planted_fault_shows(make: Callable[..., BPETokenizer]) -> None:
    """Flags lost on the way, and padding on the other side."""

    def without_flags(**options: Any) -> BPETokenizer:
        return make(**{name: plain(token)["content"] for name, token in options.items()})

    case = "added single_word"
    assert as_json(CASES[case](without_flags)) != RECORDED["fast"][case]
    case = "pad on the left"
    assert (
        make(pad_token="<pad>").pad({"input_ids": [[5, 6], [7]]})["input_ids"]
        != (RECORDED["fast"][case]["input_ids"])
    )


@pytest.mark.parametrize("name", ["openai", "hf-spacy", "bytes"])
def test_flags_on_the_other_ways_to_words(name: Any, tmp_path: Path) -> None:
    """The issue's example: `azqb` is text, `zq` the token, before and after a round trip."""
    token = AddedToken("zq", single_word=True, normalized=False, special=True)
    if name == "bytes":
        from tests.tokens.byte_level import learned_bytes

        tokenizer: BPETokenizer = learned_bytes(eos_token=token)
    else:
        tokenizer = OpenAIGPTTokenizer(
            vocab=VOCAB, merges=MERGES, pre_tokenizer=name, eos_token=token
        )
    expected = [*tokenizer.encode("azqb"), *tokenizer.encode(" zq")]
    assert tokenizer.eos_token_id not in tokenizer.encode("azqb")
    tokenizer.save_pretrained(tmp_path)
    for each in (tokenizer, OpenAIGPTTokenizer.from_pretrained(tmp_path)):
        assert each.encode("azqb zq") == expected
        assert each.added_tokens_decoder[len(each) - 1] == token
        assert each.added_tokens_decoder[len(each) - 1].single_word
        assert each.fingerprint == tokenizer.fingerprint
    with collecting():  # few merges
        learned = tokenizer.train_new_from_iterator(["the cat"] * 3, 300)
    assert learned.added_tokens_decoder[len(learned) - 1].single_word


@pytest.mark.parametrize("name", ["openai", "hf-spacy", "bert", "bytes"])
def test_what_users_write_stays_text(name: Any, tmp_path: Path) -> None:
    """Special tokens in a text are split on every path; other added tokens are found."""
    made = {"pad_token": "<pad>", "additional_special_tokens": ["<s>"]}
    if name == "bytes":
        from tests.tokens.byte_level import learned_bytes

        tokenizer: BPETokenizer = learned_bytes(**made)
    else:
        tokenizer = OpenAIGPTTokenizer(vocab=VOCAB, merges=MERGES, pre_tokenizer=name, **made)
    plainly = OpenAIGPTTokenizer(
        vocab=tokenizer._vocabulary.vocab, merges=tokenizer.merges, pre_tokenizer=name,
        unk_token=tokenizer.unk_token,
    )  # fmt: skip
    text = "the <pad> cat<s>on<pad>"
    right = plainly.encode(text)
    special = {tokenizer.pad_token_id, *tokenizer.additional_special_tokens_ids}
    assert special <= set(tokenizer.encode(text))
    split = {"split_special_tokens": True}
    assert tokenizer.encode(text, **split) == right
    assert (
        tokenizer(text, is_split_into_words=False, return_length=True, **split).input_ids == right
    )
    assert tokenizer(text, **split)[0].ids == right
    assert tokenizer.encode_batch_arrays([text], **split)[0].tolist() == right
    assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text, **split)) == right
    assert pickle.loads(pickle.dumps(tokenizer)).encode(text, **split) == right
    tokenizer.add_tokens(["newtok"])
    assert tokenizer.encode("<pad> newtok", **split)[-1] == len(tokenizer) - 1
    before = tokenizer.fingerprint
    tokenizer.split_special_tokens = True
    assert tokenizer.encode(text) == right
    assert tokenizer.fingerprint != before
    tokenizer.save_pretrained(tmp_path)
    again = OpenAIGPTTokenizer.from_pretrained(tmp_path)
    assert again.encode(text) == right
    assert again.fingerprint == tokenizer.fingerprint
