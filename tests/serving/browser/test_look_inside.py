"""Looking inside: colours of surprise for every word, alternatives, and swapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.browser.writer import accepted, machine, text, until

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

PLACES = """async ([pieces, text]) => {
  const { tokenPlaces } = await import("./static/page/token_places.js");
  return tokenPlaces(pieces, text).map((place) => place && text.slice(place.start, place.end));
}"""


@pytest.mark.parametrize(
    ("pieces", "typed", "expected"),
    [
        (["the", " li", "ght"], "The  Light", ["The", "Li", "ght"]),
        (['"', " i", " do", " n't"], "“I\n don’t", ["“", "I", "do", "n’t"]),
        (["wait", " ..."], "Wait…", ["Wait", "…"]),
        (["a", " \n", " b"], "a\nb", ["a", None, "b"]),
        (["a", " <unk>", " b"], "a 漢 b", ["a", None, "b"]),
        (["x", " y"], "😀x y", ["x", "y"]),
    ],
)
def test_tokens_are_found_in_the_text(
    page: Page, pieces: list[str], typed: str, expected: list[Any]
) -> None:
    assert page.evaluate(PLACES, [pieces, typed]) == expected


def test_colours_and_alternatives(page: Page) -> None:
    page.keyboard.type("A bad cab")
    accepted(page)
    whole, marked = text(page), machine(page)
    page.click("#inside")
    colours = "#editor [class*=level-]"
    page.wait_for_selector(colours)
    shown = "".join(page.locator(colours).all_text_contents()).replace(" ", "")
    assert shown in whole.replace(" ", "")
    assert (text(page), "".join(machine(page))) == (whole, "".join(marked))
    # by keyboard: the token before the caret
    page.click("#editor")
    page.keyboard.press("Control+Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    until(page, "document.getElementById('origin').value.includes('bits of surprise')")
    page.keyboard.press("Alt+ArrowDown")
    options = page.locator("#alternatives li button")
    assert page.locator("#alternatives .token").text_content() == "b"
    chances = page.locator("#alternatives .percent").all_text_contents()
    numbers = [float(each.strip("<% ")) for each in chances]
    assert numbers == sorted(numbers, reverse=True)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "editor"
    page.keyboard.press("Alt+ArrowDown")
    page.keyboard.press("ArrowDown")
    chosen = options.nth(1).locator("span").first.text_content() or ""
    page.keyboard.press("Enter")
    assert text(page).startswith(f"A {chosen}")
    page.keyboard.press("Control+z")
    assert text(page) == whole
    # by mouse, after a reload
    until(page, "document.getElementById('saved').value === 'Saved'")
    page.reload()
    page.wait_for_selector(colours)
    box = page.locator(colours).first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#alternatives")
    page.click("#inside")
    assert page.locator(colours).count() == 0


def test_scores_do_not_paint_over_a_composed_word(page: Page) -> None:
    page.keyboard.type("a bad cab ")
    page.evaluate(
        """() => {
          const real = window.fetch;
          window.held = 0;
          window.fetch = async (url, options) => {
            const answer = await real(url, options);
            if (String(url).endsWith("/v1/completions") && !window.released) {
              window.held += 1;
              await new Promise((resolve) => (window.release = resolve));
            }
            return answer;
          };
        }"""
    )
    page.click("#inside")
    until(page, "window.held === 1")
    page.click("#editor")
    page.keyboard.press("Control+End")
    keyboard = page.context.new_cdp_session(page)
    keyboard.send("Input.imeSetComposition", {"text": "か", "selectionStart": 1, "selectionEnd": 1})
    assert text(page) == "a bad cab か"
    page.evaluate("() => { window.released = true; window.release(); }")
    page.wait_for_timeout(300)
    assert text(page) == "a bad cab か"
    assert page.locator("#editor [class*=level-]").count() == 0
    keyboard.send("Input.insertText", {"text": "蚊"})
    page.wait_for_selector("#editor [class*=level-]")
    assert text(page) == "a bad cab 蚊"
