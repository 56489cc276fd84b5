"""Long runs of one sign split as spaCy splits them, without handing spaCy the whole run."""

from __future__ import annotations

import random

import pytest

from ogpt.tokens.long_runs import LONG, split_long_runs

SIGNS = "#_*='\":<>$&.,-!?()/\\~+|;@%^`[]{}…—“”’‘»«€£°§😂→•"
AROUND = ["", "x", "1", "'s", "US", ":)", ".", "'", '"', "can't", "U.S.", "$5", "10km", "a/b", "--"]


@pytest.fixture(scope="module")
def rules() -> object:
    pytest.importorskip("spacy")
    from ogpt.tokens.english_rules import EnglishRules

    return EnglishRules()


@pytest.mark.parametrize("part", ["_rules", "_affixes_only"])
@pytest.mark.parametrize("sign", SIGNS)
def test_the_words_are_those_of_spacy(rules: object, part: str, sign: str) -> None:
    tokenizer = getattr(rules, part)
    chosen = random.Random(SIGNS.index(sign))
    for length in (LONG, LONG + 1, LONG + 7, 150):
        text = chosen.choice(AROUND) + sign * length + chosen.choice(AROUND)
        text += chosen.choice(SIGNS) * LONG + chosen.choice(AROUND)
        expected = [token.text for token in tokenizer(text)]
        assert split_long_runs(text, lambda t: [token.text for token in tokenizer(t)]) == expected


@pytest.mark.parametrize("sign", ["#", "=", "'", "😂", ".", "_"])
def test_spacy_sees_short_runs_only(rules: object, sign: str) -> None:
    """Its time is quadratic: work is counted, not timed."""
    tokenizer = rules._rules  # type: ignore[attr-defined]
    seen = []

    def split(text: str) -> list[str]:
        seen.append(len(text))
        return [token.text for token in tokenizer(text)]

    words = split_long_runs("x" + sign * 100_000 + "y", split)
    assert "".join(words) == "x" + sign * 100_000 + "y"
    assert max(seen) <= LONG


def test_what_does_not_repeat_itself_is_split_as_it_is() -> None:
    text = "a" + "#" * 200
    for odd in (lambda t: [t[: len(t) ** 2 % 61], t[len(t) ** 2 % 61 :]], lambda t: [t] * len(t)):
        assert split_long_runs(text, odd) == odd(text)
    many = "".join(sign * LONG for sign in SIGNS[:20])
    assert split_long_runs(many, lambda t: [t]) == [many]
