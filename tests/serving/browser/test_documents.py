"""Documents in the browser: saving, reload, two tabs, files, a full disk, hostile text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving.browser.writer import accepted, machine, saved, text, until

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


def test_the_list_of_documents(page: Page) -> None:
    page.keyboard.type("first")
    page.click("#toggle-documents")
    assert page.locator(".documents .open strong").all_text_contents() == ["first"]
    page.click(".panel .new")
    page.click("#editor")
    page.keyboard.type("second")
    saved(page)  # the list is open still
    assert page.locator(".documents .open strong").all_text_contents() == ["second", "first"]
    page.click(".documents .open >> nth=1")
    assert text(page) == "first"
    page.click(".documents .delete >> nth=1")
    assert page.locator(".documents .open").count() == 2  # it asks first
    page.click(".documents .delete[data-sure]")
    assert page.locator(".documents .open strong").all_text_contents() == ["second"]
    assert text(page) == ""


def test_two_tabs_on_one_document(new_page: NewPage) -> None:
    one = new_page()
    one.keyboard.type("one")
    saved(one)
    two = new_page(context=one.context)
    assert text(two) == "one"
    two.keyboard.type(" two")
    saved(two)
    until(one, "document.querySelector('.line').textContent === 'one two'")
    # both change it before either is saved: nothing of either is lost
    for page, words in ((one, " x"), (two, " y")):
        page.bring_to_front()
        page.click("#editor")
        page.keyboard.press("Control+End")
        page.keyboard.type(words)
    saved(one)
    saved(two)
    kept = one.evaluate(
        """Object.entries(localStorage).filter(([key]) => key.startsWith("ogpt.document."))
           .map(([, value]) => JSON.parse(value).spans.map((span) => span.text).join(""))"""
    )
    whole = " ".join(kept)
    assert " x" in whole
    assert " y" in whole
    assert all(each.startswith("one two") for each in kept)


def test_a_browser_without_room(page: Page) -> None:
    page.evaluate(
        """() => { Storage.prototype.setItem = () => {
             throw new DOMException("", "QuotaExceededError"); }; }"""
    )
    page.keyboard.type("a bad cab")
    page.wait_for_selector("#saved[data-kind=full]")
    assert "Not saved" in (page.locator("#saved").text_content() or "")


STORED = """JSON.parse(localStorage.getItem("ogpt.document." + location.hash.slice(1)))"""


def exported(page: Page, name: str) -> tuple[str, Path]:
    page.click("#more")
    with page.expect_download() as download:
        page.click(f"[data-export={name}]")
    return download.value.suggested_filename, download.value.path()


def test_export_and_import(page: Page, new_page: NewPage) -> None:
    page.fill("#title", "Of <b>cabs</b>")
    page.click("#editor")
    page.keyboard.type("a *bad* cab")
    accepted(page)
    whole, marked = text(page), machine(page)
    name, path = exported(page, "txt")
    assert (name, path.read_text("utf-8")) == ("of-b-cabs-b.txt", whole)
    _, path = exported(page, "md")
    assert path.read_text("utf-8").startswith("# Of <b>cabs</b>\n\na \\*bad\\* cab")
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
    saved(other)
    [*_, span] = other.evaluate(STORED)["spans"]
    provenance = span["provenance"]
    assert {"model", "seed", "prompt", "settings", "index", "text", "created"} <= set(provenance)
    assert provenance["text"].strip() == marked[0].strip()
    # the exported page itself
    page.goto(kept.as_uri())
    assert page.locator("mark").all_text_contents() == marked
    assert "seed" in (page.get_attribute("mark", "title") or "")


def test_a_damaged_file(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "damaged.html"
    path.write_text('<script type="application/json" id="ogpt-document">{"spans": [1]}</script>')
    page.set_input_files("#file", path)
    page.wait_for_selector("#note[data-kind=error]")
    assert text(page) == ""


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
