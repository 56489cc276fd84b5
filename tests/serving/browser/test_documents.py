"""Documents in the browser: saving, reload, two tabs, files, a full disk, hostile text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.browser.writer import (
    PLAIN_HOST,
    accepted,
    announced,
    machine,
    saved,
    share_dialog,
    suggested,
    text,
    until,
)
from tests.serving.running import running

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow

HOSTILE = "\n".join(
    (
        "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">",
        "</script></article><!-- ]]> {{7*7}} ${7*7} &lt;b&gt; javascript:alert(1)",
        "\u202eright to left\u202c \u2066isolated שלום مرحبا",
        "w" * 5000,
        "e" + "\u0301" * 300 + " \x00 \x1b[31m \ufeff \U0001f600",
    )
)


def test_a_document_survives_a_reload(page: Page) -> None:
    page.fill("#title", "A bad cab")
    page.click("#editor")
    page.keyboard.type("a bad cab")
    accepted(page)
    whole, marked = text(page), machine(page)
    saved(page)
    page.reload()
    page.wait_for_selector("#editor mark")
    assert (text(page), machine(page)) == (whole, marked)
    assert page.input_value("#title") == "A bad cab"


def test_a_page_that_is_closed_at_once_loses_nothing(new_page: NewPage) -> None:
    page = new_page()
    page.keyboard.type("a bad cab faced")
    page.close(run_before_unload=True)
    assert text(new_page(context=page.context)) == "a bad cab faced"


def test_a_click_on_the_open_document_changes_nothing(page: Page) -> None:
    page.keyboard.type("a bad")
    saved(page)
    page.click("#toggle-documents")
    page.click("#editor")
    page.keyboard.press("Control+End")
    page.keyboard.type(" cab")  # not saved yet
    page.evaluate("document.querySelector('.documents .open').click()")
    assert (text(page), page.is_enabled("#undo")) == ("a bad cab", True)


def test_a_new_list_of_documents_keeps_the_focus(page: Page) -> None:
    focused = "document.activeElement.textContent"
    page.keyboard.type("first")
    page.click("#toggle-documents")
    page.click("#documents-panel .new")
    page.keyboard.type("second")  # the focus is in the text
    saved(page)
    page.focus(".documents .delete >> nth=1")
    page.keyboard.press("Enter")  # the list is shown again
    assert "Delete for good" in page.evaluate(focused)
    page.keyboard.press("Enter")
    page.wait_for_selector("#note:has-text('was deleted')")
    assert "second" in page.evaluate(focused)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    until(page, "document.querySelectorAll('.documents li').length === 0")
    assert "New document" in page.evaluate(focused)


def test_the_list_of_documents(page: Page) -> None:
    page.keyboard.type("first")
    page.click("#toggle-documents")
    assert page.locator(".documents .open strong").all_text_contents() == ["first"]
    page.click(".panel .new")
    page.keyboard.type("second")
    saved(page)  # the list is open still
    assert page.locator(".documents .open strong").all_text_contents() == ["second", "first"]
    page.click(".documents .open >> nth=1")
    suggested(page)  # the caret is at the end
    page.keyboard.press("Escape")
    page.keyboard.type("!")
    assert text(page) == "first!"
    page.click(".documents .delete >> nth=1")
    assert page.locator(".documents .open").count() == 2  # it asks first
    page.click(".documents .delete[data-sure]")
    assert page.locator(".documents .open strong").all_text_contents() == ["second"]
    assert text(page) == ""


FIFTY_TABS = """() => {
  const key = "ogpt.document." + location.hash.slice(1);
  const found = JSON.parse(localStorage.getItem(key));
  const seen = Object.fromEntries(Array.from({ length: 50 }, (_, tab) => [`tab ${tab}`, 1]));
  localStorage.setItem(key, JSON.stringify({ ...found, seen }));
}"""
"""The document was saved in so many tabs that the next one makes one entry of the first."""


def test_two_tabs_on_one_document(new_page: NewPage) -> None:
    one = new_page()
    one.keyboard.type("one")
    saved(one)
    one.evaluate(FIFTY_TABS)
    one.reload()
    two = new_page(context=one.context)
    assert text(two) == "one"
    two.keyboard.type(" two")
    saved(two)
    until(one, "document.querySelector('.line').textContent === 'one two'")
    # both change it before either is saved: both changes are in both tabs
    for page, words in ((one, " x"), (two, " y")):
        page.bring_to_front()
        page.click("#editor")
        page.keyboard.press("Control+End")
        page.keyboard.type(words)
    for page in (one, two):
        until(page, "/^one two( x y| y x)$/.test(document.querySelector('.line').textContent)")
    saved(two)
    kept = one.evaluate(
        """Object.entries(localStorage).filter(([key]) => key.startsWith("ogpt.document."))
           .map(([, value]) => JSON.parse(value).spans.map((span) => span.text).join(""))"""
    )
    assert kept == [text(one)] == [text(two)]
    # deleted in one tab: what is written in the other one is a new document
    one.click("#toggle-documents")
    one.click(".documents .delete")
    one.click(".documents .delete[data-sure]")
    one.wait_for_selector(".panel .none")
    two.bring_to_front()
    two.keyboard.type(" z")
    saved(two)
    one.wait_for_selector(".documents .open")
    assert " z" in (one.locator(".documents .open").text_content() or "")
    one.evaluate("location.hash = '0'.repeat(32)")
    one.wait_for_selector("#note:has-text('not in this browser')")


def test_a_browser_without_room(page: Page, tmp_path: Path) -> None:
    page.evaluate(
        """() => { Storage.prototype.setItem = () => {
             throw new DOMException("", "QuotaExceededError"); }; }"""
    )
    page.keyboard.type("a bad cab")
    page.wait_for_selector("#saved[data-kind=full]")
    assert "Not saved" in (page.locator("#saved").text_content() or "")
    # nothing takes the place of what is not saved
    page.click("#shuffle")
    page.wait_for_selector("#menu :text('Export as text')")
    assert "No room" in announced(page)
    page.click("#toggle-documents")
    page.click(".panel .new")
    path = tmp_path / "other.txt"
    path.write_text("other")
    page.set_input_files("#file", path)
    page.wait_for_selector("#note[data-kind=error]")
    assert text(page) == "a bad cab"
    page.context.set_offline(True)
    page.wait_for_selector("#away")
    assert page.is_hidden("#away .safe")
    page.context.set_offline(False)
    page.wait_for_selector("#away", state="hidden")
    asked: list[str] = []

    def answer(dialog: Any) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", answer)
    page.evaluate("location.reload()")
    page.wait_for_timeout(300)
    assert (asked, text(page)) == (["beforeunload"], "a bad cab")
    # a file is as good as a saved document
    page.keyboard.press("Escape")  # the menu and the panel
    exported(page, "txt")
    page.click("#toggle-documents")
    page.click(".panel .new")
    assert text(page) == ""


def test_two_tabs_without_room(page: Page) -> None:
    page.keyboard.type("one")
    saved(page)
    page.evaluate(
        """() => {
          const key = "ogpt.document." + location.hash.slice(1);
          const found = JSON.parse(localStorage.getItem(key));
          localStorage.setItem(key, JSON.stringify({ ...found, seen: { other: 1 } }));
          window.real = Storage.prototype.setItem;
          Storage.prototype.setItem = () => { throw new DOMException("", "QuotaExceededError"); };
        }"""
    )
    for words in (" two", " three"):
        page.keyboard.type(words)
        page.wait_for_timeout(600)  # each is tried
    assert page.get_attribute("#saved", "data-kind") == "full"
    assert (page.input_value("#title"), page.is_hidden("#note")) == ("", True)
    page.evaluate("() => { Storage.prototype.setItem = window.real; }")
    page.keyboard.type(" four")
    saved(page)
    assert page.input_value("#title") == "Untitled (second version)"
    page.wait_for_selector("#note:has-text('separate document')")


def test_a_page_over_plain_http(new_page: NewPage, small_folder: Path, tmp_path: Path) -> None:
    settings = {"allowed_hosts": [PLAIN_HOST], "documents": str(tmp_path / "kept.sqlite3")}
    with running({"small": small_folder}, **settings) as url:
        page = new_page(url.replace("127.0.0.1", PLAIN_HOST))
        assert page.evaluate("[isSecureContext, typeof crypto.randomUUID]") == [False, "undefined"]
        page.keyboard.type("a bad cab")
        accepted(page)
        saved(page)
        share_dialog(page)
        page.click(".readers .make")
        page.click(".readers .copy")
        page.wait_for_selector("#share-dialog .state:has-text('Ctrl+C')")
        link = page.evaluate("getSelection().toString()")
        assert link == page.input_value(".readers input")
        page.close()
    messages = new_page.messages  # type: ignore[attr-defined]
    assert all("Cross-Origin-Opener-Policy" in each for each in messages)  # for HTTPS only
    messages.clear()


STORED = """JSON.parse(localStorage.getItem("ogpt.document." + location.hash.slice(1)))"""


def exported(page: Page, name: str) -> tuple[str, Path]:
    page.click("#more")
    with page.expect_download() as download:
        page.click(f"[data-export={name}]")
    return download.value.suggested_filename, download.value.path()


RECORD = ("model", "model_hash", "seed", "settings", "index", "created")
"""What verifying needs, beside the prompt."""


def test_export_and_import(page: Page, new_page: NewPage) -> None:
    page.fill("#title", "Of <b>cabs</b>")
    page.click("#editor")
    page.keyboard.type("a *bad* cab")
    accepted(page)
    whole, marked = text(page), machine(page)
    name, path = exported(page, "txt")
    assert (name, path.read_text("utf-8")) == ("of-b-cabs-b.txt", whole)
    _, path = exported(page, "md")
    assert path.read_text("utf-8").startswith("# Of \\<b\\>cabs\\</b\\>\n\na \\*bad\\* cab")
    bold = marked[0].strip().replace("<", "\\<").replace(">", "\\>")
    assert f"**{bold}**" in path.read_text("utf-8")
    name, path = exported(page, "html")
    kept = path.with_name(name)
    path.rename(kept)
    other = new_page()
    other.set_input_files("#file", kept)
    other.wait_for_selector("#editor mark")
    assert (text(other), machine(other)) == (whole, marked)
    assert other.input_value("#title") == "Of <b>cabs</b>"
    assert exported(other, "html")[1].read_bytes() == kept.read_bytes()
    saved(other)
    [*_, span] = other.evaluate(STORED)["spans"]
    provenance = span["provenance"]
    assert set(provenance) == {*RECORD, "prompt"}
    # the exported page itself
    page.goto(kept.as_uri())
    assert page.locator("mark").all_text_contents() == marked
    page.press("summary", "Enter")
    assert "seed" in page.locator("details li").inner_text()
    assert "may include deleted words" in page.locator("footer p").inner_text()


def test_files_that_are_not_imported(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "damaged.html"
    path.write_text('<script type="application/json" id="ogpt-document">{"spans": [1]}</script>')
    page.set_input_files("#file", path)
    page.wait_for_selector("#note[data-kind=error]:has-text('damaged')")
    for size in (4_100_000, 8_100_000):
        path.write_bytes(b"a" * size)
        page.set_input_files("#file", path)
        page.wait_for_selector(f"#note:has-text('has {size / 1e6} MB; allowed: at most 4 MB')")
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    page.set_input_files("#file", path)
    page.wait_for_selector("#note:has-text('picture.png is not a text file.')")
    assert text(page) == ""


def test_files_of_other_encodings_and_markdown(page: Page, tmp_path: Path) -> None:
    path = tmp_path / f"{'long ' * 40}.md"
    words = "# Grüße aus **Köln**"
    for encoding in ("utf-8", "utf-16", "utf-16-be", "windows-1252"):
        start = "\ufeff" if encoding == "utf-16-be" else ""
        path.write_bytes(f"{start}{words} in {encoding}".encode(encoding))
        page.set_input_files("#file", path)
        until(page, f"document.querySelector('.line').textContent === '{words} in {encoding}'")
        page.wait_for_selector("#note:has-text('Its Markdown signs stay as they are')")
    assert len(page.input_value("#title")) == 200


OUTSIDE = {
    "seed": 1e308,
    "index": -5,
    "alternative": 0,
    "created": -1e999,
    "prompt": [1e308],
    "model_hash": "h",
    "settings": {"top_k": 1e999, "top_p": 0.5},
}


def test_a_file_with_values_outside_their_ranges(
    new_page: NewPage, server_with_documents: str, tmp_path: Path
) -> None:
    page = new_page(server_with_documents)
    path = tmp_path / "outside.html"
    spans = [{"text": "abc", "by": "machine", "provenance": OUTSIDE}]
    content = json.dumps({"title": {"a": 1}, "spans": spans}).replace("Infinity", "1e999")
    path.write_text(f'<script type="application/json" id="ogpt-document">{content}</script>')
    page.set_input_files("#file", path)
    saved(page, "server")
    assert page.input_value("#title") == ""
    provenance = page.evaluate(STORED)["spans"][0]["provenance"]
    assert provenance == {"model_hash": "h", "settings": {"top_p": 0.5}}


KNOWN = {"model": "small", "seed": 3, "settings": {"top_p": {"valueOf": 1}, "top_k": 5}}
"""With a setting that is neither text nor number."""


MARKDOWN = """async (text) => {
  const { markdown } = await import("./static/page/document_files.js");
  return markdown({ title: text, slice: { text, machine: [] } });
}"""


TYPED = [
    ("- a", "\\- a"),
    ("12. a", "12\\. a"),
    ("1) a 2) b", "1\\) a 2) b"),
    ("    code", "&#32;   code"),
    ("&lt; ~~~ a|b", "\\&lt; \\~\\~\\~ a\\|b"),
    ("[l](javascript:x)", "\\[l\\](javascript:x)"),
]
"""Texts, and the Markdown that shows them."""


def test_markdown_shows_what_was_typed(page: Page) -> None:
    for typed, expected in TYPED:
        assert page.evaluate(MARKDOWN, typed) == f"# {expected}\n\n{expected}\n"


EMPHASIS = """async (pieces) => {
  const { markdown } = await import("./static/page/document_files.js");
  const { sliceOf } = await import("./static/page/text_document.js");
  const by = (at) => (at % 2 ? "machine" : "human");
  return markdown({ title: "", slice: sliceOf(pieces.map((text, at) => ({ text, by: by(at) }))) });
}"""


BOLD = [
    (["cat", ", and then"], "cat, **and then**"),
    (["end", "” he said", "ly"], "end” **he said**ly"),
    (["", "(big,", "dog"], "**(big**,dog"),
    (["a ", "*b*", " c"], "a **\\*b\\*** c"),
    (["a", ".\n“b”", "\nc"], "a.\n\n**“b”**\n\nc"),
    (["a ", "one", "", " two"], "a **one two**"),
]
"""Pieces by a human and by a model in turn, and what CommonMark shows as bold."""


def test_markdown_is_bold_as_commonmark_reads_it(page: Page) -> None:
    for pieces, expected in BOLD:
        assert page.evaluate(EMPHASIS, pieces) == f"{expected}\n"


@pytest.mark.parametrize(
    "provenance",
    [
        {"settings": None},
        {"model": {"toString": 1}, "model_hash": [], "seed": {}},
        KNOWN,
    ],
)
def test_a_file_with_a_hostile_provenance(page: Page, tmp_path: Path, provenance: Any) -> None:
    content = {"title": "t", "spans": [{"text": "abc", "by": "machine", "provenance": provenance}]}
    path = tmp_path / "hostile.html"
    path.write_text(
        f'<script type="application/json" id="ogpt-document">{json.dumps(content)}</script>'
    )
    page.set_input_files("#file", path)
    page.wait_for_selector("#editor mark")
    page.click("#editor mark")
    page.keyboard.press("End")
    until(page, "document.getElementById('origin').value.startsWith('model ')")
    origin = page.evaluate("document.getElementById('origin').value")
    assert ("top-k 5, seed 3" in origin) == (provenance == KNOWN)
    assert "object" not in origin
    _, kept = exported(page, "html")
    assert "<mark title=" in kept.read_text("utf-8")


def test_hostile_text_is_text(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "hostile.txt"
    path.write_text(HOSTILE, "utf-8")
    page.set_input_files("#file", path)
    until(page, "document.querySelectorAll('#editor .line').length === 5")
    assert text(page) == HOSTILE
    page.click("#editor")
    page.keyboard.press("Control+End")
    page.keyboard.type(" end")
    assert text(page) == f"{HOSTILE} end"
    saved(page)
    _, exported_path = exported(page, "html")
    page.reload()
    until(page, "document.querySelectorAll('#editor .line').length === 5")
    assert text(page) == f"{HOSTILE} end"
    kept = exported_path.with_name("hostile.html")
    exported_path.rename(kept)
    page.goto(kept.as_uri())
    assert page.locator("script, img").count() == 1  # the document's data
    assert page.evaluate("document.title") == "hostile"
    # wide text does not make the page wide
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
