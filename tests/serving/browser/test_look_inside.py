"""Looking inside: colours of surprise for every word, alternatives, and swapping."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.serving.browser.writer import accepted, announced, machine, saved, text, until
from tests.serving.calls import CLIENT
from tests.serving.running import running
from tests.serving.small import save_small

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage

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


WHOLE = "#alternatives li button:not([aria-disabled])"


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
    word = "#alternatives :is(.word-before, .token, .word-after)"
    assert page.locator(word).all_text_contents() == ["", "b", "ad"]
    chances = page.locator("#alternatives .percent").all_text_contents()
    numbers = [float(each.strip("<% ")) for each in chances]
    assert numbers == sorted(numbers, reverse=True)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "editor"
    # a beginning of a word would break the word
    page.keyboard.press("Alt+ArrowDown")
    page.locator("#alternatives [aria-disabled]").first.press("Enter")
    assert "only begins a word" in announced(page)
    # a whole word takes the place of the whole word, and is the model's
    option = page.locator(WHOLE).first
    chosen = option.locator("span").first.text_content() or ""
    option.press("Enter")
    assert text(page) == f"A {chosen}{whole[5:]}"
    assert machine(page)[0] == chosen
    until(page, "document.getElementById('origin').value.includes('picked by hand')")
    page.click("#verify")
    page.wait_for_selector("#verify-dialog li[data-result=chosen]")
    page.keyboard.press("Escape")
    page.click("#undo")
    assert (text(page), "".join(machine(page))) == (whole, "".join(marked))
    # by mouse, after a reload
    saved(page)
    page.reload()
    page.wait_for_selector(colours)
    box = page.locator(colours).first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#alternatives")
    page.click("#inside")
    assert page.locator(colours).count() == 0


MOVED = """async ([old, start, end, added]) => {
  const { movedTokens } = await import("./static/page/token_places.js");
  const tokens = [...old.matchAll(/\\S+/g)].map(({ index, 0: word }) =>
    ({ start: index, end: index + word.length }));
  const text = old.slice(0, start) + added + old.slice(end);
  const moved = movedTokens(tokens, text, start, old.slice(start, end), added.length);
  return moved.map(({ start, end, stale }) => (stale ? "~" : "") + text.slice(start, end));
}"""


EDITS: list[tuple[str, tuple[int, int, str], list[str]]] = [
    ("a bad cab", (1, 1, "x"), ["~bad", "~cab"]),
    ("a bad cab", (5, 5, " x"), ["a", "bad", "~cab"]),
    ("a bad cab", (5, 6, ""), ["a"]),
    ("a bad  cab", (5, 6, ""), ["a", "bad", "~cab"]),
    ("a bad cab", (4, 5, ""), ["a", "~cab"]),
    ("a bad cab", (3, 8, "o o"), ["a"]),
    ("a bad cab", (2, 6, ""), ["a", "~cab"]),
    ("a bad cab", (9, 9, " x"), ["a", "bad", "cab"]),
    ("a\nbad\ncab", (0, 0, "x\n"), ["~a", "~bad", "~cab"]),
    ("a bad cab", (0, 9, ""), []),
]


def test_an_edit_moves_the_tokens_after_it(page: Page) -> None:
    for typed, edit, expected in EDITS:
        assert page.evaluate(MOVED, [typed, *edit]) == expected, (typed, edit)


def test_colours_and_lines_through_edits_streams_and_stops(page: Page) -> None:
    page.keyboard.type("a bad cab\na bed faced a cab")
    page.click("#inside")
    colours = "#editor [class*=level-]"
    page.wait_for_selector(colours)
    styles = page.eval_on_selector_all(
        "#legend span", "all => all.map((each) => getComputedStyle(each).borderBottomStyle)"
    )
    assert styles == ["none", "dotted", "dashed", "solid", "double"]
    until(page, f"document.querySelectorAll('{colours}').length >= 9")
    page.click("#editor")
    page.keyboard.press("Control+Home")
    page.keyboard.type("x ")  # what follows keeps its colours, and then gets new ones
    assert page.locator("#editor .line:nth-child(2) [class*=level-]").count() >= 5
    keyboard = page.context.new_cdp_session(page)
    keyboard.send("Input.imeSetComposition", {"text": "か", "selectionStart": 1, "selectionEnd": 1})
    keyboard.send("Input.insertText", {"text": "蚊 "})
    page.keyboard.press("Control+End")
    until(page, "document.getElementById('origin').value.includes('bits of surprise')")
    page.keyboard.press("Alt+ArrowDown")
    option = page.locator(WHOLE).first
    chosen = option.locator("span").first.text_content() or ""
    option.press("Enter")
    assert text(page) == f"x 蚊 a bad cab\na bed faced a ca{chosen}"
    page.keyboard.press("Control+z")
    # a request that runs, and one that was stopped, change no colour
    page.evaluate(
        """() => {
          const real = window.fetch;
          window.fetch = (url, options) => String(options?.body).includes('"stream":true')
            ? new Promise((_, refuse) => options.signal.addEventListener("abort",
                () => refuse(options.signal.reason)))
            : real(url, options);
        }"""
    )
    scored = "document.getElementById('editor').lastChild.lastChild.nodeType === 1"
    until(page, scored)
    before = page.locator("#editor").inner_html()
    page.keyboard.press("Tab")
    page.wait_for_selector("#suggestions[aria-busy=true]")
    assert page.locator(colours).count() >= 9
    page.click("#stop")
    page.keyboard.press("Escape")
    until(page, scored)
    assert page.locator("#editor").inner_html() == before


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


def attended(page: Page) -> None:
    """Open the attention of the last token of the text, by keyboard."""
    page.keyboard.type("a bad cab")
    page.click("#inside")
    page.wait_for_selector("#editor [class*=level-]")
    page.click("#editor")
    page.keyboard.press("Control+End")
    page.keyboard.press("Alt+ArrowDown")
    page.keyboard.press("ArrowUp")  # the last one in the card
    page.keyboard.press("Enter")
    until(page, "document.getElementById('attention-dialog').getAttribute('aria-busy') === 'false'")


def test_attention_by_layer_and_head(new_page: NewPage, tmp_path: Path) -> None:
    folder = save_small(tmp_path, n_layer=2)
    with running({"small": folder}, decoder="torch") as url:
        page = new_page(url, has_touch=True)
        attended(page)
        answer = CLIENT.post(f"{url}/v1/attention", json={"prompt": "a bad cab"}).json()
        expected = np.array(answer["attentions"])  # (layers, heads, tokens)

        def shows(shares: Any) -> bool:
            shown = page.locator("#attention-dialog .amount").all_text_contents()
            return shown == [f"{round(100 * one)}%" if one >= 0.01 else "" for one in shares]

        assert page.locator("#attention-title").text_content() == "Attention of “b”"
        assert shows(expected[1].mean(0))
        page.locator("#head").fill("2")
        assert shows(expected[1, 1])
        page.locator("#layer").fill("1")
        assert shows(expected[0, 1])
        assert not shows(expected[0, 0])
        most = page.locator("#attention-dialog .strongest").text_content() or ""
        assert most.startswith("Strongest: “")
        assert f"{round(100 * expected[0, 1].max())}%" in most
        page.click("#attention-dialog .map [data-layer='2'][data-head='3']")
        assert shows(expected[1, 2])
        assert (page.input_value("#layer"), page.input_value("#head")) == ("2", "3")
        page.locator("#layer").fill("1")
        page.click("#attention-dialog .previous")
        page.wait_for_selector("text='Attention of “a”'")
        assert page.locator("#attention-dialog li").count() == expected.shape[2] - 1
        assert page.input_value("#layer") == "1"
        page.click("#attention-dialog .next")  # which the last token does not have
        assert page.locator(":focus").text_content() == "Previous token"
        refusal = {"status": 503, "json": {"error": {"message": "no", "param": None}}}
        page.route("**/v1/attention", lambda route: route.fulfill(**refusal), times=1)
        page.keyboard.press("Enter")
        page.wait_for_selector("#attention-dialog .wrong")
        assert new_page.messages.pop().startswith("error: Failed")  # type: ignore[attr-defined]
        for _ in range(expected.shape[2] - 2):
            page.keyboard.press("Enter")
        assert page.locator(":focus").text_content() == "Next token"
        page.wait_for_selector("text='Attention of “a”'")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.id") == "editor"
        page.locator("#editor [class*=level-]").nth(1).tap()
        page.wait_for_timeout(400)  # it stays
        assert page.is_visible("#alternatives")
        assert page.locator("#alternatives .token").text_content() == "a"
        page.close()  # before its server


def test_a_decoder_without_attention(page: Page, new_page: NewPage) -> None:
    attended(page)
    assert "ogpt serve MODEL --decoder torch" in page.locator("#attention-dialog").inner_text()
    assert page.is_hidden("#attention-dialog .found")
    new_page.messages.clear()  # type: ignore[attr-defined]  # the refusal


def test_colours_leave_the_caret_where_it_is(page: Page) -> None:
    scored = "document.getElementById('editor').lastChild.lastChild.nodeType === 1"
    page.keyboard.type("a bad cab faced")
    page.click("#inside")
    until(page, scored)
    # without the focus: what is asked for continues the whole text
    with page.expect_request("**/v1/completions") as request:
        page.click("#suggest")
    assert json.loads(request.value.post_data or "")["prompt"] == "a bad cab faced"
    page.keyboard.press("Escape")
    # with it: typing continues after the colours have come
    page.keyboard.type(" bead")
    until(page, scored)
    page.keyboard.type(" ha")
    assert text(page) == "a bad cab faced bead ha"
    until(page, scored)
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.type("g")
    page.click("#title")  # the colours come while the focus is elsewhere
    # of 19 letters, all but the first one
    middle = "document.querySelectorAll('#editor [class*=level-]').length === 18"
    until(page, middle)
    page.focus("#editor")
    page.keyboard.type("c")
    assert text(page) == "a bad cab faced beadgc ha"
