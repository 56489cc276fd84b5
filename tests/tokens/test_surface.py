"""The readable surface: examples of each rule, and what holds for any text and any ids."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpt.tokens import surface_rules
from ogpt.tokens.surface import Readable, readable
from tests.tokens.real import gpt1, needs_vocabulary

RAW = (  # what decode gives, and what people read
    ("the cat sat .", "The cat sat."),
    ("no ; yes : so , why ? now ! ( as if ) [ 1 ]", "No; yes: so, why? Now! (As if) [1]"),
    (
        "i do n't . i 'll go , we 're here , it 's i 've we 'd i 'm",
        "I don't. I'll go, we're here, it's I've we'd I'm",
    ),
    ('" yes . " " no ! " he said , " why ? " he asked .', '"Yes." "No!" he said, "why?" he asked.'),
    ('he said : " go . " then he went .', 'He said: "Go." Then he went.'),
    ('" well , " said bill , " i say , go . "', '"Well," said bill, "I say, go."'),
    (
        "mr. smith saw dr. low in the u.s. at 5 p.m. by st. john a. a. milne",
        "Mr. Smith saw Dr. Low in the U.S. at 5 p.m. by St. John A. A. Milne",
    ),
    ("well - known rock - and - roll - no !", "Well-known rock-and-roll-no!"),
    ("was it ? - no ! so . - so", "Was it?-no! So.-So"),
    ("stop -- or — or – go", "Stop--or—or–go"),
    ("wait ... for it .... now … yes", "Wait... for it.... Now… yes"),
    ("“ why ? ” he said . ‘ no . ’ ( “ so ” )", "“Why?” he said. ‘No.’ (“So”)"),
    ("one . \n two \n three", "One.\nTwo\nThree"),
    ("$ 5.00 , 1 , 000 , 10 % and / or", "$5.00, 1,000, 10% and/or"),
    ("i can not , gon na , i m , he d , do nt", "I cannot, gonna, Im, hed, dont"),
)
SIGNS_APART = (
    ("i don ' t . it ' s o ' clock , o ' brien", "I don't. It's o'clock, o'brien"),
    ("the boys ' hats , goin ' home", "The boys' hats, goin' home"),
    ("mr . smith came at 5 p . m . to the u . s .", "Mr. Smith came at 5 p.m. to the U.S."),
    ("j . r . smith said : it is i . he went", "J. R. Smith said: it is I. He went"),
    ("u . s . a country , e . g . this", "U.S. a country, e.g. this"),
    ("wait . . . for it . . . . now", "Wait... for it.... Now"),
    ("5 . 00 at 3 : 30 , 1 , 000 and 1 , 2", "5.00 at 3:30, 1,000 and 1, 2"),
    ("' tis ' em , i said , ' go on , ' she cried", "'Tis 'em, I said, 'Go on,' she cried"),
    ("can not", "Can not"),
)
"""Where each sign is a word (`bert`)."""
words = st.sampled_from(
    sorted({word for raw, _ in (*RAW, *SIGNS_APART) for word in raw.split(" ")})
    + sorted(surface_rules.SPEECH)[:3]
    + ["İ", "ß", "ŉ", "ǆ", "σς", "<unk>", "a\u2028b", "``", "''"]
)
raw_texts = st.lists(words, max_size=30).map(" ".join)
paths = st.sampled_from(["openai", "hf-spacy", "bert"])


@pytest.mark.parametrize(("raw", "wanted"), RAW)
def test_spaces_quotes_and_capitals(raw: str, wanted: str) -> None:
    assert readable(raw, "openai") == wanted


@pytest.mark.parametrize(("raw", "wanted"), SIGNS_APART)
def test_where_each_sign_is_a_word(raw: str, wanted: str) -> None:
    assert readable(raw, "bert") == wanted


def test_titles_where_text_is_lower_cased_first() -> None:
    assert (
        readable("mr . smith and mr . low did n't .", "hf-spacy") == "Mr. Smith and Mr. Low didn't."
    )


def test_without_capitals() -> None:
    raw = '" i do n\'t , " said mr. smith .'
    assert readable(raw, "openai", keep_lower=True) == '"i don\'t," said mr. smith.'


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("' why ? ' he said . ' go , ' she said", "'Why?' he said. 'Go,' she said"),
        ("\" i said ' no ' to him . \"", "\"I said 'No' to him.\""),
        (
            "\" ' stevens , ' he says , ' come , ' he says . \"",
            "\"'Stevens,' he says, 'come,' he says.\"",
        ),
        ("but i do n't , \" he said .", "But I don't,\" he said."),
        ('so it is . "', 'So it is."'),
        ('" one . \n " two . " he said', '"One.\n"Two." He said'),
    ],
)
def test_quotes_by_state_and_context(raw: str, wanted: str) -> None:
    assert readable(raw, "openai") == wanted


@pytest.mark.parametrize(
    ("before", "raw", "wanted"),
    [
        ("", "the cat", "The cat"),
        ("The cat", "sat . it", " sat. It"),
        ("The cat sat.", "it", " It"),
        ("The cat sat.\n", "it", "It"),
        ("The cat ", "sat", "sat"),
        ("I do", "n't . \" no", "n't. \"No"),
        ('He said, "', 'yes . " she', 'Yes." She'),
        ('He said, "Well', ', " she', ',"'),
        ("“Why", "not ? ” he said", " not?” he said"),
        ("It is well-", "known", "known"),
        ("It was so -", "or", " or"),
        ("Mr.", "smith", " Smith"),
        ("It isn't", "' so '", " 'so'"),
        ("The rock (", "a", "a"),
        ('"One."\n\nHe said, "Two."', 'he said , " three . "', ' He said, "Three."'),
        ("'Tis the dogs' bowl, 'he said", "' .", "'."),
    ],
)
def test_a_prompt_decides_how_its_continuation_begins(before: str, raw: str, wanted: str) -> None:
    surface = Readable("openai", before=before)
    found = surface.write(raw) + surface.finish()
    assert found.startswith(wanted)


def test_a_prompt_that_ends_inside_a_word() -> None:
    surface = Readable("openai", before="The ca", inside_word=True)
    assert surface.write("t") == ""
    assert surface.write(" sat .") == "t sat"
    assert surface.finish() == "."


def test_words_are_returned_as_soon_as_they_are_decided() -> None:
    surface = Readable("bert")
    assert surface.write("the ") == "The"
    assert surface.write("cat", ends_word=True) == " cat"
    assert surface.write("sat") == ""
    assert surface.write(" ") == " sat"
    assert surface.write('. " ') == "."
    assert surface.write("why ") == ""
    assert surface.write("not ") == ' "Why not'
    assert surface.write("' ") == ""
    assert surface.finish() == "'"


def same_letter(one: str, other: str) -> bool:
    return one == other or one.upper() == other


def check_kept(raw: str, shown: str) -> None:
    """The characters are those of the raw text, in order, up to spaces and case."""
    kept = shown.replace(" ", "")
    assert len(kept) == len(raw.replace(" ", ""))
    assert all(map(same_letter, raw.replace(" ", ""), kept))


@given(raw_texts, paths, st.booleans(), raw_texts, st.integers(0, 2**32))
@settings(deadline=None, max_examples=300)
def test_any_pieces_give_one_text(
    raw: str, path: str, keep_lower: bool, before: str, seed: int
) -> None:
    chance = random.Random(seed)
    options = {"before": before, "keep_lower": keep_lower}
    whole = Readable(path, **options)
    at_once = whole.write(raw) + whole.finish()
    check_kept(raw, at_once)
    surface = Readable(path, **options)
    streamed = ""
    begin = 0
    while begin < len(raw):
        end = chance.randint(begin, min(len(raw), begin + 8))
        ends_word = raw[end : end + 1] == " " and raw[end - 1 : end] not in ("", " ")
        streamed += surface.write(raw[begin:end], ends_word=ends_word and begin < end)
        assert at_once.startswith(streamed)  # nothing is taken back
        begin = end
    assert streamed + surface.finish() == at_once


@needs_vocabulary
@given(st.lists(st.integers(0, 40_477), max_size=40), paths)
@settings(deadline=None, max_examples=200)
def test_any_ids(ids: list[int], path: str) -> None:
    raw = gpt1().decode(ids)
    check_kept(raw, readable(raw, path))
