"""Text of input methods, which compose a word before the page has it: none is lost, and each letter
stays with who wrote it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.serving.browser.writer import (
    ENDED,
    STORED,
    SUGGESTIONS,
    accepted,
    machine,
    saved,
    shows,
    suggested,
    text,
    until,
)

if TYPE_CHECKING:
    from playwright.sync_api import CDPSession, Page

    from tests.serving.browser.conftest import NewPage
    from tests.serving.running import Running

pytestmark = pytest.mark.slow


def compose(page: Page, word: str) -> CDPSession:
    """Compose a word letter by letter; `Input.insertText` of the session ends it."""
    keyboard = page.context.new_cdp_session(page)
    for end in range(1, len(word) + 1):
        place = {"selectionStart": end, "selectionEnd": end}
        keyboard.send("Input.imeSetComposition", {"text": word[:end], **place})
    return keyboard


def composed(page: Page, word: str) -> None:
    compose(page, word).send("Input.insertText", {"text": word})


def shown_after_reload(page: Page) -> str:
    saved(page)
    page.reload()
    until(page, "document.activeElement.id === 'editor'")
    return text(page)


def test_composed_words_before_words_that_begin_alike(page: Page) -> None:
    page.keyboard.type("the cab")
    for word, whole in (("then", "then the cab"), ("the", "the then the cab")):
        page.keyboard.press("Home")
        composed(page, word)
        page.keyboard.type(" ")
        assert text(page) == whole
    # the end of the same word, and a word that is deleted while it is composed
    page.keyboard.press("Control+a")
    page.keyboard.type("bed")
    composed(page, "bed")
    compose(page, "bed").send(
        "Input.imeSetComposition", {"text": "", "selectionStart": 0, "selectionEnd": 0}
    )
    assert text(page) == "bedbed"
    # before machine text that begins alike
    page.keyboard.press("Control+a")
    page.keyboard.type("a bad cab ")
    accepted(page)
    [marked] = machine(page)
    for _ in marked:
        page.keyboard.press("ArrowLeft")
    composed(page, marked[:2] + "s")
    assert machine(page) == [marked]
    assert text(page) == f"a bad cab {marked[:2]}s{marked}"
    # beside the end of machine text, where the browser adds it to the marked part
    page.keyboard.press("End")
    composed(page, "ss")
    assert machine(page) == [marked]


def test_the_page_takes_in_what_is_composed_before_it_changes_the_text(page: Page) -> None:
    page.keyboard.type("a bad ")
    suggested(page)
    compose(page, "cab")
    page.wait_for_selector("#suggestions", state="hidden")  # as with each edit
    page.evaluate("document.getElementById('suggest').click()")  # which leaves the focus
    page.wait_for_selector(ENDED)
    page.click(f"{SUGGESTIONS} >> nth=0")
    page.keyboard.type(" these words come after")
    [marked] = machine(page)
    whole = text(page)
    assert re.fullmatch(f"a bad cab ?{re.escape(marked)} these words come after", whole)
    assert shown_after_reload(page) == whole
    page.keyboard.type(".")
    compose(page, "x")
    page.evaluate("document.getElementById('undo').click()")
    assert text(page) == f"{whole}."
    # a composition that ends without an event, because its line is painted again
    compose(page, "x")
    page.evaluate(
        """() => {
          const line = document.querySelector('#editor .line');
          line.lastChild.data = line.lastChild.data.replace("after", "behind");
        }"""
    )
    page.keyboard.press("Control+End")
    page.keyboard.type(" bed")
    whole = text(page)
    assert whole.endswith(" bed")
    # another document is opened
    compose(page, " fed")
    page.evaluate("location.hash = 'other'")
    shows(page, "")
    page.keyboard.type("new")
    saved(page)
    texts = f"{STORED}.map(({{ spans }}) => spans.map(({{ text }}) => text).join(''))"
    assert sorted(page.evaluate(texts)) == sorted([f"{whole} fed", "new"])
    # the page is hidden, and may be ended by the system
    compose(page, "er")
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    assert sorted(page.evaluate(texts)) == sorted([f"{whole} fed", "newer"])


def test_a_change_of_another_tab_during_a_composition(new_page: NewPage, server: Running) -> None:
    one = new_page(server.url)
    one.keyboard.type("a bad cab")
    saved(one)
    two = new_page(server.url, context=one.context)
    two.evaluate(
        """() => {
          const real = setTimeout;
          window.setTimeout = (work, rest) => real(work, rest === 400 ? 1500 : rest);
        }"""
    )
    two.keyboard.press("Home")
    two.keyboard.type("x")  # saved after the other tab
    compose(two, "kana")
    # the other tab has no focus, so that this one keeps its composition
    one.evaluate("document.getElementById('editor').focus()")
    one.context.new_cdp_session(one).send("Input.insertText", {"text": " faced"})
    whole = "xkanaa bad cab faced"
    shows(two, whole)
    two.keyboard.type("yz")
    whole = "xkanayza bad cab faced"
    assert (text(two), shown_after_reload(two)) == (whole, whole)
    shows(one, whole)
