"""What a writer sees and does on the page."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING

from ogpt.serving.documents.document_store import DocumentStore

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

PATIENCE = 30
"""Seconds until a test that waits has failed."""
PLAIN_HOST = "writing.test"
"""This machine, under a name that is no secure context over plain HTTP."""
SUGGESTIONS = "#suggestions li"
STORED = """Object.entries(localStorage).filter(([key]) => key.startsWith("ogpt.document."))
            .map(([, value]) => JSON.parse(value))"""
"""All documents of the browser, in JavaScript."""
ENDED = "#suggestions[aria-busy=false]"


def until(page: Page, expression: str) -> None:
    """Wait until an expression of JavaScript is true; the page's policy allows no `eval` in it."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(expression):
        assert time.monotonic() < end, f"it does not happen: {expression}"
        page.wait_for_timeout(30)


def text(page: Page) -> str:
    """The text as the page shows it: a block for each line."""
    lines: list[str] = page.eval_on_selector_all(
        "#editor > .line", "lines => lines.map((line) => line.textContent)"
    )
    return "\n".join(lines)


def shows(page: Page, words: str) -> None:
    """Wait until the page shows a text of one line."""
    until(page, f"document.getElementById('editor').textContent === {json.dumps(words)}")


def machine(page: Page) -> list[str]:
    """The parts that are marked as the model's."""
    return page.locator("#editor mark").all_text_contents()


def suggested(page: Page) -> list[str]:
    """Ask with Tab, and wait for all suggestions."""
    page.keyboard.press("Tab")
    page.wait_for_selector(ENDED)
    return page.locator(f"{SUGGESTIONS} .text").all_text_contents()


def accepted(page: Page) -> str:
    """Ask, and accept the first suggestion."""
    first = suggested(page)[0]
    page.keyboard.press("Enter")
    page.wait_for_selector("#suggestions", state="hidden")
    return first


def saved(page: Page, where: str = "") -> None:
    """Wait until the document is saved: anywhere, or on the "server" or in the "browser"."""
    value = "document.getElementById('saved').value"
    kinds = {"": "startsWith('Saved')", "server": "match(/^Saved$/)"}
    kinds["browser"] = "startsWith('Saved in this browser')"
    until(page, f"{value}.{kinds[where]}")


def announced(page: Page) -> str:
    """The last message for screen readers."""
    return page.locator("#live").text_content() or ""


def share_dialog(page: Page) -> None:
    """Open the dialog of the links."""
    page.click("#more")
    page.click("#share-text")
    page.wait_for_selector("#share-dialog[open]")


def kept(where: str) -> list[str]:
    """Texts of all documents that the server keeps."""
    with closing(DocumentStore.open(where)) as store:
        contents = [json.loads(row["content"]) for row in store.rows()]
    return sorted("".join(span["text"] for span in each["spans"]) for each in contents)


def lose_the_answer(route: Route) -> None:
    """The server gets the request, and the page no answer."""
    route.fetch()
    route.abort()
