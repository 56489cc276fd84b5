"""The comparison with transformers' surface finds what is missing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.contracts.surfaces import Comparison


class Ours:
    """A class whose gaps are known."""

    value = 1

    def method(self, a: int, b: int, *, c: int) -> None:
        """Take them."""


OF_OURS = Comparison(
    file="",
    ours={"part": [Ours]},
    absent={"part": {"gone": "why"}},
    absent_arguments={"part": {"method": {"unused": "why"}}},
    passed_on={"method": {"more"}},
)


@pytest.mark.parametrize(
    ("theirs", "gaps"),
    [
        ({"value": None, "gone": None, "method": [["a", "b", "c", "more", "unused", "*rest"]]}, []),
        ({"method": [["c", "a", "b"]]}, []),  # by name alone, wherever it stands
        ({"method": [["b", "a"]]}, ["Ours.method(b)", "Ours.method(a)"]),
        ({"method": [["a"], ["a", "d"]]}, ["Ours.method(d)"]),
        ({"method": None}, ["Ours.method, a method"]),
        ({"value": [["a"]]}, ["Ours.value, no method"]),
        ({"other": None}, ["Ours.other"]),
    ],
    ids=str,
)
def test_a_comparison_finds_every_gap(theirs: Any, gaps: list[str]) -> None:
    assert OF_OURS.lacking({"part": theirs}) == gaps


def test_a_comparison_finds_reasons_out_of_date() -> None:
    given = {"absent": {"part": {"value": "why"}}, "passed_on": {"method": {"unused"}}}
    assert replace(OF_OURS, **given).outdated() == ["value", "method(unused)"]
