"""Parity: named implementations, dictionaries of choices, and what is refused."""

import dataclasses
from typing import Any

import pytest

from ogpt.config.parity import PARITY, Parity, as_parity
from ogpt.errors import ConfigError


def test_the_default_is_ogpt() -> None:
    assert as_parity(None) == as_parity("ogpt") == as_parity({}) == Parity()
    assert Parity().to_dict() == {
        "masking": "boolean",
        "gelu": "tanh",
        "positions": "mask",
        "length": "new",
        "arguments": "refuse",
    }


@pytest.mark.parametrize(
    ("name", "differs"),
    [
        ("2018", {"masking": "2018", "positions": "never"}),
        ("transformers-4", {"masking": "transformers", "positions": "never"}),
        (
            "transformers-4-tf",
            {"masking": "tensorflow", "gelu": "erf", "positions": "never", "length": "total"},
        ),
        (
            "transformers-5",
            {"masking": "transformers", "positions": "generate", "arguments": "ignore"},
        ),
    ],
)
def test_named_implementations(name: str, differs: dict[str, str]) -> None:
    chosen = as_parity(name)
    assert chosen.to_dict() == Parity().to_dict() | differs
    assert as_parity(chosen.to_dict()) == as_parity(chosen) == as_parity(differs) == chosen


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Parity().gelu = "erf"  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("masking", "boolean, transformers, tensorflow, 2018"),
        ("gelu", "tanh, erf"),
        ("positions", "mask, generate, never"),
        ("length", "new, total"),
        ("arguments", "refuse, ignore"),
    ],
)
def test_a_value_that_there_is_not(name: str, allowed: str) -> None:
    with pytest.raises(ConfigError, match=f"parity.{name} is 'x'; allowed: {allowed}") as caught:
        as_parity({name: "x"})
    assert f"omit {name}" in caught.value.hint


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("transformers4", "did you mean transformers-4?"),
        (4, "for example"),
        (["2018"], "did you mean 2018?"),
    ],
)
def test_a_name_that_there_is_not(value: Any, hint: str) -> None:
    with pytest.raises(ConfigError, match=r"parity is .*; allowed: ogpt, 2018") as caught:
        as_parity(value)
    assert repr(value) in str(caught.value)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"), [("mask", "did you mean masking?"), ("q", "ogpt.config.parity.Parity")]
)
def test_a_choice_that_there_is_not(name: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=f"no choice '{name}'; allowed: masking, gelu") as caught:
        as_parity({name: "boolean"})
    assert hint in caught.value.hint


def test_every_name_is_another_way() -> None:
    assert len(set(PARITY.values())) == len(PARITY)
