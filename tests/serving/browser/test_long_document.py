"""A document of 50,000 words: a key changes one line of the page, so that typing stays quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.serving.browser.writer import machine, until

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

LINES = 600
WATCH = """() => {
  window.changed = new Set();
  const watch = (records) => records.forEach(({target}) => {
    const element = target.closest ? target : target.parentElement;
    window.changed.add(element?.closest(".line") ?? element);
  });
  const options = {childList: true, characterData: true, attributes: true, subtree: true};
  new MutationObserver(watch).observe(document.getElementById("editor"), options);
}"""


def test_50_000_words(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("\n".join(["a bad cab faced a dead bed " * 12] * LINES))
    page.set_input_files("#file", path)
    until(page, f"document.querySelectorAll('#editor .line').length === {LINES}")
    until(page, "document.getElementById('words').value === '50,400 words'")
    page.click(f"#editor .line >> nth={LINES // 2}")
    page.evaluate(WATCH)
    page.keyboard.type("a deed ")
    assert page.evaluate("[...window.changed].map((each) => each.className)") == ["line"]
    session = page.context.new_cdp_session(page)
    composed = {"text": "蚊", "selectionStart": 1, "selectionEnd": 1}
    session.send("Input.imeSetComposition", composed)
    session.send("Input.insertText", {"text": "蚊"})  # as an input method ends a word
    assert page.evaluate("[...window.changed].map((each) => each.className)") == ["line"]
    assert "a deed 蚊" in (page.locator(f"#editor .line >> nth={LINES // 2}").text_content() or "")
    page.keyboard.press("Control+Space")
    page.wait_for_selector("#suggestions[aria-busy=false]")
    page.keyboard.press("Enter")
    assert len(machine(page)) == 1
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+Home")
    page.keyboard.press("Enter")
    assert page.locator("#editor .line").count() == LINES + 1
