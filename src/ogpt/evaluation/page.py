"""Pages of results: the same blocks as HTML, which loads no other file, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str
    note: bool = False
    """Whether it is set small."""


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of plain texts."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers_from: int = 1
    """The first column of those that are aligned to the right."""
    strong: frozenset[int] = frozenset()
    """Rows that stand out."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, inside the page and as a file beside it."""

    svg: str
    file: str
    label: str
    """What it shows, for readers who cannot see it."""


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """Commands or code, as they are."""

    text: str


Block = Heading | Paragraph | Bullets | CodeBlock | Grid | Picture


def framed(title: str, header: str, body: str) -> str:
    """A whole HTML page.

    Args:
        title: Plain text.
        header: HTML below the title.
        body: HTML of the sections.
    """
    page = Template((resources.files("ogpt.evaluation") / "page.html").read_text("utf-8"))
    return page.substitute(title=escape(title), header=header, body=body)


def as_html(blocks: Iterable[Block]) -> str:
    """The blocks as HTML elements."""
    return "\n".join(map(_html, blocks))


def as_markdown(blocks: Iterable[Block]) -> str:
    """The blocks as Markdown."""
    return "\n\n".join(map(_markdown, blocks)) + "\n"


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text, note):
            kind = ' class="note"' if note else ""
            return f"<p{kind}>{escape(text)}</p>"
        case Bullets(items):
            return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"
        case CodeBlock(text):
            return f"<pre>{escape(text)}</pre>"
        case Picture(svg, _, _):
            return f"<figure>{svg}</figure>"
        case Grid():
            return _html_table(block)


def _html_table(grid: Grid) -> str:
    right = ' class="number"'

    def cell(place: int, text: str) -> str:
        if place == 0:
            return f'<th scope="row">{escape(text)}</th>'
        return f"<td{right if place >= grid.numbers_from else ''}>{escape(text)}</td>"

    head = "".join(
        f'<th scope="col"{right if place >= grid.numbers_from else ""}>{escape(text)}</th>'
        for place, text in enumerate(grid.header)
    )
    rows = []
    for number, row in enumerate(grid.rows):
        kind = ' class="model"' if number in grid.strong else ""
        rows.append(f"<tr{kind}>{''.join(cell(*each) for each in enumerate(row))}</tr>")
    body = "\n".join(rows)
    return (
        f'<div class="scroll"><table class="grid">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {text}"
        case Paragraph(text, _):
            return text
        case Bullets(items):
            return "\n".join(f"- {item}" for item in items)
        case CodeBlock(text):
            return f"```\n{text}\n```"
        case Picture(_, file, label):
            return f"![{label}]({file})"
        case Grid(header, rows, numbers_from, _):
            marks = ["---:" if place >= numbers_from else "---" for place in range(len(header))]
            lines = [header, marks, *rows]
            return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")
