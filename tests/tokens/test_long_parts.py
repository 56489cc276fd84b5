"""Long parts of a line are split as spaCy splits them, but in linear time."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ogpt.tokens.long_parts import _MARGIN, LONG

SIGNS = "#_*='\":<>$&.,-!?()/\\~+|;@%^`[]{}…—“”’‘»«€£°§😂→•"
WORDS = ["", "x", "1", "'s", "US", ":)", "can't", "U.S.", "$5", "10km", "a/b", "--", "...", "°C."]
WORDS += ["http://a.com", "b@c.de", "gonna", "A.B.", "o'clock", "8-)", "Mr.", "don't", "." * 40]
SPACED = "( ͡° ͜ʖ ͡°)"
"""A special case across spaces."""


@pytest.fixture(scope="module")
def rules() -> Any:
    pytest.importorskip("spacy")
    from ogpt.tokens.english_rules import EnglishRules

    return EnglishRules()


@pytest.fixture(scope="module")
def affixes_only(rules: Any) -> Any:
    """The tokenizer without special cases, as spaCy has it."""
    from spacy.tokenizer import Tokenizer

    spacy = rules._rules
    names = ("prefix_search", "suffix_search", "infix_finditer", "token_match", "url_match")
    return Tokenizer(spacy.vocab, **{name: getattr(spacy, name) for name in names})


def check(rules: Any, affixes_only: Any, text: str) -> None:
    """Compare with spaCy, whatever the length."""
    assert rules._long.split(text) == [token.text for token in rules._rules(text)], text
    for part in text.split(" "):
        assert rules._long.split_affixes(part) == [t.text for t in affixes_only(part)], part


@pytest.mark.parametrize("sign", SIGNS)
def test_runs_of_one_sign(rules: Any, affixes_only: Any, sign: str) -> None:
    chosen = random.Random(SIGNS.index(sign))
    for length in (LONG, LONG + 1, LONG + 7, 150):
        text = chosen.choice(WORDS) + sign * length + chosen.choice(WORDS)
        text += chosen.choice(SIGNS) * LONG + chosen.choice(WORDS)
        check(rules, affixes_only, text)


def mixtures(count: int) -> Iterator[str]:
    chosen = random.Random(17)
    for _ in range(count):
        few = chosen.sample([*SIGNS, *WORDS], chosen.randint(1, 5))
        parts = [chosen.choice(few) for _ in range(chosen.randint(1, 60))]
        if chosen.random() < 0.3:
            parts += [" ", SPACED if chosen.random() < 0.2 else "", chosen.choice(few)]
        if chosen.random() < 0.2:
            parts = [chosen.choice(few) * 40, *parts]
        text = " ".join("".join(parts).split())
        if text:
            yield text


def test_random_mixtures(rules: Any, affixes_only: Any) -> None:
    for text in mixtures(3000):
        check(rules, affixes_only, text)


def test_special_cases_beside_signs(rules: Any, affixes_only: Any) -> None:
    for case in sorted(rules.special):
        if case == " ".join(case.split()):
            for text in (f"-={case}=-", f"({case}-{case})", f"{case}'{case}."):
                check(rules, affixes_only, text)


@pytest.mark.parametrize(
    "period", ["=-", "-:", "@:", "@-.:", "#", "'", "😂", "." * 50 + "#", "a_-", "-a.b:", "don't"]
)
def test_work_is_linear(rules: Any, period: str) -> None:
    """spaCy's time is quadratic: characters that it is given are counted, not timed."""
    from ogpt.tokens.long_parts import LongParts

    long, spacy = rules._long, rules._rules
    seen = []

    class Counting:
        rules = spacy.rules
        find_infix = spacy.find_infix

        def find_prefix(self, text: str) -> int:
            seen.append(len(text))
            return int(spacy.find_prefix(text))

        def find_suffix(self, text: str) -> int:
            seen.append(len(text))
            return int(spacy.find_suffix(text))

    def affixes(text: str) -> list[str]:
        seen.append(len(text))
        return list(long._affixes_only(text))

    counting = LongParts(Counting(), affixes, {})
    text = (period * 20_000)[:20_000]
    assert "".join(counting.split_affixes(text)) == text
    assert sum(seen) < 10 * len(text)


def test_colons_before_no_at_sign_are_searched_once(rules: Any) -> None:
    """Quadratic before: minutes for a million characters."""
    text = "-:" * 200_000 + "-"
    assert "".join(rules.split(text)) == text


def test_urls_are_still_urls(rules: Any) -> None:
    affixes = rules._affixes_only
    pattern = rules._rules.url_match
    for url in ("http://user:pass@a.com", "user:a:b@a.com:80/x", "a@b@c.de", ":@a.com", "a:b.com"):
        assert bool(affixes.url_match(url)) == bool(pattern(url))
    assert affixes.url_match.__self__.pattern != pattern.__self__.pattern  # spaCy's is known


def test_only_dots_are_an_affix_without_bound(rules: Any) -> None:
    """What _MARGIN rests on."""
    from spacy.lang.en import English

    parser = pytest.importorskip("re._parser")
    for affix in (*English.Defaults.prefixes, *English.Defaults.suffixes):
        if affix != r"\.\.+":
            context = 2 if re.search(r"\(\?<?[=!]", affix) else 0
            assert parser.parse(affix).getwidth()[1] + context <= _MARGIN - 4, affix
