"""Readable texts: what is streamed, where stop strings count, and how prompts are taken up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpt.errors import SamplingError, TokenizerError
from ogpt.generation.texts.writer import Writer
from ogpt.notices import Notice, listening
from ogpt.tokens.surface import Readable, readable
from ogpt.workflows.generate import generate_with
from tests.markov import StandInDecoder
from tests.tokens.byte_level import byte_tokenizer
from tests.tokens.real import learned

TOKENIZER = learned()
IDS = st.lists(st.integers(0, len(TOKENIZER) - 1), max_size=25)
STOPS = st.lists(st.text("abe. ", min_size=1, max_size=3), max_size=2)


def scripted(prompt: str, text: str) -> StandInDecoder:
    """A decoder that continues the prompt with the text."""
    script = [*TOKENIZER.encode(prompt), *TOKENIZER.encode(text)]

    def logits(held: tuple[int, ...]) -> np.ndarray:
        row = np.zeros(len(TOKENIZER))
        row[script[min(len(held), len(script) - 1)]] = 1
        return row

    return StandInDecoder(logits, len(TOKENIZER), n_positions=64)


def shown(prompt: str, text: str, as_ids: bool = False, **named: object) -> tuple[str, list[str]]:
    """The text of a continuation, and its pieces as they were streamed."""
    pieces: list[str] = []
    length = len(TOKENIZER.encode(text))
    [one] = generate_with(
        scripted(prompt, text),
        TOKENIZER,
        None if as_ids else prompt,
        ids=TOKENIZER.encode(prompt) if as_ids else None,
        on_text=lambda number, piece: pieces.append(piece),
        **{"max_new_tokens": length, "do_sample": False, "surface": "readable", **named},
    )
    assert "".join(pieces) == one.text
    return one.text, pieces


@pytest.mark.parametrize(
    ("prompt", "text", "wanted"),
    [
        ("the end", '. "no," it said. i don\'t (so)', '. "No," it said. I don\'t (so)'),
        ("The end.", "no one", " No one"),
        ('It said, "', 'yes." it is', 'Yes." It is'),
        ('It said, "yes', '." it is', '." It is'),
        ("well-", "known", "known"),
        ("the end ", "is", "is"),
    ],
)
def test_a_continuation_reads_on_from_its_prompt(prompt: str, text: str, wanted: str) -> None:
    assert shown(prompt, text)[0] == wanted


def test_a_prompt_of_ids_is_made_readable_first() -> None:
    assert shown('it said, "yes', '." it is', as_ids=True)[0] == '." It is'
    assert shown('it said. "', "yes.", as_ids=True)[0] == " Yes."  # a closing quote, as at an end


def test_ids_that_end_inside_a_word() -> None:
    vocab = TOKENIZER.get_vocab()
    [one] = generate_with(
        StandInDecoder(lambda held: np.eye(len(TOKENIZER))[vocab["s</w>"]], len(TOKENIZER)),
        TOKENIZER,
        ids=[vocab["i"]],
        max_new_tokens=2,
        do_sample=False,
        surface="readable",
    )
    assert one.text == "s s"


def test_raw_is_the_default_and_its_ids_and_numbers_are_those_of_readable() -> None:
    text = 'it said, "no." why?'
    decoder = scripted("the", text)
    more = {"max_new_tokens": len(TOKENIZER.encode(text)), "do_sample": False}
    [raw] = generate_with(decoder, TOKENIZER, "the", **more)
    [read] = generate_with(decoder, TOKENIZER, "the", surface="readable", **more)
    assert raw.text == " " + TOKENIZER.decode(raw.ids)
    assert read.text == ' it said, "No." Why?'
    assert (read.ids, read.log_probs) == (raw.ids, raw.log_probs)


def test_stop_strings_refer_to_the_raw_text() -> None:
    text = 'it said, "no." why?'
    assert shown("the", text, stop='. "')[0] == ' it said, "No'
    assert shown("the", text, stop='."')[0] == ' it said, "No'  # spelled as the vocabulary does
    assert shown("the", text, stop="No")[0] == ' it said, "'


def test_beams_are_readable_too() -> None:
    text = 'it said, "no." why?'
    assert shown("the", text, num_beams=2)[0] == ' it said, "No." Why?'


def test_lower_case_can_be_kept() -> None:
    assert shown("the end.", "i see.", keep_lower=True)[0] == " i see."
    seen: list[Notice] = []
    with listening(seen.append):
        shown("the end.", "i see.", keep_lower=True, surface="raw")
    assert [one.kind for one in seen] == ["setting-without-effect"]


def test_decoding_ids() -> None:
    ids = TOKENIZER.encode('"It isn\'t," she said. "No!" he said.')
    assert TOKENIZER.decode(ids) == '" it isn \' t , " she said . " no ! " he said .'
    assert TOKENIZER.decode(ids, surface="readable") == '"It isn\'t," she said. "No!" he said.'
    kept = TOKENIZER.decode(ids, surface="readable", keep_lower=True)
    assert kept == '"it isn\'t," she said. "no!" he said.'
    assert TOKENIZER.batch_decode([ids], surface="raw") == [TOKENIZER.decode(ids)]


def test_byte_level_text_is_readable_as_it_is() -> None:
    tokenizer = byte_tokenizer()
    text = 'He said , " No . "\n'
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids, surface="readable") == text
    decoder = StandInDecoder(lambda held: np.eye(len(tokenizer))[ids[-1]], len(tokenizer), 64)
    more = {"max_new_tokens": 2, "do_sample": False}
    [raw] = generate_with(decoder, tokenizer, text, **more)
    [read] = generate_with(decoder, tokenizer, text, surface="readable", **more)
    assert read == raw


def test_another_surface_is_refused() -> None:
    with pytest.raises(TokenizerError, match="'nice'"):
        TOKENIZER.decode([1], surface="nice")  # type: ignore[arg-type]
    with pytest.raises(SamplingError, match="surface is 'nice'; allowed: raw, readable"):
        shown("the", "end", surface="nice")


@given(IDS, STOPS, st.booleans())
@settings(deadline=None)
def test_a_writer_streams_the_readable_form_of_its_raw_text(
    ids: list[int], stop: list[str], after_word: bool
) -> None:
    before = "It" if after_word else ""
    raw = Writer(TOKENIZER, after_word=after_word, stop=stop)
    read = Writer(
        TOKENIZER, after_word=after_word, stop=stop, surface=Readable("bert", before=before)
    )
    texts: dict[Writer, list[str]] = {raw: [], read: []}
    for writer, pieces in texts.items():
        for token_id in ids:
            pieces.append(writer.write(token_id))
            if writer.stopped:
                break
        pieces.append(writer.finish())
    assert raw.stopped == read.stopped
    whole = Readable("bert", before=before)
    assert "".join(texts[read]) == whole.write("".join(texts[raw])) + whole.finish()
    if not after_word and not stop:
        assert "".join(texts[read]) == readable(TOKENIZER.decode(ids), "bert")


def test_words_without_a_choice_are_shown_at_once() -> None:
    pieces = shown("the end", "is it. no")[1]
    assert [piece for piece in pieces if piece] == [" is", " it", ".", " No"]
