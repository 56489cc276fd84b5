"""Documents on the server: saved by themselves, written by several, and never lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ogpt.serving.documents.document_store import DocumentStore
from tests.serving.browser.writer import (
    announced,
    kept,
    lose_the_answer,
    saved,
    share_dialog,
    text,
    until,
)
from tests.serving.running import Running, running, started

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared_page(chromium: Browser, server: Running) -> Iterator[Page]:
    """A page whose modules are called."""
    page = chromium.new_page()
    page.goto(server.url)
    yield page
    page.close()


def shows(page: Page, words: str) -> None:
    """Wait until the page shows a text of one line; who comes back to a page sees it at once."""
    page.evaluate("dispatchEvent(new Event('focus'))")
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
        assert two.evaluate("document.activeElement.id") == "editor"
        one.click("#editor")
        one.keyboard.press("Control+End")
        two.keyboard.press("Control+Home")
        two.keyboard.type("a ")
        one.keyboard.type(" faced")
        for page in (one, two):
            saved(page, "server")
        for page in (one, two):
            shows(page, "a bad cab faced")
            page.keyboard.press("Control+End")
        assert kept(where) == ["a bad cab faced"]
        one.keyboard.press("Control+z")  # undo is of one's own words
        saved(one, "server")
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
        path.write_text("a bad cab " * 5_000)
        page.set_input_files("#file", path)
        page.wait_for_selector("#saved[data-kind=refused]")
        assert "the disk is full" in page.evaluate("document.getElementById('saved').value")
        assert "the disk is full" in announced(page)
        page.reload()
        until(page, "document.getElementById('editor').textContent.length === 50000")
        limit_pages(store, 10**6)
        page.click("#editor")
        page.keyboard.type("a")
        saved(page, "server")
        assert [len(each) for each in kept(where)] == [9, 50_001]
        page.close()
    new_page.messages.clear()  # type: ignore[attr-defined]


OLD = "a bad cab " * 59 + "a bad cab"


def test_a_full_browser_leaves_old_texts_to_the_server(
    new_page: NewPage, server_with_documents: str
) -> None:
    page = new_page(server_with_documents)
    page.keyboard.insert_text(OLD)
    page.click("#toggle-documents")
    page.click(".panel .new")  # before the server has the first one
    until(page, """Object.values(localStorage).some((each) => each.includes('"synced":true'))""")
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
    page.keyboard.insert_text("abcdef " * 60)
    saved(page, "server")
    spans = """Object.entries(localStorage).filter(([key]) => key.startsWith("ogpt.document."))
               .map(([, value]) => JSON.parse(value).spans)"""
    assert None in page.evaluate(spans)
    page.click(".documents .open:has-text('a bad cab')")
    shows(page, OLD)
    page.keyboard.type("!")  # the text has the focus when it arrives
    shows(page, f"{OLD}!")


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
        page.evaluate("location.hash = '#' + '0'.repeat(32) + '.' + '1'.repeat(48)")
        page.wait_for_selector("#note:has-text('cannot be opened')")
        page.keyboard.type("fed")
        saved(page, "browser")
    # one that has lost them: nothing is sent without being asked for
    other = str(tmp_path / "other.sqlite3")
    with running({"small": small_folder}, documents=other, port=int(url.rpartition(":")[2])):
        page.reload()
        saved(page, "server")  # a new one, which it never had
        page.click("#toggle-documents")
        page.wait_for_selector(".documents li:has-text('Only in this browser'):has-text('faced')")
        assert kept(other) == ["fed"]
        page.click(".documents .again")
        page.wait_for_selector("#note:has-text('with new links')")
        assert kept(other) == ["a bad cab faced", "fed"]
        assert (page.locator(".documents .where").count(), text(page)) == (0, "fed")
        page.click(".documents .open:has-text('faced')")
        saved(page, "server")
    with running({"small": small_folder}, documents=where, port=int(url.rpartition(":")[2])):
        page.reload()
        page.click("#toggle-documents")
        until(page, "document.querySelectorAll('.documents .again').length === 2")
        page.close()
    new_page.messages.clear()  # type: ignore[attr-defined]


MERGE = """async ([base, mine, theirs]) => {
  const { merged } = await import("/static/page/text_merge.js");
  const slice = (text) => {  // <...> is of a model
    const start = text.indexOf("<");
    if (start < 0) return { text, machine: [] };
    const end = text.indexOf(">") - 1;
    return { text: text.replace(/[<>]/g, ""), machine: [{ start, end, source: {} }] };
  };
  const found = merged(...[base, mine, theirs].map(slice));
  return found && [found.text, ...found.machine.map(({ start, end }) => [start, end])];
}"""


LONG = "a bad cab faced a dead bed, and a deed was fed."
FACES = "\U0001f600" * 40


@pytest.mark.parametrize(
    ("base", "mine", "theirs", "joined"),
    [
        ("a b", "a b", "a c", ["a c"]),
        ("a b", "a c", "a b", ["a c"]),
        ("a b", "a c", "a c", ["a c"]),
        ("one two", "1 one two", "one two 2", ["1 one two 2"]),
        ("one two", "one two mine", "one two theirs", ["one two theirs mine"]),
        ("one two three", "two three", "one two", ["two"]),
        ("one two", "one mine", "one theirs", None),
        ("one two three", "one three", "one 2 three", None),
        ("", "mine ", "theirs ", ["theirs mine "]),
        ("", "mine", "theirs", None),  # not one word of two
        ("the end", "then the end, the fed", "the big end", ["then the big end, the fed"]),
        ("they a", "they ant a", "they a to", ["they ant a to"]),
        ("the bee", "the beer", "the been", None),
        ("a. b", "a b", "a.b", None),
        ("x \U0001f600", "x \U0001f601", "y \U0001f600", ["y \U0001f601"]),
        ("x", "x\U0001f600", "x\U0001f601", ["x\U0001f601\U0001f600"]),
        (LONG, f"1 {LONG} 2", f"{LONG[:30]}three{LONG[30:]}", [f"1 {LONG[:30]}three{LONG[30:]} 2"]),
        (LONG, f"1 {LONG[:20]}", f"{LONG[:30]}three{LONG[30:]}", None),
        (
            FACES,
            f"1{FACES}2",
            f"{FACES[:20]}\U0001f601{FACES[21:]}",
            [f"1{FACES[:20]}\U0001f601{FACES[21:]}2"],
        ),
        ("a b", "a <b>", "a b", ["a b", [2, 3]]),
        ("a b", "a <b>", "1 a b", ["1 a b", [4, 5]]),
        ("a <b>", "a <b> c", "a b", ["a b c"]),
    ],
)
def test_what_two_writers_changed(
    shared_page: Page, base: str, mine: str, theirs: str, joined: list[object] | None
) -> None:
    assert shared_page.evaluate(MERGE, [base, mine, theirs]) == joined


WORDS = """async ([words, runs]) => {
  const { merged } = await import("/static/page/text_merge.js");
  const { humanSlice } = await import("/static/page/text_document.js");
  let seed = 1;
  const below = (end) => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return (seed >> 8) % end;
  };
  const text = (length) => Array.from({ length }, () => words[below(words.length)]);
  const changed = (base) => {
    const found = [...base];
    for (let left = 1 + below(2); left > 0; left -= 1) {
      found.splice(below(found.length + 1), below(3) ? 0 : 1, ...text(1 + below(2)));
    }
    return found;
  };
  const count = (found, word) => found.filter((each) => each === word).length;
  const [wrong, joined] = [[], []];
  for (let run = 0; run < runs; run += 1) {
    const base = text(1 + below(7));
    const [mine, theirs] = [changed(base), changed(base)];
    const [one, other] = [mine, theirs].map((each) => humanSlice(each.join(" ")));
    const found = merged(humanSlice(base.join(" ")), one, other)?.text;
    if (found === undefined || one.text === other.text) continue;
    joined.push(found);
    const all = found.split(" ");
    const right = (word) =>
      count(all, word) === count(mine, word) + count(theirs, word) - count(base, word);
    if (!words.every(right)) wrong.push([base, mine, theirs, all].map((each) => each.join(" ")));
  }
  return [joined.length, wrong.slice(0, 3)];
}"""
ALIKE = [
    "the",
    "then",
    "there",
    "they",
    "a",
    "an",
    "ant",
    "and",
    "to",
    "too",
    "two",
    "he",
    "her",
    "here",
    "was",
    "were",
]


def test_words_that_begin_alike_stay_whole(shared_page: Page) -> None:
    """A joined text has each word as often as the writers put it there."""
    joined, wrong = shared_page.evaluate(WORDS, [ALIKE, 5000])
    assert wrong == []
    assert joined > 1500


REBASE = """async ([words, change]) => {
  const { History } = await import("/static/page/history.js");
  const { TextDocument, humanSlice } = await import("/static/page/text_document.js");
  const history = new History();
  const document = new TextDocument(humanSlice("0123456789"));
  const edit = (start, end, text) => {
    const inserted = humanSlice(text);
    const removed = document.replace(start, end, inserted);
    return { start, removed, inserted, kind: "other", before: { start } };
  };
  for (const each of words) history.add(edit(...each));
  const [start, end, text] = change;
  edit(start, end, text);
  history.rebase(start, end, text.length);
  for (let undone = history.undo(); undone; undone = history.undo()) {
    edit(undone.start, undone.start + undone.inserted.text.length, undone.removed.text);
  }
  return document.text;
}"""


@pytest.mark.parametrize(
    ("words", "change", "left"),
    [
        ([[3, 3, "mine"], [8, 10, ""]], [0, 0, "theirs "], "theirs 0123456789"),
        ([[3, 3, "mine"], [8, 10, ""]], [12, 12, " theirs"], "0123456789 theirs"),
        ([[3, 5, "mine"], [0, 1, "zero"]], [4, 6, "-"], "0-3456789"),
        ([[9, 9, "a"], [3, 3, "mine"]], [4, 6, "-"], "012m-e345678a9"),
    ],
)
def test_undo_leaves_changes_of_others_alone(
    shared_page: Page, words: list[list[object]], change: list[object], left: str
) -> None:
    assert shared_page.evaluate(REBASE, [words, change]) == left
