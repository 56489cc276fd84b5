"""The blocks of a page as HTML and as Markdown, with signs that either could misread."""

import xml.etree.ElementTree as ET

from ogpt.evaluation.page import (
    Bullets,
    CodeBlock,
    Grid,
    Heading,
    Paragraph,
    Picture,
    as_html,
    as_markdown,
    framed,
)

BLOCKS = [
    Heading("A & B"),
    Paragraph("1 < 2"),
    Paragraph("small", note=True),
    Grid(["set", "n"], [["a|b", "1"], ["<c>", "2"]], strong=frozenset({1})),
    Bullets(["one", "$two"]),
    CodeBlock("curl <a>\n  -d {}"),
    Picture("<svg/>", "a.png", "what it shows"),
]


def test_html() -> None:
    page = framed("T & U", as_html(BLOCKS[1:2]), as_html(BLOCKS))
    body = page[page.index("<body>") : page.index("</html>")]
    tree = ET.fromstring(body)
    assert [one.text for one in tree.iter("h2")] == ["A & B"]
    assert [one.text for one in tree.iter("p")] == ["1 < 2", "1 < 2", "small"]
    assert [one.text for one in tree.iter("th")] == ["set", "n", "a|b", "<c>"]
    assert [one.get("class") for one in tree.iter("td")] == ["number", "number"]
    assert [one.get("class") for one in tree.iter("tr")] == [None, None, "model"]
    assert [one.text for one in tree.iter("li")] == ["one", "$two"]
    assert [one.text for one in tree.iter("pre")] == ["curl <a>\n  -d {}"]
    assert len(list(tree.iter("svg"))) == 1
    assert "<title>T &amp; U</title>" in page
    for word in ("<script", "src=", "http"):
        assert word not in page


def test_markdown() -> None:
    assert as_markdown(BLOCKS) == (
        "## A & B\n\n1 < 2\n\nsmall\n\n"
        "| set | n |\n| --- | ---: |\n| a\\|b | 1 |\n| <c> | 2 |\n\n"
        "- one\n- $two\n\n```\ncurl <a>\n  -d {}\n```\n\n![what it shows](a.png)\n"
    )
