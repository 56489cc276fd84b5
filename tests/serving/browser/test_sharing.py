"""Sharing a page for readers, deleting, and verifying text of models."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.serving.browser.writer import (
    STORED,
    accepted,
    machine,
    saved,
    share_dialog,
    suggested,
    text,
    until,
)
from tests.serving.calls import CLIENT
from tests.serving.running import running

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow


def made_link(page: Page) -> str:
    """Make a link for readers."""
    share_dialog(page)
    page.click(".readers .make")
    page.wait_for_selector(".readers[data-shared=yes]")
    return page.input_value(".readers input")


def test_a_link_for_readers(new_page: NewPage, server_with_documents: str) -> None:
    page = new_page(server_with_documents)
    page.fill("#title", "Of cabs")
    page.click("#editor")
    page.keyboard.type("a bad cab <b>")
    accepted(page)
    marked = machine(page)
    link = made_link(page)
    page.keyboard.press("Escape")
    reader = new_page(context=page.context, wait=False)
    reader.goto(link)
    assert reader.locator("mark").all_text_contents() == marked
    assert "a bad cab <b>" in (reader.locator("body").text_content() or "")
    shown = CLIENT.get(f"{link}/document").json()
    assert "prompt" not in shown["spans"][1]["provenance"]
    page.bring_to_front()
    page.click("#editor")
    page.keyboard.press("Control+End")
    page.keyboard.type(" deed")
    saved(page, "server")
    reader.reload()
    assert " deed" in (reader.locator("body").text_content() or "")
    page.bring_to_front()
    share_dialog(page)
    assert page.input_value(".readers input") == link
    page.click(".readers .revoke")
    page.wait_for_selector("#share-dialog .state:has-text('no longer works')")
    assert CLIENT.get(link).status_code == 404


SAID = """async (spans) => {
  const { described } = await import("/static/page/document_files.js");
  const { TextDocument, sliceOf } = await import("/static/page/text_document.js");
  const text = new TextDocument(sliceOf(spans));
  const { human, machine } = text.words();
  const share = Math.round((100 * machine) / (human + machine));
  return [text.machine.map(({ source }) => described(source)), share];
}"""


def test_both_pages_say_the_same_of_a_text(page: Page, server_with_documents: str) -> None:
    source = {"model": "<m>", "model_hash": "ab" * 32, "seed": 5, "prompt": "", "index": 0}
    most = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "typical_p": 0.2, "penalty_alpha": 0.6}
    named = {**most, "best_of": 4, "no_repeat_ngram_size": 3, "n": 3, "max_tokens": 8}
    settings: list[dict[str, Any]] = [{}, named, {"top_p": 1, "top_k": 0, "temperature": 1}]
    sources: list[Any] = [{**source, "settings": each} for each in settings]
    sources += [{**source, "alternative": 2, "settings": named}, None]
    words = ["One wi\u0304", "de, it’s", " 2 well-\u4e16\u754c", "known_un", "known – \u0916\u0941"]
    spans: list[dict[str, Any]] = []
    for word, known in zip(words, sources, strict=True):
        spans.append({"text": f"{word} h\u0303", "by": "human"})
        spans.append({"text": word, "by": "machine", "provenance": known})
    made = CLIENT.post(f"{server_with_documents}/documents", json={"spans": spans}).json()
    path = f"{server_with_documents}/documents/{made['id']}"
    link = CLIENT.post(f"{path}/share", headers={"edit-key": made["edit_key"]}).json()["path"]
    shown = unescape(CLIENT.get(f"{server_with_documents}{link}").text)
    origins = re.findall("<li><q[^>]*>.*?</q> (.*?)</li>", shown, re.DOTALL)
    [share] = re.findall("by a model: ([0-9]+)% of all", shown)
    assert page.evaluate(SAID, spans) == [origins, int(share)]


def test_deleting_a_document_ends_its_link_first(
    new_page: NewPage, small_folder: Path, tmp_path: Path
) -> None:
    with running({"small": small_folder}, documents=str(tmp_path / "kept.sqlite3")) as url:
        page = new_page(url)
        page.keyboard.type("a bad cab")
        link = made_link(page)
        page.context.set_offline(True)
        page.click(".readers .revoke")
        page.wait_for_selector("#share-dialog .state:has-text('the server cannot be reached')")
        page.keyboard.press("Escape")
        page.click("#toggle-documents")

        def delete() -> None:
            page.click(".documents .delete")
            page.click(".documents .delete[data-sure]")

        delete()
        page.wait_for_selector("#note:has-text('Not deleted')")
        assert (page.locator(".documents li").count(), text(page)) == (1, "a bad cab")
        page.context.set_offline(False)
        page.wait_for_selector("#away", state="hidden")
        delete()
        page.wait_for_selector("#note:has-text('was deleted')")
        assert (page.locator(".documents li").count(), text(page)) == (0, "")
        assert CLIENT.get(link).status_code == 404
        # another document is opened while the links are asked for
        for words in ("one", "two"):
            page.click(".panel .new")
            page.click("#editor")
            page.keyboard.type(words)
            saved(page, "server")
        page.route("**/documents/*", lambda route: None)
        page.click("#more")
        page.click("#share-text")
        page.click(".documents .open:has-text('one')")
        page.unroute("**/documents/*")
        page.wait_for_timeout(500)
        assert not page.evaluate("document.querySelector('#share-dialog').open")
        found = page.evaluate(STORED)
        assert [each["linked"] for each in found] == [False, False]
        # a link that comes when another document is shared
        held: list[Any] = []
        page.route("**/share", lambda route: held.append(route), times=1)
        share_dialog(page)
        page.click(".readers .make")
        page.wait_for_timeout(200)
        page.keyboard.press("Escape")
        page.click(".documents .open:has-text('two')")
        share_dialog(page)
        held.pop().continue_()
        page.wait_for_timeout(500)
        assert page.get_attribute(".readers", "data-shared") == "no"
        page.keyboard.press("Escape")
        # one that another person deleted, or whose key is no longer right
        for each in found:
            address = f"{url}/documents/{each['id']}"
            assert CLIENT.delete(address, headers={"Edit-Key": each["key"]}).is_success
        delete()
        page.wait_for_selector("#note:has-text('Removed from this browser')")
        page.close()
    new_page.messages.clear()  # type: ignore[attr-defined]


def verified(page: Page) -> tuple[list[str | None], str]:
    """The result of each passage, and what the dialog says in the end."""
    page.wait_for_selector("#verify-dialog .state:has-text('verified')")
    items = page.locator("#verify-dialog li").all()
    state = page.locator("#verify-dialog .state").text_content() or ""
    return [item.get_attribute("data-result") for item in items], state


def test_text_from_before_the_page_knew_the_models_is_verified(
    new_page: NewPage, page: Page
) -> None:
    held: list[Any] = []
    page.context.route("**/v1/models", lambda route: held.append(route))
    early = new_page(context=page.context)
    early.keyboard.type("a bad cab")
    suggested(early)
    held.pop().continue_()
    until(early, "document.querySelector('#model').options.length > 0")
    early.keyboard.press("Enter")
    early.click("#verify")
    assert verified(early) == (["equal"], "1 of 1 verified.")


def test_text_of_models_is_verified_on_the_page(new_page: NewPage, tmp_path: Path) -> None:
    """The server keeps no documents, and verifies all the same."""
    page = new_page()
    page.click("#more")
    assert page.is_hidden("#share-text")
    page.keyboard.press("Escape")
    page.click("#editor")
    page.keyboard.type("a bad cab")
    accepted(page)
    page.click("#verify")
    assert verified(page) == (["equal"], "1 of 1 verified.")
    page.keyboard.press("Escape")
    saved(page)
    stored: dict[str, Any] = page.evaluate(
        """() => JSON.parse(localStorage.getItem("ogpt.document." + location.hash.slice(1)))"""
    )
    human, span = stored["spans"]
    origin = span["provenance"]
    spans = [
        human,
        {**span, "text": span["text"][:4]},
        {**span, "text": "forged", "provenance": {**origin, "created": 1}},
        {**span, "provenance": {**origin, "model_hash": "0" * 64}},
        {**span, "provenance": {"model": "another"}},
        {**span, "provenance": {**origin, "settings": {"temperature": "hot"}}},
    ]
    path = tmp_path / "spans.html"
    data = json.dumps({"title": "", "spans": spans, "prompts": stored["prompts"]})
    path.write_text(f'<script type="application/json" id="ogpt-document">{data}</script>')
    page.set_input_files("#file", path)
    page.wait_for_selector("#editor mark:has-text('forged')")
    page.click("#more")
    page.click("#verify-text")
    results = ["part", "different", "other_model", "unknown", "failed"]
    assert verified(page) == (results, "0 of 5 verified, 1 in part, 1 different, 3 not checked.")
    assert "'temperature'" in (page.locator("#verify-dialog li").last.text_content() or "")
    # a passage leads to its place in the text
    page.click("#verify-dialog .passage:has-text('forged')")
    assert page.evaluate("getSelection().toString()") == "forged"
    new_page.messages.clear()  # type: ignore[attr-defined]  # a refusal
