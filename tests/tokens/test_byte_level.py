"""Byte-level pieces lose nothing, and transformers gives the same ids from the same folder."""

import json
import pickle
import random
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, OpenAIGPTConfig

from ogpt import notices
from ogpt.errors import TokenizerError, TokenOutOfRange
from ogpt.tokens.byte_words import BYTE_LETTERS, ByteWords, bytes_of
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.merge_learning import learn_byte_merges
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from ogpt.tokens.tokenizer_folder import read_tokenizer_file
from tests.tokens.byte_level import SAMPLES, byte_tokenizer, learned_bytes

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizer_bytes_4.57.6.json"

ANY = st.text(st.characters(exclude_categories=("Cs",)))
SPACED = st.text(st.sampled_from(" \t\n\r\x0b\x1c\x85\xa0\u2028a1'sé!日"))
TEXTS = ANY | SPACED | st.lists(st.sampled_from(SAMPLES) | ANY).map("".join)


def pieces(text: str) -> list[str]:
    """The pieces, back in characters."""
    return [bytes_of(piece).decode() for piece in ByteWords()(text)]


def check_round_trip(text: str) -> None:
    tokenizer = byte_tokenizer()
    (ids,) = tokenizer.encode_batch_arrays([text])
    called = tokenizer(text)
    assert called.input_ids == ids.tolist() == tokenizer.backend_tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.convert_tokens_to_string(tokenizer.tokenize(text)) == text


@given(TEXTS)
@example("a  <pad>")
@example("  \n")
@example("\x1cx \x1c y")
def test_every_text_comes_back(text: str) -> None:
    check_round_trip(text)


@pytest.mark.slow
def test_a_hundred_thousand_texts_come_back() -> None:
    numbers = random.Random(20180611)
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    common = [*map(ord, " \t\n\r'’0123456789abcXYZ.,!é\u0301日あ한ก\U0001f600\x1c\x85\xa0\u3000")]
    for _ in range(100_000):
        among = numbers.choice((points, common, range(128), range(0x3000)))
        text = "".join(map(chr, numbers.choices(among, k=numbers.randrange(60))))
        check_round_trip(text)


@given(TEXTS)
def test_chunks_are_whole_pieces_that_do_not_depend_on_their_neighbours(text: str) -> None:
    words = ByteWords()
    chunks = [chunk for part in words.chunks(text) for chunk in part]
    assert "".join(chunks) == text
    assert [piece for chunk in chunks for piece in words(chunk)] == words(text)


def test_long_texts_are_split_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "one  two\n\n three   four\tfive\n" * 9 + "x" * 30
    (whole,) = ByteWords().chunks(text)
    monkeypatch.setattr("ogpt.tokens.byte_words._AT_ONCE", 10)
    parts = list(ByteWords().chunks(text))
    assert len(parts) > 10
    assert [chunk for part in parts for chunk in part] == whole


def test_white_space_is_that_of_the_regular_expressions_of_rust() -> None:
    space = pre_tokenizers.Split(Regex(r"\s"), "removed")
    for point in (*range(0xD800), *range(0xE000, 0x110000)):
        char = chr(point)
        if char.isspace() or point % 64 == 0:
            apart = len(space.pre_tokenize_str(f"a{char}b")) == 2
            assert apart == (len(next(ByteWords().chunks(f"a{char}b"))) > 1), hex(point)


def test_code_is_split_at_line_breaks_indentation_and_every_third_digit() -> None:
    assert pieces("def f(x):\n    return x + 12345  # don't\r\n\r\n\t\tx") == [
        *("def", " f", "(", "x", "):", "\n", "   ", " return", " x", " +", " 123", "45", " "),
        *(" #", " don", "'t", "\r\n\r\n", "\t\t", "x"),
    ]


def test_words_keep_their_marks_and_quoted_words_their_first_letter() -> None:
    assert pieces("हिन्दी में 'said O'Brien’s") == [
        "हिन्दी",
        " में",
        " '",
        "said",
        " O",
        "'",
        "Brien",
        "’s",
    ]


def test_the_letters_of_bytes_are_those_of_the_library() -> None:
    assert sorted(pre_tokenizers.ByteLevel.alphabet()) == BYTE_LETTERS
    text = "".join(map(chr, range(0x250)))
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    ((word, _),) = letters.pre_tokenize_str(text)
    assert bytes_of(word) == text.encode()


def test_any_ids_decode_as_the_library_does() -> None:
    tokenizer = byte_tokenizer()
    numbers = random.Random(7)
    for _ in range(2_000):
        ids = numbers.choices(range(len(tokenizer)), k=numbers.randrange(8))
        assert tokenizer.decode(ids) == tokenizer.backend_tokenizer.decode(ids)


def test_offsets_cover_the_text() -> None:
    text = SAMPLES[0] + SAMPLES[2]
    batch = byte_tokenizer()(text, return_offsets_mapping=True)
    ends = [0, *(end for _, end in batch.offset_mapping)]
    assert ends == sorted(ends)
    assert ends[-1] == len(text)
    for (begin, end), before in zip(batch.offset_mapping, ends, strict=False):
        assert begin <= before <= end or begin == before
    assert batch.char_to_token(3) == batch[0].char_to_token(3) is not None


def test_words_given_apart_and_pairs() -> None:
    tokenizer = byte_tokenizer()
    apart = tokenizer(["The", " Case"], is_split_into_words=True)
    assert apart.input_ids == tokenizer.encode("The Case")
    assert tokenizer.encode("The", " Case") == tokenizer.encode("The Case")


# ---- files


def test_transformers_gives_the_same_ids_from_the_folder_as_it_is(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text("utf-8"))
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert settings["pre_tokenizer"] == "bytes"
    # or version 4 adds token_type_ids, and GPT-1 the embeddings of tokens 0 and 1
    assert settings["model_input_names"] == ["input_ids", "attention_mask"]
    for with_model in (False, True):
        if with_model:
            OpenAIGPTConfig(vocab_size=len(tokenizer)).save_pretrained(tmp_path)
        theirs = AutoTokenizer.from_pretrained(tmp_path)
        for text in SAMPLES:
            ids = tokenizer.encode(text)
            assert theirs(text)["input_ids"] == ids
            assert theirs.decode(ids) == text == tokenizer.decode(ids)


def test_transformers_4_gave_the_same_ids_from_the_folder(tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))
    tokenizer = learned_bytes(golden["texts"] * 2, golden["vocab_size"])
    assert tokenizer.tokenize(golden["texts"][0])
    assert list(map(tokenizer.encode, golden["texts"])) == golden["ids"]
    assert golden["decoded"] == golden["texts"]


def test_a_folder_opens_with_equal_ids_also_after_transformers_wrote_it(tmp_path: Path) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(tmp_path / "ours")
    opened = open_tokenizer(tmp_path / "ours")
    assert opened.fingerprint == tokenizer.fingerprint
    assert (opened.is_fast, opened.pre_tokenizer, opened.unk_token) == (True, "bytes", None)
    theirs = AutoTokenizer.from_pretrained(tmp_path / "ours")
    theirs.add_special_tokens({"pad_token": "<pad>"})
    theirs.save_pretrained(tmp_path / "theirs")
    for name in ("tokenizer_config.json", None):
        back = open_tokenizer(tmp_path / "theirs")
        assert back.pre_tokenizer == "bytes"
        assert back.encode(SAMPLES[0]) == tokenizer.encode(SAMPLES[0])
        assert back.get_vocab()["<pad>"] == len(tokenizer)
        if name:  # what the tokenizer is can be seen without it
            (tmp_path / "theirs" / name).unlink()
    alone = OpenAIGPTTokenizer(
        tokenizer_file=tmp_path / "ours" / "tokenizer.json", pre_tokenizer="bytes"
    )
    assert alone.fingerprint == tokenizer.fingerprint
    assert read_tokenizer_file(tmp_path / "ours" / "tokenizer.json").vocabulary.vocab


def test_other_byte_level_files_are_refused(tmp_path: Path) -> None:
    byte_tokenizer().save_pretrained(tmp_path)
    file = tmp_path / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    content["pre_tokenizer"] = {"type": "ByteLevel", "add_prefix_space": True}
    file.write_text(json.dumps(content), "utf-8")
    with pytest.raises(TokenizerError, match=r"does not split text as .* 'bytes'") as caught:
        open_tokenizer(tmp_path)
    assert "train-tokenizer --pre-tokenizer bytes" in caught.value.hint


def test_the_class_of_berts_rules_refuses_the_folder(tmp_path: Path) -> None:
    byte_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(TokenizerError, match="pre-tokenization 'bytes'"):
        OpenAIGPTTokenizerFast.from_pretrained(tmp_path)


def test_a_vocabulary_of_gpt_2_is_used_if_the_caller_says_so(tmp_path: Path) -> None:
    gpt2 = Tokenizer(models.BPE())
    end = "<|endoftext|>"
    vocab = {letter: place for place, letter in enumerate([*BYTE_LETTERS, "ab", end])}
    gpt2 = Tokenizer(models.BPE(vocab, [("a", "b")]))
    gpt2.model.save(str(tmp_path))
    settings = {"tokenizer_class": "GPT2Tokenizer", "unk_token": end, "eos_token": end}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    tokenizer = OpenAIGPTTokenizer.from_pretrained(tmp_path, pre_tokenizer="bytes")
    assert (tokenizer.unk_token, tokenizer.unk_token_id) == (None, None)
    assert tokenizer.eos_token_id == vocab[end]
    assert tokenizer.tokenize(f"ab\n{end}") == ["ab", "Ċ", end]
    assert len(tokenizer) == len(vocab)


def test_gpt_2s_own_tokenizer_json_too(tmp_path: Path) -> None:
    end = "<|endoftext|>"
    vocab = {letter: place for place, letter in enumerate([*BYTE_LETTERS, "Ġa", end])}
    gpt2 = Tokenizer(models.BPE(vocab, [("Ġ", "a")]))
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    gpt2.add_special_tokens([end])
    gpt2.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match=r"end_of_word_suffix"):
        OpenAIGPTTokenizer.from_pretrained(tmp_path)
    with notices.collecting() as told:
        tokenizer = OpenAIGPTTokenizer.from_pretrained(tmp_path, pre_tokenizer="bytes")
    assert [(one.kind, one.fields["made_with"], one.fields["asked"]) for one in told] == [
        ("pre-tokenizer-changed", "ByteLevel", "bytes")
    ]
    assert tokenizer.tokenize(f"x a{end}") == ["x", "Ġa", end]
    tokenizer.save_pretrained(tmp_path / "ours")
    with notices.collecting() as told:
        assert open_tokenizer(tmp_path / "ours").fingerprint == tokenizer.fingerprint
    assert told == []


# ---- added tokens


def test_added_tokens_divide_the_text_and_come_back() -> None:
    tokenizer = learned_bytes(pad_token="<pad>", additional_special_tokens=["日本"])
    assert tokenizer.add_tokens(["Case", "case"]) == 2  # no normalization makes them one
    for text in ("a  <pad>  日本x Case\n  case", "日本", "<pad>"):
        ids = tokenizer.encode(text)
        assert ids == tokenizer.backend_tokenizer.encode(text).ids
        assert tokenizer.decode(ids) == text
        assert {"<pad>", "日本", "Case"} & set(tokenizer.tokenize(text))
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.encode("日本 x") == tokenizer.encode("日本 x")
    assert tokenizer.decode(tokenizer.encode("x<pad>"), skip_special_tokens=True) == "x"


# ---- learning


def test_learning_is_the_same_by_every_way_and_has_the_size_asked_for() -> None:
    tokenizer = byte_tokenizer()
    again = tokenizer.train_new_from_iterator(SAMPLES * 2, 400)
    assert again.fingerprint == tokenizer.fingerprint
    assert len(tokenizer) == 400
    assert [tokenizer.convert_ids_to_tokens(place) for place in range(256)] == BYTE_LETTERS


# ---- errors


@pytest.mark.parametrize("encode", ["__call__", "tokenize", "encode_batch_arrays"])
def test_lone_surrogates_are_refused_by_name(encode: str) -> None:
    text = "ab\udc80" if encode != "encode_batch_arrays" else ["ab\udc80"]
    with pytest.raises(TokenizerError, match=r"lone surrogate '\\udc80' at character 2") as caught:
        getattr(byte_tokenizer(), encode)(text)
    assert "UTF-8" in caught.value.hint


def test_a_piece_of_megabytes_is_refused() -> None:
    with pytest.raises(TokenizerError, match="a single word has 1,000,003 bytes"):
        byte_tokenizer().encode("a b" + "x" * 1_000_001)


def test_every_byte_must_be_in_the_vocabulary() -> None:
    with pytest.raises(TokenizerError, match="no entry for 1 of the 256 bytes, such as 0x20 "):
        vocab = {letter: place for place, letter in enumerate(BYTE_LETTERS) if letter != "Ġ"}
        order = {letter: place for place, letter in enumerate(vocab)}
        OpenAIGPTTokenizer(vocab=order, merges=[], pre_tokenizer="bytes")


@pytest.mark.parametrize(
    ("counts", "size", "message"),
    [({"a": 2}, 255, r"vocab_size is 255; allowed: 256 \(every byte\)"), ({}, 300, "no words")],
)
def test_sizes_and_texts_that_cannot_be(counts: dict[str, int], size: int, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        learn_byte_merges(counts, size)


def test_ids_beyond_the_vocabulary_are_refused() -> None:
    with pytest.raises(TokenOutOfRange, match=r"token id 400 is not in the vocabulary; .* 399"):
        byte_tokenizer().decode([1, 400])
    assert byte_tokenizer().convert_tokens_to_ids("no such token") is None
