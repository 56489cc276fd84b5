"""Notices, events, commands and the documentation match the code, in plain words."""

import ast
import re
import shlex
import string
import tokenize
from pathlib import Path

import pytest
import typer.main

import ogpt
from ogpt import notices, reporting
from ogpt.cli.main import app
from tests.contracts.sources import PACKAGE, ROOT, calls, first_text, modules, texts

PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
TREES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in modules()}

REPORTERS = ("reporter", "_reporter", "report")

FOREIGN = {
    "a path of one machine": r"(?<![\w.:/-])/(?:work|root|home|Users|farm|mnt)/",
    "a package index": r"py[p]i\.(?:org|python)|python[h]osted|downl[o]ad\.pytorch",
    "unfinished work": r"\b(?:TO[D]O|FIX[M]E|XX[X])\b",
    "the making of the project": r"\b(?:work[p]lace|sub-?[a]gent|[a]gents?)\b",
}


STIFF = re.compile(
    r"\b(?:anew|begun|held-out|likelier|likeliest|likeness|mend(?:s|ed|ing)?|tell(?:s|ing)?(?!\()"
    r"|told|thing|go(?:es|ing)? on|passed over|so many|honest(?:ly)?|travel\w*|the house)\b",
    re.IGNORECASE,
)
"""Words that plain English, or the field, has better ones for."""


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_every_notice_is_known_with_its_fields() -> None:
    emitted = set()
    for file, tree in TREES.items():
        for call in calls(tree, "tell"):
            if not call.args and not call.keywords:
                continue  # a stream's position
            kind = first_text(call)
            assert kind in notices.KINDS, f"{file}:{call.lineno} emits {kind!r}"
            fields = {keyword.arg for keyword in call.keywords}
            assert fields == placeholders(notices.KINDS[kind]), f"{file}:{call.lineno}"
            emitted.add(kind)
    assert emitted == set(notices.KINDS), "kinds that are never emitted"


def test_every_event_reported_is_known() -> None:
    known = set(re.findall(r"^    (\w+) +\w", reporting.__doc__ or "", re.MULTILINE))
    assert {"progress", "train", "message"} <= known
    for file, tree in TREES.items():
        for call in (call for name in REPORTERS for call in calls(tree, name)):
            if (kind := first_text(call)) is not None:
                assert kind in known, f"{file}:{call.lineno} reports {kind!r}"


@pytest.mark.parametrize("what", FOREIGN)
def test_nothing_foreign(what: str) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:80]}"
        for name, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(FOREIGN[what], line, re.IGNORECASE)
    ]
    assert found == [], what


def without_code(text: str) -> str:
    """Markdown without code and quotations."""
    return re.sub(r"^```.*?^```|^>.*?$|`[^`\n]+`", "", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_documentation_is_in_plain_words(page: Path) -> None:
    assert STIFF.findall(without_code(page.read_text("utf-8"))) == []


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_the_code_is_in_plain_words(file: Path) -> None:
    """Comments, docstrings and messages; names are free."""
    found = []
    with file.open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if tokenize.tok_name[token.type] in ("COMMENT", "STRING", "FSTRING_MIDDLE"):
                stiff = STIFF.findall(without_code(token.string)) if " " in token.string else []
                found += [f"line {token.start[0]}: {word}" for word in stiff]
    assert found == []


def documented_commands() -> list[str]:
    """Every line of a code block in the README and docs that runs ogpt."""
    lines = []
    for page in PAGES:
        for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text("utf-8"), re.S | re.M):
            joined = re.sub(r"\\\n\s*", " ", block)
            lines += re.findall(r"^(?:\$ |\.venv/bin/)?(ogpt .*)$", joined, re.MULTILINE)
    return sorted(set(lines))


@pytest.mark.parametrize("line", documented_commands())
def test_documented_commands_exist(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    root = typer.main.get_command(app)
    commands = root.commands  # type: ignore[attr-defined]  # a Typer app with commands is a group
    options = {name for parameter in root.params for name in parameter.opts}
    while words and words[0].startswith("-"):
        assert words.pop(0) in options, line
    if words:
        assert words[0] in commands, line
        command = commands[words[0]]
        options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        for word in words[1:]:
            assert not word.startswith("--") or word.partition("=")[0] in options, line


def test_documented_functions_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"\bogpt\.(\w+)\(", page.read_text("utf-8")):
            assert name in ogpt.__all__, f"{page.name} calls ogpt.{name}"


def test_documented_make_targets_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for page in [ROOT / "README.md", ROOT / ".ci" / "run"]:
        used = set(re.findall(r"^(?:\$ )?make ([\w-]+)", page.read_text("utf-8"), re.MULTILINE))
        assert used
        assert used <= targets
