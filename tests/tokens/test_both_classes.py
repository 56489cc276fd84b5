"""Tokens, calling, learning and copies: the same of both classes, on every path."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ogpt import notices
from ogpt.errors import BackendMissing, TokenizerError
from ogpt.tokens.bert_words import BertWords
from ogpt.tokens.chunks import LONGEST_WORD
from ogpt.tokens.english_encoder import EnglishEncoder
from ogpt.tokens.english_words import EnglishWords
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from ogpt.tokens.word_counting import count_words
from tests.tokens.four import NAMES, TEXT, every_tokenizer, fresh
from tests.tokens.real import PYTHON_DOCS, learned

# ---- tokens


def test_tokenize_shows_unknown_characters() -> None:
    tokenizer = fresh()
    assert tokenizer.tokenize("the 日x日") == ["the</w>", "日", "x", "日</w>"]
    assert tokenizer.tokenize("<unk> 日") == ["<unk>", "日</w>"]
    assert tokenizer.tokenize("") == []
    assert fresh("bert").tokenize("日x") == ["日</w>", "x</w>"]
    assert fresh("fast").tokenize("日x") == ["<unk>", "x</w>"]
    ids = tokenizer.encode("the 日x日")
    assert tokenizer.convert_ids_to_tokens(ids) == ["the</w>", "<unk>", "x", "<unk>"]


def test_a_line_break_is_a_token() -> None:
    vocab = {**learned().get_vocab(), "\n</w>": 1000}
    tokenizer = fresh(vocab=vocab)
    assert tokenizer.encode("a\n \r\n b\n") == [
        *tokenizer.encode("a"),
        1000,
        *tokenizer.encode("b"),
    ]
    assert tokenizer.decode(tokenizer.encode("a\nb")) == "a \n b"
    assert 1000 not in fresh("bert", vocab=vocab).encode("a\nb")


# ---- calling


@every_tokenizer
def test_pairs(name: str) -> None:
    tokenizer = fresh(name)
    first, second = tokenizer.encode("the cat"), tokenizer.encode("of mats")
    pair = tokenizer("the cat", "of mats", return_token_type_ids=True)
    assert pair["input_ids"] == first + second == tokenizer.encode("the cat", "of mats")
    assert pair["token_type_ids"] == [0] * len(first) + [1] * len(second)
    rows = tokenizer(["the", "cat"], ["of", "mats"])["input_ids"]
    assert rows == [tokenizer.encode("the", "of"), tokenizer.encode("cat", "mats")]
    assert tokenizer.num_special_tokens_to_add(pair=True) == 0
    with pytest.raises(TokenizerError, match="2 texts and 1 second texts; allowed") as caught:
        tokenizer(["a", "b"], ["c"])
    assert "one text_pair" in caught.value.hint


@every_tokenizer
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_and_truncation(name: str, side: Any) -> None:
    tokenizer = fresh(name, pad_token="<pad>", padding_side=side, truncation_side=side)
    long, short = tokenizer.encode("a b c d e"), tokenizer.encode("a")
    rows = tokenizer(["a b c d e", "a"], padding=True, pad_to_multiple_of=4)
    gap = [1000] * 7
    assert rows["input_ids"][1] == (gap + short if side == "left" else short + gap)
    assert rows["attention_mask"][1] == ([0] * 7 + [1] if side == "left" else [1] + [0] * 7)
    with notices.collecting() as told:
        cut = tokenizer("a b c d e", truncation=True, max_length=2)["input_ids"]
    assert cut == (long[-2:] if side == "left" else long[:2])
    assert [notice.fields["lost"] for notice in told] == [3]


@every_tokenizer
def test_words_given_one_by_one(name: str) -> None:
    tokenizer = fresh(name)
    words = ["Hello", "do n't", "U.S.", "", "é"]
    expected = [token for word in words for token in tokenizer.encode(word)]
    assert tokenizer(words, is_split_into_words=True)["input_ids"] == expected
    assert tokenizer([words, ["the"]], is_split_into_words=True)["input_ids"] == [
        expected,
        tokenizer.encode("the"),
    ]
    pair = tokenizer([words], [["the", "cat"]], is_split_into_words=True)["input_ids"]
    assert pair == [expected + tokenizer.encode("the cat")]
    if name == "fast":
        batch = tokenizer(["the", "xyzzy"], is_split_into_words=True)
        assert set(batch.word_ids()) == {0, 1}


@every_tokenizer
def test_tensors(name: str, monkeypatch) -> None:
    tokenizer = fresh(name, pad_token="<pad>")
    texts = ["the cat", "a"]
    rows = tokenizer(texts, padding=True)["input_ids"]
    arrays = tokenizer(texts, padding=True, return_tensors="np")
    assert (arrays["input_ids"].tolist(), arrays["input_ids"].dtype) == (rows, np.int64)
    tensors = tokenizer(texts, padding=True, return_tensors="pt")
    assert (tensors["input_ids"].tolist(), tensors["input_ids"].dtype) == (rows, torch.int64)
    made: list[np.ndarray] = []
    stand_in = SimpleNamespace(convert_to_tensor=lambda array: made.append(array) or "tensor")
    monkeypatch.setitem(sys.modules, "tensorflow", stand_in)
    assert tokenizer(texts, padding=True, return_tensors="tf")["input_ids"] == "tensor"
    assert made[0].tolist() == rows
    for kind, module, hint in (
        ("tf", "tensorflow", "pip install 'ogpt[tf]'"),
        ("pt", "torch", "pip install 'ogpt[torch]'"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(BackendMissing, match=f"return_tensors='{kind}' needs") as caught:
            tokenizer(texts, padding=True, return_tensors=kind)
        assert caught.value.hint == hint


@every_tokenizer
def test_special_tokens_mask(name: str) -> None:
    tokenizer = fresh(name, pad_token="<pad>", cls_token="[CLS]")
    ids = [*tokenizer.encode("a [CLS] b"), 1000, 0]
    assert tokenizer.get_special_tokens_mask(ids) == [0] * 5
    known = tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)
    assert known == [0, 1, 0, 1, 1]
    assert tokenizer.get_special_tokens_mask(ids[:2], iter(ids[2:]), True) == known
    padded = tokenizer(["a", "a b"], padding=True, return_special_tokens_mask=True)
    assert padded["special_tokens_mask"] == [[0, 1], [0, 0]]


def test_offsets_are_the_fast_classs() -> None:
    for order in ("openai", "hf-spacy"):
        with pytest.raises(
            TokenizerError,
            match="return_offsets_mapping is True; allowed for OpenAIGPTTokenizer: False",
        ) as caught:
            fresh(order)("a b", return_offsets_mapping=True)
        assert caught.value.hint == "use OpenAIGPTTokenizerFast"
    for order in ("bert", "fast"):
        found = fresh(order)("a b", return_offsets_mapping=True)
        assert found["offset_mapping"] == [(0, 1), (2, 3)]


# ---- learning, copies, long words


@every_tokenizer
def test_train_new_from_iterator(name: str) -> None:
    tokenizer = fresh(
        name, pad_token="<pad>", model_max_length=77, additional_special_tokens=["<a>"]
    )
    texts = [*PYTHON_DOCS[:40], "don't don't Mr. Mr.\n\n"]
    events: list[str] = []
    new = tokenizer.train_new_from_iterator(
        iter([texts[:10], *texts[10:]]), 500, reporter=lambda event, **_: events.append(event)
    )
    assert type(new) is type(tokenizer)
    assert (new.pre_tokenizer, new.vocab_size, len(new)) == (tokenizer.pre_tokenizer, 500, 502)
    assert (new.model_max_length, new.all_special_tokens) == (77, ["<unk>", "<pad>", "<a>"])
    assert new.fingerprint != tokenizer.fingerprint
    assert "progress" in events
    english = name in ("openai", "hf-spacy")
    words = EnglishWords(name) if english else BertWords()
    assert new.decode(new.encode(texts[0])).split(" ") == words(texts[0])
    assert len(new.encode(texts[0])) < len(texts[0]) / 2
    assert ("\n</w>" in new.get_vocab()) == english
    with pytest.raises(TokenizerError, match="vocab_size") as caught:
        tokenizer.train_new_from_iterator(texts, 3)
    assert caught.value.hint
    with pytest.raises(TokenizerError, match="a text is 5, int; allowed: str") as caught:
        tokenizer.train_new_from_iterator([["a", 5]], 300)  # type: ignore[list-item]
    assert "list of texts" in caught.value.hint


def test_training_keeps_the_name_of_the_unknown() -> None:
    vocab = {
        ("[UNK]" if token == "<unk>" else token): i for token, i in learned().get_vocab().items()
    }
    tokenizer = fresh(vocab=vocab, unk_token="[UNK]")
    new = tokenizer.train_new_from_iterator(PYTHON_DOCS[:10], 300)
    assert (new.unk_token, new.unk_token_id) == ("[UNK]", tokenizer.unk_token_id)
    assert new.encode("日") == [new.unk_token_id]


def test_words_are_counted_as_the_path_finds_them() -> None:
    texts = ["I don't, Mr. Smith.\nI do — don't", "Don't"]
    for order in ("openai", "hf-spacy"):
        tokenizer = fresh(order)
        assert isinstance(tokenizer, OpenAIGPTTokenizer)
        expected: dict[str, int] = {}
        for text in texts:
            for word in tokenizer._words(text):
                expected[word] = expected.get(word, 0) + 1
        assert tokenizer._count_words(texts) == expected
        assert expected["n't"] == 3
    assert count_words(texts) == fresh("bert")._count_words(texts)


@every_tokenizer
def test_pickling(name: str) -> None:
    tokenizer = fresh(name, pad_token="<pad>")
    tokenizer.add_tokens(["pydoc"])
    tokenizer.encode(TEXT)
    copied = pickle.loads(pickle.dumps(tokenizer))
    assert type(copied) is type(tokenizer)
    assert copied.encode(TEXT) == tokenizer.encode(TEXT) == copied(TEXT)["input_ids"]
    assert copied.fingerprint == tokenizer.fingerprint
    assert (copied.pre_tokenizer, copied.pad_token_id) == (tokenizer.pre_tokenizer, 1000)


def test_a_full_table_starts_anew(monkeypatch) -> None:
    monkeypatch.setattr("ogpt.tokens.english_encoder.AT_ONCE", 30)
    tokenizer = fresh()
    assert isinstance(tokenizer, OpenAIGPTTokenizer)
    assert isinstance(tokenizer._encode_plain, EnglishEncoder)
    tokenizer._encode_plain.remembered = 5
    texts = [*PYTHON_DOCS[:3], TEXT * 3]
    arrays = tokenizer.encode_batch_arrays(texts)
    assert [array.tolist() for array in arrays] == tokenizer(texts)["input_ids"]
    assert all(array.flags.writeable for array in arrays)


@pytest.mark.parametrize("order", ["openai", "hf-spacy"])
def test_words_forgotten_on_the_way_are_read_again(order: Any) -> None:
    texts = [TEXT, "' ''p ( :>s 10 am", TEXT]
    forgetful = EnglishWords(order, remembered=8)
    assert list(map(forgetful, texts)) == list(map(EnglishWords(order), texts))


@every_tokenizer
def test_arrays_in_a_type_that_holds_every_id(name: str) -> None:
    vocab = {f"{index}</w>": index for index in range(1, 66_000)} | {"<unk>": 0}
    large = fresh(name, vocab=vocab, merges=[])
    assert large.encode_batch_arrays(["5", ""])[0].dtype == np.uint32
    small = fresh(
        name, vocab={str(i): i for i in range(1, (1 << 16) - 1)} | {"<unk>": 0}, merges=[]
    )
    small.add_tokens(["<a>", "<b>"])
    (ids,) = small.encode_batch_arrays(["<b> x <a>"])
    assert (ids.dtype, ids.tolist()) == (np.uint32, [65_536, 0, 65_535])


@pytest.mark.parametrize(
    ("name", "letter"),
    [
        (name, letter)
        for name in NAMES
        for letter in ("x", "é", "日")
        if letter != "日" or name in ("openai", "hf-spacy")  # else each ideograph is a word
    ],
)
def test_a_word_that_is_too_long(name: str, letter: str) -> None:
    tokenizer = fresh(name)
    size = len(letter.encode())
    fits = letter * (LONGEST_WORD // size)
    too_long = f"a {fits}{letter} b"
    if name in ("bert", "fast") and letter != "x":
        size, too_long = 1, f"a {'x' * LONGEST_WORD}{letter}x b"
    message = r"a single word has [\d,]+ bytes, '.{20}'\.\.\.; allowed: 1,000,000"
    for way in (
        tokenizer.encode,
        tokenizer,
        tokenizer.tokenize,
        lambda t: tokenizer.encode_batch_arrays([t]),
    ):
        with pytest.raises(TokenizerError, match=message) as caught:
            way(too_long)
        assert "spaces or line breaks" in caught.value.hint
    with pytest.raises(TokenizerError, match=message):
        tokenizer(["a", too_long.split()[1]], is_split_into_words=True)


@every_tokenizer
def test_a_long_text_of_short_words_is_read(name: str) -> None:
    tokenizer = fresh(name)
    text = "a, b " * 100_000
    assert tokenizer.encode_batch_arrays([text])[0].tolist() == tokenizer.encode("a, b") * 100_000
