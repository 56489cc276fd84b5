"""The tokenizer's own behaviour: calling, decoding, special tokens, errors, pickling."""

import pickle
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from ogpt import notices
from ogpt.errors import BackendMissing, TokenizerError, TokenOutOfRange
from ogpt.tokens.batch_encoding import BatchEncoding
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from tests.tokens.real import PYTHON_DOCS, gpt1, learned, needs_vocabulary


def fresh(**options) -> OpenAIGPTTokenizerFast:
    return OpenAIGPTTokenizerFast(
        vocab=learned().get_vocab(), merges=learned().merges, pad_token="<pad>", **options
    )


# ---- decoding


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_encoding_the_decoded_text_gives_the_same_ids(text: str) -> None:
    ids = learned().encode(text)
    if learned().unk_token_id not in ids:
        assert learned().encode(learned().decode(ids)) == ids


@needs_vocabulary
def test_decode() -> None:
    tokenizer = gpt1()
    ids = tokenizer.encode("I don't know, he said.")
    assert tokenizer.decode(ids) == "i don ' t know , he said ."
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=True) == "i don't know, he said."
    for same in (np.array(ids), torch.tensor(ids), iter(ids), tuple(ids), list(np.array(ids))):
        assert tokenizer.decode(same) == "i don ' t know , he said ."
    assert tokenizer.decode(481) == "the"
    assert tokenizer.decode([]) == ""
    assert tokenizer.batch_decode(torch.tensor([[481, 4735]])) == ["the president"]
    assert tokenizer.decode([481, 50_000, 4735]) == "the <unk>president"


def test_clean_up_is_a_setting_too() -> None:
    tokenizer = fresh(clean_up_tokenization_spaces=True)
    assert tokenizer.decode(tokenizer.encode("yes, it is.")) == "yes, it is."


def test_special_tokens_are_skipped_and_unknown_ones_are_not() -> None:
    tokenizer = fresh()
    ids = tokenizer.encode("a<pad> \u4e00 b")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a <unk>b"
    assert tokenizer.decode(ids, skip_special_tokens=True, skip_unknown=True) == "a b"


def test_convert() -> None:
    tokenizer = learned()
    tokens = tokenizer.tokenize("The function returns \u4e00.")
    ids = tokenizer.encode("The function returns \u4e00.")
    assert tokens[0] == "the</w>"
    assert tokens[-2:] == ["<unk>", ".</w>"]
    assert tokenizer.convert_tokens_to_ids(tokens) == ids
    assert tokenizer.convert_ids_to_tokens(ids) == tokens
    assert tokenizer.convert_ids_to_tokens(ids[0]) == tokenizer.convert_ids_to_tokens(
        np.int64(ids[0])
    )
    assert tokenizer.convert_tokens_to_ids("no such token") == tokenizer.unk_token_id == 0
    assert tokenizer.convert_ids_to_tokens(50_000) == "<unk>"
    assert tokenizer.convert_tokens_to_string(tokens[:-2]) == "the function returns"


@pytest.mark.parametrize("method", ["decode", "convert_ids_to_tokens"])
def test_ids_that_cannot_be(method: str) -> None:
    with pytest.raises(TokenOutOfRange, match="-100 is negative; allowed: 0 to 999") as caught:
        getattr(learned(), method)([5, -100])
    assert "ignored labels" in caught.value.hint
    for bad in ([1.5], ["a"], [[1], 2], None):
        with pytest.raises(TokenizerError, match="allowed: one row of integers") as wrong:
            getattr(learned(), method)(bad)
        assert "batch_decode" in wrong.value.hint


# ---- encoding


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_lone_surrogates_are_dropped(text: str) -> None:
    clean = "".join(char for char in text if not "\ud800" <= char <= "\udfff")
    tokenizer = learned()
    assert tokenizer.encode(text) == tokenizer(text)["input_ids"] == tokenizer.encode(clean)
    assert tokenizer.tokenize(text) == tokenizer.tokenize(clean)


def test_arrays_in_a_type_that_holds_every_id() -> None:
    (ids,) = learned().encode_batch_arrays(["the function"])
    assert ids.dtype == np.uint16
    assert ids.flags.writeable
    vocab = {f"{index}</w>": index for index in range(1, 70_000)} | {"<unk>": 0}
    large = OpenAIGPTTokenizerFast(vocab=vocab, merges=[])
    assert large.encode_batch_arrays(["x"])[0].dtype == np.uint32
    assert learned().encode_batch_arrays([]) == []
    assert learned().encode_batch_arrays([""])[0].shape == (0,)


def test_arrays_equal_the_rust_library() -> None:
    ours = learned().encode_batch_arrays(PYTHON_DOCS)
    theirs = learned().backend_tokenizer.encode_batch_fast(PYTHON_DOCS)
    assert [ids.tolist() for ids in ours] == [encoding.ids for encoding in theirs]


def test_a_full_table_starts_anew(monkeypatch) -> None:
    tokenizer = fresh()
    tokenizer._encode_plain.remembered = 5
    monkeypatch.setattr("ogpt.tokens.chunk_encoder.AT_ONCE", 100)
    arrays = tokenizer.encode_batch_arrays(PYTHON_DOCS[:3])
    assert [array.tolist() for array in arrays] == tokenizer(PYTHON_DOCS[:3])["input_ids"]


@pytest.mark.parametrize(
    "token",
    [
        AddedToken("new york", normalized=True),
        AddedToken("york", lstrip=True),
        AddedToken("york", single_word=True),
        AddedToken("\u65e5", normalized=True),
        AddedToken("york"),
        AddedToken("<york>", special=True, normalized=False),
    ],
)
def test_added_tokens_in_the_fast_path(token: AddedToken) -> None:
    tokenizer = fresh()
    tokenizer.add_tokens([token])
    for text in ("New York yorks", "a new  york<york>york", "x \u65e5 y\u65e5", "<YORK> \u65e5"):
        assert tokenizer.encode(text) == tokenizer(text)["input_ids"]


def test_where_tokens_came_from() -> None:
    text = "Return a value"
    batch = learned()(text)
    assert batch.word_ids() == sorted(batch.word_ids())
    assert {text[a:b].lower() for a, b in batch.offsets()} >= {"a"}
    assert batch.tokens() == learned().tokenize(text)
    assert batch.char_to_token(7) == batch.tokens().index("a</w>")
    assert batch.sequence_ids() == [0] * len(batch.input_ids)
    assert batch[0].ids == batch.input_ids


def test_model_inputs() -> None:
    tokenizer = fresh()
    batch = tokenizer(
        ["the", "the value of a"], padding=True, return_tensors="np", return_length=True
    )
    assert batch["input_ids"].dtype == np.int64
    assert batch.attention_mask.tolist()[0] == [1, 0, 0, 0]
    assert batch["length"].tolist() == [4, 4]
    tensors = tokenizer(["the"], return_tensors="pt").to("cpu")
    assert torch.is_tensor(tensors.input_ids)
    assert tokenizer("the", return_tensors="np").input_ids.shape == (1, 1)
    with notices.collecting():
        assert tokenizer.encode("the value", max_length=1) == tokenizer.encode("the")
    assert tokenizer.encode("the", "value") == tokenizer.encode("the value")
    assert tokenizer.encode("the", padding="max_length", max_length=2)[1] == tokenizer.pad_token_id
    assert list(tokenizer("a", return_attention_mask=False)) == ["input_ids"]
    assert list(tokenizer("a")) == list(tokenizer.model_input_names)
    copied = pickle.loads(pickle.dumps(batch))
    assert isinstance(copied, BatchEncoding)
    assert copied.tokens(1) == batch.tokens(1)


def test_truncation_is_told() -> None:
    with notices.collecting() as told:
        fresh()(["a b c d", "a", "a b c"], truncation=True, max_length=2)
    assert [(notice.kind, notice.fields) for notice in told] == [
        ("text-truncated", {"count": 2, "total": 3, "max_length": 2, "lost": 3})
    ]
    with notices.collecting() as told:
        fresh()(["a", "b"], truncation=True)
    assert told == []


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"padding": "most"}, "padding is 'most'; allowed: 'longest'", "pass one of these"),
        ({"truncation": "all"}, "truncation is 'all'; allowed: 'longest_first'", "pass one of"),
        ({"padding_side": "up"}, "padding_side is 'up'", "pass one of these"),
        (
            {"return_tensors": "jax"},
            "return_tensors is 'jax'; allowed: 'np', 'pt'",
            "pass one of these",
        ),
        ({"max_length": 0}, "max_length is 0; allowed: 1 or more", "above 0"),
        ({"pad_to_multiple_of": 0}, "pad_to_multiple_of is 0", "above 0"),
        (
            {"truncation": "only_second", "max_length": 1},
            r"cannot remove 3 tokens from texts of \[4\] tokens",
            "longest_first",
        ),
        ({"return_tensors": "np"}, "rows of 1 to 4 tokens", "padding=True"),
        (
            {"text_pair": ["a"]},
            "2 texts and 1 second texts; allowed",
            "one text_pair for each text",
        ),
        ({"text_pair": [None, "a"]}, "a text is None, NoneType", "list of texts"),
    ],
)
def test_arguments_that_cannot_be(options: dict, message: str, hint: str) -> None:
    with pytest.raises(TokenizerError, match=message) as caught:
        fresh()(["the value of a", "a"], **options)
    assert hint in caught.value.hint


def test_padding_needs_a_token() -> None:
    with pytest.raises(TokenizerError, match="no padding token") as caught:
        learned()(["a", "a b"], padding=True)
    assert "add_special_tokens({'pad_token': '<pad>'})" in caught.value.hint


def test_without_pytorch(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendMissing, match="needs PyTorch") as caught:
        learned()("a", return_tensors="pt")
    assert caught.value.hint == "pip install 'ogpt[torch]'"


def test_what_a_batch_does_not_have() -> None:
    batch = learned()("a")
    with pytest.raises(AttributeError, match="no 'labels'; it has input_ids, attention_mask"):
        _ = batch.labels
    with pytest.raises(TokenizerError, match="batch_index is 1; allowed: 0 to 0") as caught:
        batch.tokens(1)
    assert "from 0" in caught.value.hint


# ---- special tokens


def test_special_tokens() -> None:
    tokenizer = fresh()
    assert (tokenizer.vocab_size, len(tokenizer), tokenizer.pad_token_id) == (1_000, 1_001, 1_000)
    added = tokenizer.add_special_tokens(
        {"cls_token": "[CLS]", "additional_special_tokens": ["<a>", "<b>"], "eos_token": "<pad>"}
    )
    assert added == 3
    assert tokenizer.all_special_tokens == ["<pad>", "<unk>", "[CLS]", "<a>", "<b>"]
    assert tokenizer.all_special_ids == [1_000, 0, 1_001, 1_002, 1_003]
    assert tokenizer.encode("x[CLS]") == [*tokenizer.encode("x"), 1_001]
    assert 1_001 not in tokenizer.encode("[cls]")
    assert tokenizer.bos_token is None
    assert tokenizer.bos_token_id is None
    tokenizer.eos_token = None
    assert tokenizer.eos_token_id is None
    assert tokenizer.add_tokens("NewTok") == 1
    assert tokenizer.encode("newtok NEWTOK") == [1_004, 1_004]


def test_special_tokens_that_cannot_be() -> None:
    with pytest.raises(TokenizerError, match="eos_token is '<e>'; allowed") as caught:
        fresh().eos_token = "<e>"
    assert "add_special_tokens({'eos_token': '<e>'})" in caught.value.hint
    for name, value in (("end_token", "<e>"), ("eos_token", ""), ("eos_token", 5)):
        with pytest.raises(TokenizerError, match=f"{name}={value!r} is not a") as caught:
            fresh().add_special_tokens({name: value})
        assert "pad_token" in caught.value.hint


# ---- making one


def test_what_a_tokenizer_needs() -> None:
    with pytest.raises(TokenizerError, match="needs vocab_file and merges_file") as caught:
        OpenAIGPTTokenizerFast("vocab.json")
    assert "from_pretrained" in caught.value.hint
    with pytest.raises(TokenizerError, match="'<none>' is not in the vocabulary") as caught:
        fresh(unk_token="<none>")
    assert "unk_token" in caught.value.hint
    with pytest.raises(TokenizerError, match="model_max_length is 0") as caught:
        fresh(model_max_length=0)
    assert "above 0" in caught.value.hint
    with pytest.raises(TokenizerError, match="'<x>' has the id 1005; allowed: 1000") as caught:
        fresh(added_tokens_decoder={1_005: AddedToken("<x>")})
    assert "without gaps" in caught.value.hint


def test_pickle_and_fingerprint() -> None:
    tokenizer = fresh()
    tokenizer.encode("warm the table")
    copied = pickle.loads(pickle.dumps(tokenizer))
    assert copied.encode(PYTHON_DOCS[0]) == tokenizer.encode(PYTHON_DOCS[0])
    assert copied.pad_token_id == tokenizer.pad_token_id
    assert copied.fingerprint == tokenizer.fingerprint
    assert len(tokenizer.fingerprint) == 64
    assert fresh(bos_token="<s>").fingerprint != tokenizer.fingerprint
    assert learned().fingerprint != tokenizer.fingerprint


def test_special_tokens_by_their_id() -> None:
    tokenizer = fresh()
    tokenizer.pad_token_id = 0
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == (tokenizer.convert_ids_to_tokens(0), 0)
    with pytest.raises(TokenizerError, match=r"pad_token_id is 99999; allowed: 0 to") as bad:
        tokenizer.pad_token_id = 99_999
    assert "add_special_tokens" in bad.value.hint
    tokenizer.pad_token_id = None
    assert tokenizer.pad_token is None
