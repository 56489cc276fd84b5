"""Several tabs and browsers with one document, and a server that answers badly: no word is lost or
doubled, and the page says where the text is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.browser.writer import STORED, accepted, saved, share_dialog, shows, text, until
from tests.serving.calls import CLIENT

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage
    from tests.serving.running import Running

pytestmark = pytest.mark.slow


def stored(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(STORED)
    return found


COMMON = """async ([one, other, ...bases]) => {
  const { Bases } = await import("/static/page/versions.js");
  const version = (seen) => ({ seen });
  return new Bases(...bases.map(version)).common(version(one), version(other))?.seen ?? null;
}"""


FOLDED = """async (all) => {
  const { folded } = await import("/static/page/versions.js");
  return all.map(folded);
}"""


def test_texts_are_joined_on_the_newest_version_that_both_have(
    new_page: NewPage, server: Running
) -> None:
    page = new_page(server.url)
    one, two = {"a": 1}, {"a": 2}
    mine, theirs = {"a": 2, "b": 1}, {"a": 2, "c": 1}
    for versions, base in (
        ([one, two], one),
        ([mine, theirs, one, two], two),  # an older one would double what both have
        ([mine, theirs, one], None),
        ([mine, theirs, mine], None),  # theirs has not all of it
        ([{"b": 1}, {"c": 1}, {}], None),
    ):
        assert page.evaluate(COMMON, versions) == base
    # of more than 50 tabs, the first 25 become one entry
    tabs = {f"{tab:02}-": 1 for tab in range(50)}
    [new, newer] = page.evaluate(FOLDED, [{**tabs, "a": 1}, {**tabs, "a": 1, "b": 1}])
    assert len(new) == 27  # with "a", and the entry of 25
    assert page.evaluate(COMMON, [tabs, new]) == tabs
    for mine, base in (({**tabs, "c": 1}, tabs), ({**tabs, "b": 1, "c": 1}, None)):
        assert page.evaluate(COMMON, [mine, newer, tabs]) == base
        assert page.evaluate(COMMON, [newer, mine, tabs]) == base
    old = {**tabs, "00-": 0, "c": 1}  # lacks a save that is folded: nothing is certain
    assert page.evaluate(COMMON, [old, new, {**tabs, "00-": 0}]) is None


HOLD = """() => {
  const key = "ogpt.document." + location.hash.slice(1);
  const { getItem } = Storage.prototype;
  const old = getItem.call(localStorage, key);
  const name = Object.getOwnPropertyDescriptor(StorageEvent.prototype, "key");
  Object.defineProperty(StorageEvent.prototype, "key", {
    get() { return window.held ? null : name.get.call(this); },
  });
  Storage.prototype.getItem = function (asked) {
    return window.held && asked === key ? old : getItem.call(this, asked);
  };
  window.held = true;
}"""
"""The tab hears and sees nothing of other tabs, as where two save at the same moment."""


def at_end(page: Page, words: str) -> None:
    page.bring_to_front()
    page.click("#editor")
    page.keyboard.press("Control+End")
    page.keyboard.type(words)


def test_tabs_that_save_at_the_same_moment(new_page: NewPage, server_with_documents: str) -> None:
    one = new_page(server_with_documents)
    one.keyboard.type("one")
    share_dialog(one)
    link = one.input_value(".writers input")
    one.keyboard.press("Escape")
    two = new_page(context=one.context, url=server_with_documents)
    shows(two, "one")
    one.context.set_offline(True)
    at_end(one, " A1")
    shows(two, "one A1")  # both have what the server has not
    saved(one, "browser")
    two.evaluate(HOLD)
    at_end(one, " A2")
    at_end(two, " B2")
    shows(one, "one A1 B2 A2")
    two.evaluate("() => { window.held = false; }")
    two.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    shows(two, "one A1 B2 A2")
    # two tabs of another browser open the link at once: one gets the text from the other
    three = new_page(server_with_documents)
    three.route("**/documents/*", lambda route: None)
    three.goto(link)
    until(three, "document.getElementById('saved').value === 'Opening…'")
    four = new_page(context=three.context, url=server_with_documents)
    four.goto(link)
    three.unroute("**/documents/*")  # which lets go what waits
    shows(four, "one")
    at_end(four, " C")
    saved(four, "server")
    one.context.set_offline(False)
    for page in (one, two, three):
        page.evaluate("dispatchEvent(new Event('focus'))")
        shows(page, "one C A1 B2 A2")
    assert [len(stored(page)) for page in (one, three)] == [1, 1]
    new_page.messages.clear()  # type: ignore[attr-defined]  # requests without a network


def test_saving_starts_again_after_any_answer(
    new_page: NewPage, server_with_documents: str
) -> None:
    page = new_page(server_with_documents)
    page.route(
        "**/documents/*", lambda route: route.fulfill(body="<p>Please sign in.</p>"), times=1
    )
    page.keyboard.type("a bad cab")
    page.wait_for_selector("#note:has-text('could not be read')")
    saved(page, "server")
    wrong = {"error": {"message": "the API key is wrong", "param": None}}
    page.route("**/documents/*", lambda route: route.fulfill(status=401, json=wrong), times=1)
    page.keyboard.type(" faced")
    until(page, "document.getElementById('saved').value.includes('asks for a key')")
    saved(page, "server")
    refusal = {"error": {"message": "the engine restarts", "param": None}}
    for path in ("**/v1/models", "**/documents"):
        page.route(path, lambda route: route.fulfill(status=503, json=refusal), times=1)
    page.reload()
    page.click("#editor")
    page.wait_for_selector("#saved[data-kind=refused]")
    accepted(page)  # before the models are known
    hashes = f"{STORED}.flatMap(({{ spans }}) => spans.map((each) => each.provenance?.model_hash))"
    until(page, f"{hashes}.some(Boolean)")
    saved(page, "server")
    new_page.messages.clear()  # type: ignore[attr-defined]


def test_the_last_copy_is_kept(new_page: NewPage, server_with_documents: str) -> None:
    page = new_page(server_with_documents)
    page.keyboard.type("a bad cab")
    saved(page, "server")
    [found] = stored(page)
    address = f"{server_with_documents}/documents/{found['id']}"
    assert CLIENT.delete(address, headers={"Edit-Key": found["key"]}).is_success
    page.reload()
    until(page, "document.getElementById('saved').value === 'Saved in this browser only'")
    [kept] = stored(page)
    # a text with "synced" could make room for others
    assert (kept["synced"], kept["lost"], text(page)) == (False, True, "a bad cab")
    at_end(page, " faced")
    saved(page, "server")
    [kept] = stored(page)
    assert (kept["synced"], kept["lost"], kept["id"] == found["id"]) == (True, False, False)
    # deleted in another tab
    other = new_page(context=page.context, url=server_with_documents)
    shows(other, "a bad cab faced")
    page.bring_to_front()
    page.click("#toggle-documents")
    page.click(".documents .delete")
    page.click(".documents .delete[data-sure]")
    other.wait_for_selector("#note:has-text('deleted in another tab')")
    assert "Not saved" in other.evaluate("document.getElementById('saved').value")
    at_end(other, "!")
    saved(other, "server")
    assert [each["spans"][0]["text"] for each in stored(other)] == ["a bad cab faced!"]
    new_page.messages.clear()  # type: ignore[attr-defined]  # 404


def test_a_text_without_room_here_is_sent_once(
    new_page: NewPage, server_with_documents: str
) -> None:
    page = new_page(server_with_documents)
    page.evaluate(
        """() => {
          const real = Storage.prototype.setItem;
          Storage.prototype.setItem = function (key, value) {
            if (value.length > 700) throw new DOMException("", "QuotaExceededError");
            real.call(this, key, value);
          };
        }"""
    )
    words = "abcdef " * 120
    page.keyboard.insert_text(words)
    until(page, "document.getElementById('saved').value === 'Saved on the server only'")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    page.wait_for_timeout(2000)
    assert "PUT" not in sent
    # it can be left: its key is here, and its text comes from the server
    page.click("#toggle-documents")
    page.click(".panel .new")
    assert (text(page), stored(page)[0]["spans"]) == ("", None)
    page.click(".documents .open:has-text('abcdef')")
    shows(page, words)


def test_one_tab_moves_to_another_document_with_the_other(
    new_page: NewPage, server_with_documents: str
) -> None:
    """The edit key was changed elsewhere: the text of both tabs becomes one other document."""
    one = new_page(server_with_documents)
    one.keyboard.type("one.")
    saved(one, "server")
    [found] = stored(one)
    two = new_page(context=one.context, url=server_with_documents)
    shows(two, "one.")
    address = f"{server_with_documents}/documents/{found['id']}/edit-key"
    key = {"Edit-Key": found["key"]}
    assert CLIENT.put(address, headers=key, json={"edit_key": "n" * 32}).is_success
    at_end(one, " A")
    for page in (one, two):  # one of them makes it, and the other follows
        until(page, f"!location.hash.includes('{found['id']}')")
    at_end(two, " B")
    shows(one, "one. A B")
    saved(two, "server")
    texts = {each["id"]: each["spans"][0]["text"] for each in stored(two)}
    assert list(texts.values()) == ["one. A B"]
    assert {page.evaluate("location.hash.slice(1)") for page in (one, two)} == set(texts)
    new_page.messages.clear()  # type: ignore[attr-defined]  # 404


def test_a_title_that_is_being_composed(new_page: NewPage, server_with_documents: str) -> None:
    one = new_page(server_with_documents)
    one.keyboard.type("one.")
    one.fill("#title", "Alpha")
    saved(one)
    two = new_page(context=one.context, url=server_with_documents)
    shows(two, "one.")
    two.bring_to_front()
    two.click("#title")
    two.keyboard.press("End")
    keyboard = two.context.new_cdp_session(two)
    place = {"selectionStart": 5, "selectionEnd": 5}
    keyboard.send("Input.imeSetComposition", {"text": " kana", **place})
    one.fill("#title", "Beta")
    saved(one)
    two.wait_for_timeout(300)  # the other tab has heard of it
    assert two.input_value("#title") == "Alpha kana"
    keyboard.send("Input.insertText", {"text": " kana"})
    for page in (one, two):
        until(page, "document.getElementById('title').value === 'Beta / Alpha kana'")
