"""Settings have one source: command, function and guides name the same fields."""

from __future__ import annotations

import re
from typing import Any

import pytest
import typer

import ogpt
from ogpt.cli.main import app
from ogpt.config.described import Description, descriptions
from ogpt.decoding.options import DecoderOptions
from ogpt.generation.choosing.settings import GenerationSettings
from tests.contracts.sources import ROOT

KINDS = (GenerationSettings, DecoderOptions)
FIELDS = {name: found for kind in KINDS for name, found in descriptions(kind).items()}
OWN = {"ids", "data", "out", "as_json", "surface", "stats", "batch_size", "assistant_model"}
"""Options of the command that are not settings, or whose default depends on the terminal."""


def options(command: str) -> dict[str, Any]:
    """The options of a command, by the name of the parameter."""
    found = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    return {one.name: one for one in found if one.param_type_name == "option"}


def flag(name: str, found: Description) -> str:
    assert found.option is not None
    return found.option.name or "--" + name.replace("_", "-")


def test_generate_offers_the_fields_and_nothing_else() -> None:
    offered = {name for name, found in FIELDS.items() if found.option is not None}
    assert options("generate").keys() == offered | OWN


@pytest.mark.parametrize(
    "name", [name for name, found in FIELDS.items() if found.option is not None]
)
def test_an_option_is_its_field(name: str) -> None:
    option, found = options("generate")[name], FIELDS[name]
    assert found.option is not None
    assert option.opts == [flag(name, found)]
    assert option.help == (found.option.switches_off or found.help)
    assert (option.rich_help_panel or "Options") == found.option.panel
    settings = GenerationSettings() if hasattr(GenerationSettings, name) else DecoderOptions()
    assert option.default in (getattr(settings, name), None, False)


def test_help_texts_are_sentences() -> None:
    for name, found in FIELDS.items():
        for text in (found.help, found.option and found.option.switches_off):
            assert not text or (text[0].isupper() and text.endswith(".")), name


@pytest.mark.parametrize("command", ["score", "evaluate", "quantize"])
def test_other_commands_share_the_options(command: str) -> None:
    for name, option in options(command).items():
        if name in descriptions(DecoderOptions):
            assert option.help == descriptions(DecoderOptions)[name].help


def test_the_docstring_lists_the_fields() -> None:
    for kind in KINDS:
        for name, found in descriptions(kind).items():
            assert f"    {name}: {found.help}" in str(kind.__doc__)


def test_the_guides_name_every_field() -> None:
    guide = (ROOT / "docs" / "guides" / "generating.md").read_text("utf-8")
    missing = [name for name in FIELDS if not re.search(rf"(?<![\w-]){name}(?![\w-])", guide)]
    assert missing == []
    decoding = (ROOT / "docs" / "guides" / "decoding.md").read_text("utf-8")
    assert all(flag(name, one) in decoding for name, one in descriptions(DecoderOptions).items())


def test_the_guides_name_no_other_option() -> None:
    known = {option for one in options("generate").values() for option in one.opts}
    for command in ("score", "evaluate", "quantize"):
        known |= {option for one in options(command).values() for option in one.opts}
    for page in ("generating", "decoding"):
        text = (ROOT / "docs" / "guides" / f"{page}.md").read_text("utf-8")
        assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text)) <= known | {"--help"}


def test_the_function_takes_the_fields() -> None:
    with pytest.raises(ogpt.errors.UnknownArgument) as caught:
        ogpt.generate("none", "a", temprature=1)
    assert all(name in str(caught.value) for name in FIELDS)
    assert caught.value.hint == "did you mean temperature?"
