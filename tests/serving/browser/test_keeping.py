"""Documents on the server: saved by themselves, written by several, and never lost."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ogpt.serving.documents.document_store import DocumentStore
from tests.serving.browser.writer import announced, saved, share_dialog, text, until
from tests.serving.running import running, started

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow


def kept(where: str) -> list[str]:
    """Texts of all documents that the server keeps."""
    with closing(DocumentStore.open(where)) as store:
        contents = [json.loads(row["content"]) for row in store.rows()]
    return sorted("".join(span["text"] for span in each["spans"]) for each in contents)


def lose_the_answer(route: Route) -> None:
    """The server gets the request, and the page no answer."""
    route.fetch()
    route.abort()


def shows(page: Page, words: str) -> None:
    """Wait until the page shows a text of one line."""
    until(page, f"document.getElementById('editor').innerText.trim() === {json.dumps(words)}")


def test_words_survive_a_server_that_is_gone(
    new_page: NewPage, small_folder: Path, tmp_path: Path
) -> None:
    where = str(tmp_path / "kept.sqlite3")
    with running({"small": small_folder}, documents=where) as url:
        page = new_page(url)
        page.keyboard.type("a bad cab")
        saved(page, "server")
        assert kept(where) == ["a bad cab"]
    page.keyboard.type(" faced")
    page.wait_for_selector("#away")
    saved(page, "browser")
    port = int(url.rpartition(":")[2])
    with running({"small": small_folder}, documents=where, port=port):
        saved(page, "server")
        assert kept(where) == ["a bad cab faced"]
        # an answer that is lost: the page does not know that the server has saved
        page.route("**/documents/*", lose_the_answer, times=1)
        page.keyboard.type(" a")
        page.wait_for_selector("#away")
        page.keyboard.type(" deed")
        saved(page, "server")
        assert (kept(where), page.input_value("#title")) == (["a bad cab faced a deed"], "")
        # a page that is closed at once
        page.keyboard.type(" bed")
        page.close(run_before_unload=True)
        again = new_page(url, context=page.context)
        saved(again, "server")
        whole = "a bad cab faced a deed bed"
        assert (text(again), kept(where)) == (whole, [whole])
        again.close()
    new_page.messages.clear()  # type: ignore[attr-defined]  # the browser's own, of what failed


def test_two_browsers_write_one_document(
    new_page: NewPage, small_folder: Path, tmp_path: Path
) -> None:
    where = str(tmp_path / "kept.sqlite3")
    with running({"small": small_folder}, documents=where) as url:
        one, two = new_page(url), new_page(url)
        one.keyboard.type("bad cab")
        share_dialog(one)
        link = one.input_value(".writers input")
        one.keyboard.press("Escape")
        two.goto(link)
        shows(two, "bad cab")
        assert "." not in two.evaluate("location.hash"), "the key is not shown"
        # both at once, in different places and in the same one
        for page in (one, two):
            page.click("#editor")
            page.keyboard.press("Control+End")
        two.keyboard.press("Control+Home")
        two.keyboard.type("a ")
        one.keyboard.type(" faced")
        for page in (one, two):
            shows(page, "a bad cab faced")
            page.keyboard.press("Control+End")
        assert kept(where) == ["a bad cab faced"]
        one.keyboard.press("Control+z")  # undo is of one's own words
        for page in (one, two):
            shows(page, "a bad cab")
        one.keyboard.press("Control+Shift+z")
        # the same words: both texts are kept
        for page, words in ((one, "ebb"), (two, "fed")):
            page.context.set_offline(True)
            page.keyboard.press("Control+A")
            page.keyboard.type(words)
            saved(page, "browser")
        for page in (one, two):
            page.context.set_offline(False)
            saved(page, "server")
        assert kept(where) == ["ebb", "fed"]
        assert two.input_value("#title") == "Untitled (second version)"
        # a link that is revoked, while a third browser has it open
        three = new_page(url)
        three.goto(link)
        shows(three, "ebb")
        share_dialog(one)
        one.click(".writers .revoke")
        until(one, f"document.querySelector('.writers input').value !== '{link}'")
        one.keyboard.press("Escape")
        three.click("#editor")
        three.keyboard.press("Control+End")
        three.keyboard.type(" bed")
        three.wait_for_selector("#note:has-text('edit link revoked')")
        saved(three, "server")
        assert kept(where) == ["ebb", "ebb bed", "fed"]
        three.goto(link)
        three.wait_for_selector("#note:has-text('does not work')")
        assert text(three) == ""
        # deleted for everybody
        one.click("#toggle-documents")
        one.click(".documents .delete")
        assert one.locator(".documents .delete").text_content() == "Delete for everybody?"
        one.click(".documents .delete[data-sure]")
        one.wait_for_selector("#note:has-text('was deleted')")
        assert kept(where) == ["ebb bed", "fed"]
        for page in (one, two, three):
            page.close()
    new_page.messages.clear()  # type: ignore[attr-defined]


def limit_pages(store: DocumentStore, most: int) -> None:
    """Set the size of the disk, as far as the database knows."""
    with store._readers.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")


def test_a_full_disk_of_the_server(new_page: NewPage, small_folder: Path, tmp_path: Path) -> None:
    where = str(tmp_path / "kept.sqlite3")
    with started({"small": small_folder}, documents=where) as found:
        page = new_page(found.url)
        page.keyboard.type("a bad cab")
        saved(page, "server")
        store: DocumentStore = found.server.config.app.state.documents  # type: ignore[union-attr]
        limit_pages(store, 1)  # not less than it has
        path = tmp_path / "long.txt"
        path.write_text("a bad cab " * 50_000)
        page.set_input_files("#file", path)
        page.wait_for_selector("#saved[data-kind=refused]")
        assert "the disk is full" in page.evaluate("document.getElementById('saved').value")
        assert "the disk is full" in announced(page)
        page.reload()
        until(page, "document.getElementById('editor').textContent.length === 500000")
        limit_pages(store, 10**6)
        page.click("#editor")
        page.keyboard.type("a")
        saved(page, "server")
        assert [len(each) for each in kept(where)] == [9, 500_001]
        page.close()
    new_page.messages.clear()  # type: ignore[attr-defined]


OLD = "a bad cab " * 59 + "a bad cab"


def test_a_full_browser_leaves_old_texts_to_the_server(
    new_page: NewPage, server_with_documents: str
) -> None:
    page = new_page(server_with_documents)
    page.keyboard.type(OLD)
    saved(page, "server")
    page.click("#toggle-documents")
    page.click(".panel .new")
    page.evaluate(
        """() => {
          const real = Storage.prototype.setItem;
          Storage.prototype.setItem = function (key, value) {
            const all = Object.entries(localStorage).filter(([name]) => name !== key);
            const size = all.reduce((sum, [, each]) => sum + each.length, value.length);
            if (size > 1500) throw new DOMException("", "QuotaExceededError");
            real.call(this, key, value);
          };
        }"""
    )
    page.click("#editor")
    page.keyboard.type("abcdef " * 60)
    saved(page, "server")
    spans = """Object.entries(localStorage).filter(([key]) => key.startsWith("ogpt.document."))
               .map(([, value]) => JSON.parse(value).spans)"""
    assert None in page.evaluate(spans)
    page.click(".documents .open:has-text('a bad cab')")
    shows(page, OLD)
    assert page.get_attribute("#editor", "contenteditable") == "true"


def test_a_server_that_no_longer_keeps_documents(
    new_page: NewPage, small_folder: Path, tmp_path: Path
) -> None:
    where = str(tmp_path / "kept.sqlite3")
    with running({"small": small_folder}, documents=where) as url:
        page = new_page(url)
        page.keyboard.type("a bad cab")
        saved(page, "server")
    with running({"small": small_folder}, port=int(url.rpartition(":")[2])):
        page.keyboard.type(" faced")
        saved(page, "browser")
        page.wait_for_selector("#away", state="hidden")
        page.click("#more")
        assert page.is_hidden("#share-text")
        assert (text(page), kept(where)) == ("a bad cab faced", ["a bad cab"])
        page.close()
    new_page.messages.clear()  # type: ignore[attr-defined]
