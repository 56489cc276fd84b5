"""Writing with the model: typing, suggestions by keyboard and mouse, undo, regenerate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.serving.browser.writer import (
    ENDED,
    SUGGESTIONS,
    accepted,
    announced,
    machine,
    saved,
    shows,
    suggested,
    text,
    until,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow

TYPED = "A  bad “cab” ,\n\n  Faced a Bead…  "


def test_what_is_typed_stays_as_it_is(page: Page) -> None:
    page.keyboard.type(TYPED)
    assert text(page) == TYPED
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.keyboard.press("Backspace")
    page.keyboard.insert_text("é")  # as an input method does
    assert text(page) == f"{TYPED[:-3]}é{TYPED[-3:]}"
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    assert (text(page), page.locator("#words").text_content()) == ("", "0 words") or text(
        page
    ) == ""


def test_a_suggestion_by_keyboard(page: Page) -> None:
    page.keyboard.type("a bad cab")
    first = suggested(page)
    assert len(first) == 3
    assert all(first)
    assert announced(page).startswith("3 suggestions")
    assert suggested(page) != first  # Tab again: others
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    third = page.locator(f"{SUGGESTIONS}[aria-selected=true] .text").text_content() or ""
    assert page.get_attribute("#editor", "aria-activedescendant") == "suggestion-3"
    page.keyboard.press("Enter")
    assert [part.strip() for part in machine(page)] == [third]
    assert text(page).startswith("a bad cab")
    page.keyboard.type(" bed")
    assert text(page).endswith(f"{third} bed")
    assert "by the model" in (
        page.wait_for_selector("#words:has-text('model')").text_content() or ""
    )


def test_escape_and_numbers_and_the_mouse(page: Page) -> None:
    page.keyboard.type("a bad cab")
    suggested(page)
    page.keyboard.press("Escape")
    page.wait_for_selector("#suggestions", state="hidden")
    assert machine(page) == []
    _, second, _ = suggested(page)
    page.keyboard.press("2")
    assert [part.strip() for part in machine(page)] == [second]
    page.keyboard.press("Control+z")
    assert text(page) == "a bad cab"
    _, _, third = suggested(page)
    page.hover(f"{SUGGESTIONS} >> nth=2")
    assert page.get_attribute("#editor", "aria-activedescendant") == "suggestion-3"
    page.click(f"{SUGGESTIONS} >> nth=2")
    assert [part.strip() for part in machine(page)] == [third]


def test_suggestions_in_the_middle_of_a_text(page: Page) -> None:
    page.keyboard.type("a bad cab")
    page.keyboard.press("Home")
    page.keyboard.press("Control+ArrowRight")
    page.keyboard.press("Control+ArrowRight")
    page.keyboard.press("Control+Space")
    page.wait_for_selector("#suggestions[aria-busy=false]")
    page.keyboard.press("Enter")
    [inside] = machine(page)
    assert text(page).startswith("a bad")
    assert text(page).endswith("cab")
    assert inside in text(page)


def test_undo_and_redo_know_who_wrote(page: Page) -> None:
    page.keyboard.type("a bad cab")
    accepted(page)
    whole, marked = text(page), machine(page)
    page.keyboard.press("Control+a")
    page.keyboard.press("Backspace")
    assert (text(page), machine(page)) == ("", [])
    page.click("#undo")
    assert (text(page), machine(page)) == (whole, marked)
    page.keyboard.press("Control+z")
    assert (text(page), machine(page)) == ("a bad cab", [])
    page.keyboard.press("Control+Shift+z")
    assert (text(page), machine(page)) == (whole, marked)
    for _ in range(9):
        page.keyboard.press("Control+z")
    assert text(page) == ""
    assert page.is_disabled("#undo")


def test_regenerate_replaces_what_the_model_wrote(page: Page) -> None:
    page.keyboard.type("a bad cab")
    accepted(page)
    whole, first = text(page), machine(page)
    page.click("#again")
    page.wait_for_selector(ENDED)
    page.keyboard.press("Escape")
    assert (text(page), machine(page)) == (whole, first)  # until another is accepted
    page.click("#again")
    page.wait_for_selector(ENDED)
    suggested(page)  # Tab: others for the same place
    chosen = page.locator(f"{SUGGESTIONS} .text").first.text_content()
    page.keyboard.press("Enter")
    [marked] = machine(page)
    assert (marked, text(page)) in ((chosen, f"a bad cab{gap}{chosen}") for gap in ("", " "))
    page.keyboard.press("Control+z")
    assert (text(page), machine(page)) == (whole, first)


def test_what_a_writer_changes_inside_machine_text_is_the_writers(page: Page) -> None:
    page.keyboard.type("a bad cab")
    accepted(page)
    whole = text(page)
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    page.keyboard.type("XY")
    assert text(page) == f"{whole[:-2]}XY{whole[-2:]}"
    assert len(machine(page)) == 2
    page.keyboard.press("Control+z")
    assert len(machine(page)) == 1


LISTEN = """() => addEventListener("paste", ({ clipboardData: data }) => {
  window.pasted = data.types.map((type) => data.getData(type));
}, true)"""


def test_copied_text_keeps_who_wrote_it(new_page: NewPage) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.keyboard.type("a bad cab")
    accepted(page)
    whole, [marked] = text(page), machine(page)
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+c")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Control+v")
    assert text(page) == whole * 2
    assert machine(page) == [marked, marked]
    other = new_page(context=page.context)
    other.evaluate(LISTEN)
    other.keyboard.press("Control+a")
    other.keyboard.press("Control+v")  # in another tab
    assert (text(other), machine(other)) == (whole, [marked])
    # other sites read the clipboard too
    assert not any('"prompt"' in each for each in other.evaluate("window.pasted"))
    page.bring_to_front()
    page.evaluate("navigator.clipboard.writeText('<b>x</b>\\r\\ny')")
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+v")
    assert (text(page), machine(page)) == ("<b>x</b>\ny", [])


PLACES = """() => {
  const node = document.querySelector("#editor .line").firstChild;
  return [[6, 10], [17, 22]].map(([start, end]) => {
    const range = document.createRange();
    range.setStart(node, start);
    range.setEnd(node, end);
    const { left, right, top, height } = range.getBoundingClientRect();
    return [left, right, top + height / 2];
  });
}"""


def test_words_that_are_dragged(page: Page) -> None:
    page.keyboard.type("alpha beta gamma delta")
    (left, right, middle), (_, end, _) = page.evaluate(PLACES)
    page.mouse.dblclick((left + right) / 2, middle)
    page.mouse.down()
    page.mouse.move(right + 20, middle, steps=3)
    page.mouse.move(end - 1, middle, steps=5)
    page.mouse.up()
    shows(page, "alpha  gamma deltabeta")
    page.keyboard.press("Control+z")
    assert text(page) == "alpha beta gamma delta"


def test_a_picture_does_not_replace_the_text(new_page: NewPage) -> None:
    page = new_page(permissions=["clipboard-read", "clipboard-write"])
    page.keyboard.type("a bad cab")
    page.evaluate(
        """async () => {
          const picture = await new OffscreenCanvas(1, 1).getContext("2d").canvas.convertToBlob();
          await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        }"""
    )
    page.keyboard.press("Control+a")
    page.keyboard.press("Control+v")
    page.keyboard.press("End")
    page.keyboard.type(".")
    assert text(page) == "a bad cab."


def test_tab_can_be_left_to_the_browser(page: Page) -> None:
    page.keyboard.type("a bad cab")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "editor"
    page.click("#toggle-settings")
    page.uncheck("input[name=tab]")
    page.click("#editor")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "editor"
    assert page.is_hidden("#suggestions")


@pytest.mark.parametrize("key", [None, "Escape", "an answer that ends early"])
def test_stop_keeps_what_has_arrived(page: Page, key: str | None) -> None:
    """Answers of a server that never ends."""
    event = '{"choices":[{"index":%d,"text":" bead","finish_reason":null}]}'
    page.add_init_script("")
    page.evaluate(
        """(event) => {
          const real = window.fetch;
          window.fetch = (url, options) => String(url).endsWith("/v1/completions")
            ? Promise.resolve(new Response(new ReadableStream({start(controller) {
                for (const index of [0, 1, 2]) controller.enqueue(new TextEncoder().encode(
                  `data: ${event.replace("%d", index)}\\n\\n`));
                window.cutOff = () => controller.close();
                options.signal.addEventListener("abort", () =>
                  controller.error(new DOMException("stopped", "AbortError")));
              }})))
            : real(url, options);
        }""",
        event,
    )
    page.keyboard.type("a bad")
    page.keyboard.press("Tab")
    page.wait_for_selector(f"{SUGGESTIONS}:has-text('bead') >> nth=2")
    if key == "Escape":
        page.keyboard.press(key)
    elif key:
        page.evaluate("window.cutOff()")
        page.wait_for_selector("#suggestions .warning:has-text('ended early')")
    else:
        page.click("#stop")
    page.wait_for_selector("#suggestions[aria-busy=false]")
    page.keyboard.press("Enter")
    assert (text(page), machine(page)) == ("a bad bead", ["bead"])  # no space is underlined


def test_a_list_that_the_writer_leaves_closes(page: Page) -> None:
    page.keyboard.type("a bad\ncab")
    suggested(page)
    page.keyboard.press("Control+Home")
    page.wait_for_selector("#suggestions", state="hidden")
    page.keyboard.press("Enter")
    assert text(page) == "\na bad\ncab"
    page.keyboard.press("Control+Home")
    page.keyboard.press("Tab")
    assert "move it after some words" in announced(page)
    page.keyboard.press("Control+End")
    for leave in ("#title", "#toggle-settings"):
        page.focus("#editor")
        suggested(page)
        page.click(leave)
        page.wait_for_selector("#suggestions", state="hidden")
    assert machine(page) == []


def test_an_empty_page_asks_for_words(page: Page) -> None:
    page.keyboard.press("Tab")
    assert "few words first" in announced(page)
    page.click("#shuffle")
    start = text(page)
    assert len(start) > 30
    page.click("#shuffle")
    assert text(page) != start
    page.keyboard.press("Control+z")
    assert text(page) == start
    # what was written stays: the example is a document beside it
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("灯台は十一年間暗かった" * 9)
    page.click("#shuffle")
    assert len(text(page)) > 30
    page.click("#toggle-documents")
    assert page.locator(".documents li").count() == 2


COUNTS = r"""async () => {
  const { TextDocument, humanSlice, machineSlice } = await import("/static/page/text_document.js");
  const parts = ["", " ", "a", "b\u00e9\u2019s", "-", "\n", "an 12 b", "\u{1d4b3}y", "\u706f"];
  let state = 7;
  const any = (number) => (state = (state * 48271) % 2147483647) % number;
  const text = new TextDocument();
  const wrong = [];
  for (let step = 0; step < 2000; step += 1) {
    const start = any(text.length + 1);
    const end = Math.min(text.length, start + any(4));
    const part = parts[any(parts.length)];
    text.replace(start, end, any(2) ? humanSlice(part) : machineSlice(part, {}));
    const kept = JSON.stringify(text.words());
    const whole = JSON.stringify(new TextDocument(text.slice()).words());
    if (kept !== whole) wrong.push(`${step}: ${kept}, not ${whole}`);
  }
  return { wrong, length: text.length };
}"""


def test_words_counted_edit_by_edit_are_those_of_the_whole(page: Page) -> None:
    found = page.evaluate(COUNTS)
    assert found["wrong"] == []
    assert found["length"] > 300


MARKED = """async (text) => {
  const { markedParts } = await import("/static/page/text_document.js");
  return markedParts(text);
}"""


def test_the_parts_of_a_text_that_are_marked(page: Page) -> None:
    for given in (" a bad\tcab  \n\n  faced.\n", "a  b", "a", " \n", ""):
        parts = page.evaluate(MARKED, given)
        assert "".join(parts) == given
        assert [part for part in parts[1::2] if part.split(" ") != part.split()] == []
        assert "".join(parts[::2]).strip() == ""


KEPT = """async (span) => {
  const { sliceOf, spansOf } = await import("/static/page/text_document.js");
  const { verifiable } = await import("/static/page/server_documents.js");
  const [kept] = spansOf(sliceOf([span]));
  return [kept, verifiable(kept.provenance)];
}"""


def test_provenance_of_other_clients_is_kept(page: Page) -> None:
    source = {"model": "small", "model_hash": "ab" * 32, "seed": 7}
    settings = {"max_tokens": 4, "stop": ["\n", "x"], "stop_token_ids": [5]}
    for prompt in ("a bad", [1, 2], []):
        provenance = {**source, "prompt": prompt, "settings": settings}
        span = {"text": " cab", "by": "machine", "provenance": provenance}
        assert page.evaluate(KEPT, span) == [span, True]
    hostile = {**source, "prompt": ["a"], "settings": {"stop": {"toString": 1}, "n": [[1, {}]]}}
    kept = {"text": "b", "by": "machine", "provenance": {**source, "settings": {}}}
    assert page.evaluate(KEPT, {**kept, "provenance": hostile}) == [kept, False]


def is_caret_in_view(page: Page) -> bool:
    found: bool = page.evaluate(
        """() => {
          const range = getSelection().getRangeAt(0);
          const [first] = range.getClientRects();
          const { top, bottom } = first ?? range.startContainer.getBoundingClientRect();
          const edge = (name) => document.querySelector(name).getBoundingClientRect();
          return top >= edge("header").bottom && bottom <= edge("footer").top;
        }"""
    )
    return found


def test_the_caret_stays_in_view(page: Page) -> None:
    for _ in range(60):
        page.keyboard.press("Enter")
    assert is_caret_in_view(page)
    page.keyboard.type("a bad cab")
    page.evaluate("scrollTo(0, 0)")
    assert not is_caret_in_view(page)
    page.keyboard.press("Control+z")
    assert is_caret_in_view(page)


def test_ghost_text(page: Page) -> None:
    page.click("#toggle-settings")
    page.check("input[name=ghost]")
    page.click("#editor")
    page.keyboard.type("a bad cab")
    page.wait_for_selector("#editor .ghost")
    assert (machine(page), page.locator("#words").text_content()) == ([], "3 words")
    until(page, "document.getElementById('live').textContent.includes('Suggestion')")
    ghost = page.locator("#editor .ghost").text_content() or ""
    page.keyboard.press("Control+ArrowRight")
    [word] = machine(page)
    assert ghost.strip().startswith(word)
    assert text(page) == f"a bad cab{ghost}"
    page.keyboard.press("Tab")
    assert (text(page), machine(page)) == (f"a bad cab{ghost}", [ghost.strip()])
    page.keyboard.type(".")
    page.wait_for_selector("#editor .ghost")
    page.keyboard.press("Escape")
    assert page.locator("#editor .ghost").count() == 0
    assert machine(page) == [ghost.strip()]
    # before a word
    page.keyboard.press("Control+a")
    page.keyboard.type("a bad cab")
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.wait_for_selector("#editor .ghost")
    until(page, "document.getElementById('stop').hidden")
    page.keyboard.press("Tab")
    assert len(machine(page)) == 1
    assert text(page).endswith(" cab")


def test_ghost_text_without_tab(page: Page) -> None:
    page.click("#toggle-settings")
    page.check("input[name=ghost]")
    page.uncheck("input[name=tab]")
    page.click("#editor")
    page.keyboard.type("a bad cab")
    page.wait_for_selector("#editor .ghost")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "editor"
    assert machine(page) == []
    page.click("#editor")
    page.keyboard.press("Control+End")
    page.keyboard.press("Control+Space")
    page.wait_for_selector(ENDED)
    assert page.locator("#editor .ghost").count() == 0
    page.keyboard.press("Enter")
    assert len(machine(page)) == 1


def test_changes_of_another_writer_leave_suggestions_alone(page: Page) -> None:
    page.click("#toggle-settings")
    page.check("input[name=ghost]")
    page.click("#editor")
    page.keyboard.type("a bad cab\nfaced ")
    ghost = page.locator("#editor .ghost")
    until(page, "document.getElementById('live').textContent.includes('Suggestion')")
    shown = ghost.text_content() or ""
    saved(page)
    other = page.context.new_page()
    other.goto(page.url)
    until(other, "document.activeElement.id === 'editor'")
    other.keyboard.press("Control+Home")
    other.keyboard.type("ebb ")
    until(page, "document.getElementById('editor').textContent.startsWith('ebb ')")
    assert (text(page), ghost.count()) == (f"ebb a bad cab\nfaced {shown}", 1)
    # text of an input method is taken in without the ghost
    keyboard = page.context.new_cdp_session(page)
    keyboard.send("Input.imeSetComposition", {"text": "e", "selectionStart": 1, "selectionEnd": 1})
    keyboard.send("Input.insertText", {"text": "e"})
    assert text(page) == "ebb a bad cab\nfaced e"
    # the list moves with its place
    page.keyboard.press("Control+Space")
    page.wait_for_selector(ENDED)
    other.keyboard.press("Control+Home")
    other.keyboard.type("bed\n")
    until(page, "document.getElementById('editor').textContent.startsWith('bed')")
    first = page.locator(f"{SUGGESTIONS} .text").first.text_content() or ""
    page.keyboard.press("Enter")
    assert [part.strip() for part in machine(page)] == [first]
    whole = text(page)
    assert whole.startswith("bed\nebb a bad cab\nfaced e")
    assert whole.endswith(first)
    # what changes at its place closes it
    page.keyboard.press("Control+Space")
    page.wait_for_selector(ENDED)
    until(
        other, f"document.getElementById('editor').innerText.trim().endsWith({json.dumps(first)})"
    )
    other.keyboard.press("Control+End")
    other.keyboard.type(" fed")
    page.wait_for_selector("#suggestions", state="hidden")
    # an edit before a ghost takes it away
    page.wait_for_selector("#editor .ghost")
    page.click("#undo")
    assert ghost.count() == 0
    assert text(page).endswith("faced e fed")
