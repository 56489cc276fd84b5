"""Settings that describe themselves: ranges in words and as checks, whole values and names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from ogpt.config.described import (
    Option,
    check_names,
    derived,
    described,
    descriptions,
    keep_fields,
    whole_or_named,
    with_field_docs,
)
from ogpt.config.ranges import (
    Bias,
    Multiple,
    Number,
    OneOf,
    Range,
    Switch,
    Texts,
    TokenIds,
    TokenWords,
    Whole,
)
from ogpt.errors import ConfigError, DataError, UnknownArgument


@with_field_docs
@dataclass(frozen=True, kw_only=True)
class Oven:
    """An oven.

    Raises:
        DataError: too hot.
    """

    degrees: float = described(
        180, "Temperature.", Number(0, 300), "lower it", Option(panel="Heat")
    )
    names: Mapping[str, float] = described({}, "Names.", Bias(Texts(), "texts"), "name it")

    def __post_init__(self) -> None:
        keep_fields(self, DataError)


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (Whole(), "0 or more"),
        (Whole(1, 9), "1 to 9"),
        (Whole(optional=True), "0 or more, or None"),
        (Number(0, above=True), "a finite number above 0"),
        (Number(0), "a finite number, 0 or more"),
        (Number(0, 1, above=True), "above 0 and at most 1"),
        (Number(-2, 2.5), "-2 to 2.5"),
        (Number(0, 1, below=True), "0 to below 1"),
        (Number(0, 1, above=True, below=True), "above 0 and below 1"),
        (Multiple(4, "n_head"), "a multiple of n_head (4)"),
        (OneOf(("a", 1)), "a, 1"),
        (Switch(), "True, False"),
    ],
)
def test_ranges_in_words(allowed: Range, words: str) -> None:
    assert str(allowed) == words


@pytest.mark.parametrize(
    ("allowed", "given", "kept"),
    [
        (Whole(1, 9), np.int64(9), 9),
        (Whole(optional=True), None, None),
        (Number(0, 1), np.float32(0.5), 0.5),
        (Number(0, 1), 1, 1.0),
        (Number(0, 1, below=True), 0, 0.0),
        (Number(0, 1, above=True), 1, 1.0),
        (Multiple(4, "n_head"), 12, 12),
        (OneOf(("a", False)), False, False),
        (Texts(), "the cat", ("the cat",)),
        (Texts(), ["a", "b"], ("a", "b")),
        (TokenIds(), range(2), (0, 1)),
        (TokenWords(), [np.array([1, 2])], ((1, 2),)),
        (Bias(Texts(), ""), {"a": 1}, {"a": 1.0}),
        (Bias(TokenIds(), ""), {(np.int64(3),): -np.inf}, {(3,): float("-inf")}),
    ],
)
def test_what_is_kept(allowed: Range, given: Any, kept: Any) -> None:
    found = allowed.keep(given)
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("allowed", "given"),
    [
        (Whole(), None),
        (Whole(), True),
        (Whole(), 1.0),
        (Number(0), float("inf")),
        (Number(0), False),
        (Number(0, 1, above=True), 0),
        (Number(0, 1, below=True), 1.0),
        (Multiple(4, "n_head"), 6),
        (OneOf((True, False)), 1),
        (Texts(), 5),
        (Texts(), ["a", ""]),
        (TokenIds(), "12"),
        (TokenIds(), [None]),
        (TokenWords(), [[], [1]]),
        (Bias(Texts(), ""), {(1,): 1.0}),
        (Bias(TokenIds(), ""), {"a": 1.0}),
        (Bias(TokenIds(), ""), {(): 1.0}),
    ],
)
def test_what_is_not_allowed(allowed: Range, given: Any) -> None:
    with pytest.raises(ValueError, match="; allowed: "):
        allowed.keep(given)


def test_a_class_of_settings() -> None:
    assert descriptions(Oven)["degrees"].option == Option(panel="Heat")
    text = str(Oven.__doc__)
    assert text.index("degrees: Temperature.") < text.index("Raises:")
    assert (Oven(degrees=1).degrees, Oven().names) == (1.0, {})
    with pytest.raises(DataError, match="degrees is 301; allowed: 0 to 300") as caught:
        Oven(degrees=301)
    assert caught.value.hint == "lower it"


def test_whole_or_by_name() -> None:
    whole = Oven(degrees=200, names={"a": 1})
    assert whole_or_named(Oven, whole, {}) is whole
    assert whole_or_named(Oven, whole, {"degrees": 20, "other": 1}) == Oven(
        degrees=20, names={"a": 1}
    )
    assert whole_or_named(Oven, None, {"degrees": 20}) == Oven(degrees=20)
    with pytest.raises(ConfigError, match="settings are 5; allowed: Oven"):
        whole_or_named(Oven, 5, {})  # type: ignore[type-var]  # the point of the test


def test_names_of_arguments() -> None:
    def bake(what: str, **named: Any) -> None:
        """Has arguments of its own, and those of an oven."""

    check_names(bake, {"degrees": 5}, Oven)
    for name, near in (("degree", "degrees"), ("wath", "what"), ("zzz", "")):
        with pytest.raises(UnknownArgument) as caught:
            check_names(bake, {name: 5}, Oven)
        known = "allowed: what, degrees, names"
        assert caught.value.args == (f"bake has no argument {name}; {known}",)
        assert caught.value.hint == (f"did you mean {near}?" if near else "omit it")


def test_derived_values_are_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    oven = Oven()
    name = dataclasses.fields(Oven)[0].name
    monkeypatch.setattr(Oven, "__post_init__", lambda self: pytest.fail("checked again"))
    made = derived(oven, **{name: "anything"})
    assert getattr(made, name) == "anything"
    assert getattr(oven, name) != "anything"
