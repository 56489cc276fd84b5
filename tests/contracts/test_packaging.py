"""What is pinned, promised and shipped agree."""

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement

from ogpt.version import __version__
from tests.contracts.sources import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LINES = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
PINS = dict(line.split("==") for line in LINES if not line.startswith("#"))


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> Iterator[Requirement]:
    for texts in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        for text in texts:
            requirement = Requirement(text)
            if requirement.name != "ogpt":
                yield requirement


@pytest.mark.parametrize("requirement", list(requirements()), ids=str)
def test_every_requirement_is_pinned_within_its_bounds(requirement: Requirement) -> None:
    pins = {canonical(name): version for name, version in PINS.items()}
    assert canonical(requirement.name) in pins
    assert requirement.specifier.contains(pins[canonical(requirement.name)])
    assert {clause.operator for clause in requirement.specifier} == {">="}


def test_pins_are_exact_and_in_order() -> None:
    assert PINS["torch"] == "2.13.0"
    assert all(re.fullmatch(r"[\w.]+", version) for version in PINS.values())
    assert list(PINS) == sorted(PINS, key=canonical)


def test_all_is_every_extra_for_users() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    assert Requirement(everything).extras == set(extras) - {"all", "dev", "docs"}


def test_changelog_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    release = __version__.partition(".dev")[0]
    assert "## Unreleased" in text if "dev" in __version__ else f"## {release}" in text
