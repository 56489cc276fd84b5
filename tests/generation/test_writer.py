from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ogpt.errors import TokenizerError
from ogpt.generation.texts import writer as writer_module
from ogpt.generation.texts.writer import (
    Writer,
    decode,
    ends_word,
    is_byte_level,
    space_follows,
    stop_forms,
)
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from tests.markov import StandInTokenizer
from tests.tokens.byte_level import byte_tokenizer

GPT_1 = Path(__file__).parents[2].parent / "shared" / "data" / "gpt1_vocab"

TOKENIZER = StandInTokenizer("ab.")
IDS = st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=25)
STOPS = st.lists(st.text("ab. ", min_size=1, max_size=4), max_size=3)


def ids_of(*pieces: str) -> list[int]:
    return [TOKENIZER.get_vocab()[piece] for piece in pieces]


def written(writer: Writer, ids: list[int]) -> list[str]:
    """What each token lets out, and what the end lets out."""
    out = []
    for token_id in ids:
        out.append(writer.write(token_id))
        if writer.stopped:
            return out
    return [*out, writer.finish()]


@given(IDS, st.booleans())
def test_any_tokens_stream_to_the_text_of_all(ids: list[int], after_word: bool) -> None:
    shown = written(Writer(TOKENIZER, after_word=after_word), ids)
    space = " " if after_word and ids else ""
    assert "".join(shown) == space + TOKENIZER.decode(ids)


@given(IDS, STOPS, st.booleans(), st.integers(0, 6))
@example(ids_of("a", "b</w>", "a", "b"), ["b a"], False, 0)
@example(ids_of("a</w>", ".</w>", ".</w>", "a</w>"), [". .a", ". . a"], False, 0)
@example(ids_of("a", "a", "b</w>", "a</w>"), ["a", "b a"], False, 2)
def test_the_text_ends_at_the_first_stop_string_of_the_decoded_ids(
    ids: list[int], stop: list[str], after_word: bool, min_tokens: int
) -> None:
    writer = Writer(TOKENIZER, after_word=after_word, stop=stop, min_tokens=min_tokens)
    shown = written(writer, ids)

    def text(n: int) -> str:
        return (" " if after_word and n else "") + TOKENIZER.decode(ids[:n])

    exempt = len(text(min(min_tokens, len(ids))))
    for n in range(min_tokens + 1, len(ids) + 1):
        found = [at for one in stop if (at := text(n).find(one, exempt)) >= 0]
        if found:
            assert writer.stopped
            assert len(shown) == n
            assert "".join(shown) == text(n)[: min(found)]
            return
    assert not writer.stopped
    assert "".join(shown) == text(len(ids))


@given(IDS, STOPS, st.integers(0, 6))
def test_before_the_end_only_whole_words_are_shown(
    ids: list[int], stop: list[str], min_tokens: int
) -> None:
    writer = Writer(TOKENIZER, stop=stop, min_tokens=min_tokens)
    shown = ""
    for n, token_id in enumerate(ids, 1):
        shown += writer.write(token_id)
        if writer.stopped:
            return
        whole = TOKENIZER.decode(ids[:n]).startswith(shown)
        last_end = max((i for i, t in enumerate(ids[:n], 1) if ends_word(TOKENIZER, t)), default=0)
        finished = TOKENIZER.decode(ids[:last_end]) if last_end else ""
        assert whole
        assert len(shown) <= len(finished)


@given(IDS)
def test_without_stop_strings_a_word_is_shown_as_soon_as_it_ends(ids: list[int]) -> None:
    writer = Writer(TOKENIZER)
    shown = ""
    for n, token_id in enumerate(ids, 1):
        shown += writer.write(token_id)
        if ends_word(TOKENIZER, token_id):
            assert shown == TOKENIZER.decode(ids[:n])


def test_a_planted_fault_is_seen() -> None:
    """Pieces decoded one by one and joined, the usual slip, give another text."""
    ids = ids_of("a", "b</w>", "a</w>")
    assert "".join(written(Writer(TOKENIZER), ids)) == "ab a"
    assert "".join(TOKENIZER.decode([token_id]) for token_id in ids) != "ab a"


def test_pieces_come_out_with_their_word() -> None:
    ids = ids_of("a", "b", "a</w>", "b</w>", ".", "a")
    shown = written(Writer(TOKENIZER, after_word=True), ids)
    assert shown == ["", "", " aba", " b", "", "", " .a"]


def test_a_word_without_end_takes_as_long_for_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    decoding = StandInTokenizer.decode

    def counted(tokenizer: StandInTokenizer, ids: list[int], **named: bool) -> str:
        decoded.append(len(ids))
        return decoding(tokenizer, ids, **named)

    monkeypatch.setattr(StandInTokenizer, "decode", counted)
    ids = ids_of("a", "b", ".") * 100
    assert "".join(written(Writer(TOKENIZER), ids)) == "ab." * 100
    assert sum(decoded) <= 3 + 2 * 3  # each piece, and each after another, once


def test_few_pairs_of_pieces_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_MOST_PAIRS", 2)
    tokenizer = StandInTokenizer("abcd")
    writer = Writer(tokenizer)
    ids = [tokenizer.get_vocab()[piece] for piece in "abcdabdc"]
    assert "".join(written(writer, ids)) == "abcdabdc"
    assert len(writer._pairs) <= 2


def test_text_that_may_become_a_stop_string_waits() -> None:
    ids = ids_of("a</w>", ".</w>", "a</w>", ".</w>", "b</w>")
    writer = Writer(TOKENIZER, stop=[". b"])
    assert [writer.write(token_id) for token_id in ids] == ["a", " ", ". a", " ", ""]
    assert writer.stopped
    assert writer.finish() == ""


def test_stop_forms_are_those_the_vocabulary_can_write() -> None:
    tokenizer = StandInTokenizer("abehnot.'")
    assert stop_forms(tokenizer, "bee") == ("bee",)
    assert stop_forms(tokenizer, "The bee.") == ("the bee .",)
    assert stop_forms(tokenizer, "bee.") == ("bee.", "bee .")
    assert stop_forms(tokenizer, "\nThe ") == (" the ",)
    assert stop_forms(tokenizer, "\n") == ()
    assert stop_forms(tokenizer, "é") == ()  # unknown, and not whatever else is unknown
    assert stop_forms(tokenizer, " ") == (" ",)


def test_decode_keeps_the_spaces_of_the_tokens() -> None:
    assert decode(TOKENIZER, ids_of("a</w>", ".</w>")) == "a ."


@given(IDS)
def test_the_tokenizers_own_decoding_is_what_is_written(ids: list[int]) -> None:
    tokenizer = OpenAIGPTTokenizerFast(vocab=TOKENIZER.get_vocab(), merges=[])
    assert TOKENIZER.decode(ids) == tokenizer.decode(ids)
    assert "".join(written(Writer(tokenizer), ids)) == tokenizer.decode(ids)


@pytest.mark.skipif(not GPT_1.exists(), reason="GPT-1's vocabulary is not here")
def test_the_vocabulary_of_gpt_1_streams_to_its_own_decoding() -> None:
    tokenizer = OpenAIGPTTokenizerFast(GPT_1 / "encoder_bpe_40000.json", GPT_1 / "vocab_40000.bpe")
    rng = np.random.default_rng(0)
    for _ in range(20):
        ids = rng.integers(len(tokenizer), size=100).tolist()
        assert "".join(written(Writer(tokenizer), ids)) == tokenizer.decode(ids)
    text = "The end. Isn't it?"
    assert "".join(written(Writer(tokenizer), tokenizer.encode(text))) == "the end . isn ' t it ?"
    assert stop_forms(tokenizer, "The End.") == ("the end .",)
    assert stop_forms(tokenizer, "Isn't") == ("isn ' t",)
    assert stop_forms(tokenizer, "\n") == ("\n",)  # it has a newline, though never in bert's words


# ---- byte-level tokens


@given(
    st.lists(st.integers(0, 399), max_size=25),
    st.lists(st.text("ae é\n", min_size=1, max_size=3), max_size=2),
    st.integers(0, 6),
)
def test_byte_level_tokens_stream_to_the_text_of_all(
    ids: list[int], stop: list[str], min_tokens: int
) -> None:
    tokenizer = byte_tokenizer()
    assert "".join(written(Writer(tokenizer), ids)) == tokenizer.decode(ids)
    writer = Writer(tokenizer, stop=stop, min_tokens=min_tokens)
    shown = written(writer, ids)
    exempt = len(tokenizer.decode(ids[:min_tokens]))
    for n in range(min_tokens + 1, len(ids) + 1):
        text = tokenizer.decode(ids[:n])
        found = [at for one in stop if (at := text.find(one, exempt)) >= 0]
        if found:
            assert writer.stopped
            assert len(shown) == n
            assert "".join(shown) == text[: min(found)]
            return
    assert not writer.stopped


@given(st.lists(st.text(max_size=4), max_size=6).map("".join))
def test_streamed_text_never_changes(text: str) -> None:
    tokenizer = byte_tokenizer()
    try:
        ids = tokenizer.encode(text)
    except TokenizerError:
        return
    writer = Writer(tokenizer)
    shown = ""
    for token_id in ids:
        shown += writer.write(token_id)
        assert text.startswith(shown)
    assert shown + writer.finish() == text


def test_no_part_of_a_character_is_shown_until_it_is_whole() -> None:
    tokenizer = byte_tokenizer()
    ids = [tokenizer.get_vocab()[letter] for letter in "aðŁĺĢb"]
    assert written(Writer(tokenizer), ids) == ["a", "", "", "", "😀", "b", ""]
    assert written(Writer(tokenizer), ids[:3]) == ["a", "", "", "\ufffd"]
    assert written(Writer(tokenizer), [*ids[:3], ids[0]]) == ["a", "", "", "\ufffda", ""]


def test_byte_level_tokens_have_their_spaces_and_spell_every_stop_string() -> None:
    tokenizer = byte_tokenizer()
    assert stop_forms(tokenizer, "The End.\n") == ("The End.\n",)
    assert not space_follows(tokenizer, "word")
    assert space_follows(TOKENIZER, "word")
    assert not ends_word(tokenizer, tokenizer.encode("x</w>")[-1])
    assert is_byte_level(tokenizer)
    assert not is_byte_level(TOKENIZER)
