"""The API reference builds without a network and has every public name; its markup is correct."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pdoc.docstrings
import pdoc.render_helpers
import pytest

import ogpt
from tests.contracts.sources import ROOT, loadable_names

pytestmark = pytest.mark.slow

BUILD = """
import runpy, socket, sys
def refuse(*given): raise OSError(f"the network was asked for {given}")
socket.socket.connect = socket.getaddrinfo = refuse
sys.argv = ["build.py", sys.argv[1]]
runpy.run_path("docs/api/build.py", run_name="__main__")
"""

WRONG = {
    "a mark of Markdown": r"`|\]\(|(?<![\w*])\*[\w(]|^\s*#",
    "a mark of reStructuredText": r":\w+:(?!\w)|^\.\. |::$",
    "a section that was not seen": r"^\s*(Args|Returns|Yields|Raises|Example|Examples):",
    "an example that is no block": r">>>",
}
"""Patterns that must not be in the rendered text of a docstring, outside code."""


class Page(HTMLParser):
    """The docstrings of a page as text without code, and its ids, links and emphasis."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.docstrings: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.emphasised: list[str] = []
        self._inside: list[str] = []  # open tags from the docstring's own on
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(str(values["id"]))
        if tag == "a" and values.get("href"):
            self.links.add(str(values["href"]))
        if self._inside and tag not in ("br", "hr", "img", "input"):
            self._inside.append(tag)
        elif values.get("class") == "docstring":
            self._inside = [tag]
            self.docstrings.append("")

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag in self._inside:
            while self._inside.pop() != tag:
                pass
        if self._inside and tag in ("p", "li", "h6"):
            self.docstrings[-1] += "\n"

    def handle_data(self, data: str) -> None:
        if not self._inside or {"code", "pre"} & set(self._inside):
            return
        argument = self._inside[-1] == "strong" and data.endswith(":")
        if {"em", "strong"} & set(self._inside) and not argument:
            self.emphasised.append(data)
        if self._inside[-1] != "h6":  # the heading of a section
            self.docstrings[-1] += data


def faults(html: str) -> list[str]:
    """Faults in the docstrings of a page. We use no emphasis, so any emphasis is a stray star."""
    page = Page(html)
    found = [f"emphasis: {text}" for text in page.emphasised]
    for text in page.docstrings:
        text = re.sub(r"^\*\*\w+:", "", text, flags=re.MULTILINE)  # **options, an argument
        found += [
            f"{what}: {match[0]!r} in {text!r}"
            for what, pattern in WRONG.items()
            if (match := re.search(pattern, text, re.MULTILINE))
        ]
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reference")
    command = [sys.executable, "-W", "error", "-c", BUILD, str(out)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return out


def words(text: str) -> str:
    """Text without its markup."""
    return " ".join(re.findall(r"\w+", re.sub(r"<[^>]*>", " ", text)))


@pytest.mark.parametrize("name", loadable_names())
def test_every_public_name_is_there_with_its_docstring(reference: Path, name: str) -> None:
    value = getattr(ogpt, name)
    if inspect.ismodule(value):
        section = (reference / "ogpt" / f"{name}.html").read_text("utf-8")
    else:
        page = (reference / "ogpt.html").read_text("utf-8")
        found = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
        assert found is not None
        section = found[0]
    if name == "__version__":
        assert value in section
        return
    first = inspect.cleandoc(value.__doc__).split("\n\n")[0]
    assert words(first) in words(section)


@pytest.mark.parametrize(
    ("page", "member"),
    [
        ("ogpt", "OpenAIGPTConfig.__init__"),  # where the defaults are seen
        ("ogpt", "OpenAIGPTLMHeadModel.forward"),
        ("ogpt", "OpenAIGPTLMHeadModel.from_pretrained"),  # among the inherited ones
        ("ogpt", "OpenAIGPTTokenizer.__call__"),
        ("ogpt/model/generate/entry", "GenerativeLanguageModel.generate"),
        ("ogpt/tokens/tokenizer_base", "TokenizerBase.__call__"),
    ],
)
def test_members_are_there(reference: Path, page: str, member: str) -> None:
    assert member in Page((reference / f"{page}.html").read_text("utf-8")).ids


def test_every_docstring_is_set_whole(reference: Path) -> None:
    pages = sorted(reference.rglob("*.html"))
    assert len(pages) > 10
    assert {str(page): faults(page.read_text("utf-8")) for page in pages} == {
        str(page): [] for page in pages
    }
    assert sum(len(Page(page.read_text("utf-8")).docstrings) for page in pages) > 100


def broken_links(reference: Path) -> Iterator[str]:
    pages = {page: Page(page.read_text("utf-8")) for page in reference.rglob("*.html")}
    for page, content in pages.items():
        for link in content.links:
            place, _, anchor = link.partition("#")
            if place.startswith("https://"):
                continue
            target = (page.parent / place).resolve() if place else page
            if target not in pages or (anchor and anchor not in pages[target].ids):
                yield f"{page.name} -> {link}"


def test_every_link_leads_somewhere(reference: Path) -> None:
    assert list(broken_links(reference)) == []


GOOD = """Does it, `twice` at most.

Args:
    once: Whether to.
    **options: As `other`.

Returns:
    The rows, B * K of them.

Raises:
    ValueError: it did not.

>>> 1 + 1
2
"""


def as_page(docstring: str) -> str:
    markdown = pdoc.docstrings.convert(docstring, "google", None)
    return f'<div class="docstring">{pdoc.render_helpers.to_html(markdown)}</div>'


def test_a_good_docstring_passes() -> None:
    assert faults(as_page(GOOD)) == []


@pytest.mark.parametrize(
    ("right", "wrong", "what"),
    [
        ("`twice`", "`twice", "a mark of Markdown"),
        ("`twice`", "[twice](there", "a mark of Markdown"),
        ("`twice`", "*twice*", "emphasis"),
        ("`twice`", "**twice**", "emphasis"),
        ("`twice`", ":meth2:`twice`", "a mark of reStructuredText"),
        ("\n\nArgs:", "\n    Args:", "a section that was not seen"),
        ("\n\nArgs:", "\n\nArgs: ", "a section that was not seen"),
        ("Returns:\n    The rows", "Returns: the rows", "a section that was not seen"),
        ("\n\n>>> 1", " >>> 1", "an example that is no block"),
    ],
)
def test_a_planted_fault_shows(right: str, wrong: str, what: str) -> None:
    assert right in GOOD
    assert what in " ".join(faults(as_page(GOOD.replace(right, wrong))))
