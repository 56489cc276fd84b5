"""The page of a run holds all it needs, and nothing that text could break."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ogpt.errors import SourceNotFound
from ogpt.evaluation.task_scores import TaskScore
from ogpt.recipes.package_task import TaskComparison
from ogpt.recipes.report import ModelScore, Sample, Story, write_report

STORY = Story(
    title="A title & more",
    summary="What <b>it</b> is.",
    verdict="It wins.",
    won=True,
    commands=['ogpt generate "runs/a b" "The function returns"', "ogpt serve"],
    page_address="http://127.0.0.1:8000/",
    scores=[ModelScore("GPT", 4.0, 54.6, 1.5), ModelScore("trigram", 4.5, 90.02, 1.7)],
    scores_note="On 7 tokens.",
    samples=[Sample("The $x", ' </blockquote><script>alert("1")</script>')],
    samples_note="As they came.",
    task=TaskComparison(
        labels=("asyncio", "email"),
        examples=(80, 10, 20),
        majority=0.55,
        pretrained=TaskScore(0.85, 0.8, 0.9),
        random=TaskScore(0.7, 0.6, 0.75),
    ),
    task_note="Of 20 examples.",
    facts={"speed": "9 tokens/s"},
)


class Page(HTMLParser):
    """Checks that elements close in order, and collects text and what would be loaded."""

    VOID = frozenset({"meta", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "iframe", "object")
        self.loads += [
            str(value)
            for name, value in attrs
            if name in ("src", "href", "xlink:href", "srcset", "data") and tag != "a"
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def html(run: Path) -> str:
    file = write_report(run, STORY)
    assert file == run / "report.html"
    return file.read_text("utf-8")


def test_texts_are_shown_as_they_are(html: str) -> None:
    page = Page(html)
    for text in (
        STORY.title,
        STORY.summary,
        STORY.verdict,
        STORY.commands[0],
        "On 7 tokens.",
        "Of 20 examples.",
    ):
        assert text in page.text
    assert STORY.samples[0].prompt + STORY.samples[0].text in page.text
    assert "made by a <test>" in page.text  # the settings, comment included
    assert "4.5000" in page.text
    assert "54.60" in page.text
    assert STORY.task.verdict in page.text


def test_the_page_loads_nothing(html: str) -> None:
    page = Page(html)
    assert all(load.startswith(("#", "data:,")) for load in page.loads)
    assert not re.search(r"@import|url\((?!#)", html)
    links = {"http://www.w3.org/1999/xlink", STORY.page_address}
    assert set(re.findall(r"https?://[^\"' <]+", html)) == links


def test_both_colour_schemes_know_every_colour(html: str) -> None:
    used = set(re.findall(r"var\((--[a-z]+)\)", html))
    light, dark = (set(re.findall(r"(--[a-z]+): #", part)) for part in html.split("@media", 2)[:2])
    assert used
    assert used <= light == dark


def test_losing_looks_different(run: Path, html: str) -> None:
    assert '<p class="verdict">' in html
    lost = Story(**{name: getattr(STORY, name) for name in STORY.__slots__} | {"won": False})
    assert '<p class="verdict beaten">' in write_report(run, lost).read_text("utf-8")


def test_every_id_is_there_once(html: str) -> None:
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_without_metrics_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound):
        write_report(tmp_path, STORY)
    assert list(tmp_path.iterdir()) == []
