"""Fixer and ftfy agree on every text; ftfy's tables show why most lines may be left alone."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterable
from itertools import product
from typing import Any

import ftfy
import pytest
from ftfy import chardata, fixes
from ftfy.badness import BADNESS_RE, is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from ogpt.tokens import fixing
from ogpt.tokens.fixing import Fixer
from tests.tokens.any_text import texts

STEPS = (
    fixes.unescape_html,
    ftfy.fix_encoding,
    fixes.fix_c1_controls,
    fixes.fix_latin_ligatures,
    fixes.fix_character_width,
    fixes.fix_line_breaks,
    fixes.fix_surrogates,
    fixes.remove_terminal_escapes,
    fixes.remove_control_chars,
    functools.partial(unicodedata.normalize, "NFC"),
)
"""All that ftfy.fix_text does to a line, but for the quotes."""
KEPT = [chr(point) for point in range(0x110000) if not fixing._UNUSUAL.search(chr(point))]
"""A line of these is left to itself."""
CURLED = "‘’“”"

fixer = functools.cache(Fixer)


def straight(text: str) -> str:
    return text.translate(str.maketrans(CURLED, "''\"\""))


def same(text: str) -> bool:
    return straight(fixer()(text)) == ftfy.fix_text(text)


# ---- the two agree

LINES = (
    *("it’s “so”", "â€™tis", "Ã©tÃ©\nÃ© <b>", "L’Ã©tÃ© “b”", "\x1b[31mred", "ﬁne ’"),
    *("ｆｕｌｌ—“a”", "a\r\nb\rc", "\r\n\r\n", "\x85", "x\u2028y\u2029z’", "\x0c", "\x00\x07’"),
    *("\ufeffBOM", "\u206a", "&amp;", "&amp;\n<\n&amp;", "<\n&amp;’", "&amp;<"),
    *("&amp;&amp;lt;", "&NTILDE; &ntilde;", "&#233;", "é", "e\u0301’", "日本’", "\ud83d\ude00"),
    *("\ud800’", "â€œâ€\x9d", "Â\xa0a", "â€”", "ã‚¢", "…", "‛„‟", "", "\n", "\n\n", "’\n"),
    *(
        "À\x80À\nit’s “so”",
        "\n&amp;",
        "a\n\x80",
        "Ã\n\xa0",
        "Ã \n©",
        "’“”‘",
        "\u0301\n\u0301",
        "K\u0301",
    ),
)


@pytest.mark.parametrize("line", LINES)
def test_by_hand(line: str) -> None:
    for text in (line, f"“Plain” line\n{line}", f"{line}\n‘x’\n&amp; é\n", f"a {line}’ b\r\n"):
        assert same(text), text


@settings(max_examples=1_000, deadline=None, database=None, derandomize=True)
@given(st.lists(st.sampled_from(LINES) | texts, max_size=4).map("\n".join))
def test_by_any_text(text: str) -> None:
    assert same(text)


def test_a_line_longer_than_ftfy_reads_at_once() -> None:
    text = "é &amp; " * 130_000 + "<&lt;’\n&amp;"
    assert len(text) > 1_000_000
    assert same(text)


@pytest.mark.parametrize("unusual", ["[^\t\n\x0c -~‘’“”–—…]", "[^\t\n\x0c -%'-~‘’“”–—…\u0301]"])
def test_a_planted_fault_shows(unusual: str, monkeypatch) -> None:
    monkeypatch.setattr(fixing, "_UNUSUAL", re.compile(unusual))
    assert not all(map(same, LINES))


# ---- what is left alone


def test_kept() -> None:
    printable = [chr(point) for point in range(32, 127) if chr(point) != "&"]
    assert sorted(KEPT) == sorted([*"\t\n\x0c", *printable, *CURLED, *"–—…"])


def test_quotes_are_straightened_as_ftfy_does() -> None:
    for sign in KEPT:
        assert fixes.uncurl_quotes(sign) == straight(sign)
        assert (straight(sign) != sign) == (sign in CURLED)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: getattr(step, "__name__", "NFC"))
def test_no_step_changes_two_neighbours(step: Any) -> None:
    """No step but that for mojibake looks further than its tables' characters.

    NFC composes two neighbours at a time where none of the characters is a combining one.
    """
    for pair in map("".join, product(KEPT, repeat=2)):
        assert step(pair) == pair
    everything = "".join(map("".join, product(KEPT, repeat=2)))
    assert step(everything) == everything


def test_tables_hold_nothing_of_it() -> None:
    for table in (chardata.CONTROL_CHARS, chardata.LIGATURES, chardata.WIDTH_MAP):
        assert not set(map(ord, KEPT)) & table.keys()
    assert not any(chardata.C1_CONTROL_RE.search(sign) for sign in KEPT)
    assert "&" not in KEPT
    assert chardata.HTML_ENTITY_RE.pattern.startswith("&")
    assert fixes.ANSI_RE.pattern.startswith("\033")
    assert not any(map(unicodedata.combining, KEPT))


def may_match(parsed: Iterable[Any], signs: Iterable[str]) -> bool:
    """Whether an expression may match text of these characters; look-arounds are skipped."""
    return all(_may_match(str(kind), value, signs) for kind, value in parsed)


def _may_match(kind: str, value: Any, signs: Iterable[str]) -> bool:
    if kind == "BRANCH":
        return any(may_match(branch, signs) for branch in value[1])
    if kind == "SUBPATTERN":
        return may_match(value[-1], signs)
    if kind in ("MAX_REPEAT", "MIN_REPEAT"):
        return value[0] == 0 or may_match(value[2], signs)
    if kind in ("LITERAL", "NOT_LITERAL", "ANY", "IN"):
        return any(_fits(kind, value, sign) for sign in signs)
    assert kind == "AT", kind
    return True


def _fits(kind: str, value: Any, sign: str) -> bool:
    if kind == "IN":
        negated = str(value[0][0]) == "NEGATE"
        return negated != any(_fits(str(k), v, sign) for k, v in value[negated:])
    if kind == "RANGE":
        return bool(value[0] <= ord(sign) <= value[1])
    if kind == "CATEGORY":
        letter = {"CATEGORY_SPACE": r"\s", "CATEGORY_WORD": r"\w"}[str(value)]
        return bool(re.fullmatch(letter, sign))
    if kind == "ANY":
        return sign != "\n"
    return (ord(sign) == value) == (kind == "LITERAL")


def test_ftfy_cannot_see_mojibake_in_it() -> None:
    """Each alternative of its one expression for mojibake needs a character that is not kept."""
    parsed = re._parser.parse(BADNESS_RE.pattern, BADNESS_RE.flags)  # type: ignore[attr-defined]
    assert parsed.getwidth()[1] == 7
    assert not may_match(parsed, KEPT)
    assert not is_bad("".join(map("".join, product(KEPT, repeat=2))))
    for found in (
        "œ",
        "Ã",
        "×²",
        "‚Ä",
        "à²",
        "\x85",
        "Ø°",
        "¬",
        "вЂ",
        "ГўВЂ",
        "ā€",
        "√",
        "β€™",
        "Г°",
    ):
        assert may_match(parsed, [*KEPT, *found]), found


@settings(max_examples=1_000, deadline=None, database=None, derandomize=True)
@given(st.text(st.sampled_from(KEPT) | st.sampled_from([*CURLED, *"–—…"])))
def test_left_alone(text: str) -> None:
    assert fixer()(text) == text
    assert ftfy.fix_text(text) == straight(text)
