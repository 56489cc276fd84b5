"""Sharing: a link to a page for readers, which can be updated and taken back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving.browser.writer import accepted, machine, text
from tests.serving.calls import CLIENT
from tests.serving.running import running

if TYPE_CHECKING:
    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow


def test_a_share_link(new_page: NewPage, small_folder: Path, tmp_path: Path) -> None:
    with running({"small": small_folder}, documents=str(tmp_path / "kept.sqlite3")) as url:
        page = new_page(url)
        page.fill("#title", "Of cabs")
        page.click("#editor")
        page.keyboard.type("a bad cab <b>")
        accepted(page)
        marked = machine(page)

        def shared() -> str:
            page.click("#more")
            page.click("#share-text")
            page.wait_for_selector("#share-dialog[open]")
            return page.input_value("#share-dialog input")

        link = shared()
        page.keyboard.press("Escape")
        reader = new_page(context=page.context, wait=False)
        reader.goto(link)
        assert reader.locator("mark").all_text_contents() == marked
        assert "a bad cab <b>" in (reader.locator("body").text_content() or "")
        page.bring_to_front()
        page.click("#editor")
        page.keyboard.press("Control+End")
        page.keyboard.type(" deed")
        assert shared() == link
        reader.reload()
        assert " deed" in (reader.locator("body").text_content() or "")
        page.bring_to_front()
        page.click("#share-dialog .end")
        page.wait_for_selector("#share-dialog[open]", state="hidden")
        page.wait_for_selector("#note:has-text('no longer works')")
        assert CLIENT.get(link).status_code == 404
        page.close()


def test_deleting_a_document_ends_its_link_first(
    new_page: NewPage, small_folder: Path, tmp_path: Path
) -> None:
    with running({"small": small_folder}, documents=str(tmp_path / "kept.sqlite3")) as url:
        page = new_page(url)
        page.keyboard.type("a bad cab")
        page.click("#more")
        page.click("#share-text")
        page.wait_for_selector("#share-dialog[open]")
        link = page.input_value("#share-dialog input")
        page.keyboard.press("Escape")
        page.click("#toggle-documents")

        def delete() -> None:
            page.click(".documents .delete")
            page.click(".documents .delete[data-sure]")

        page.context.set_offline(True)
        delete()
        page.wait_for_selector("#note:has-text('Not deleted')")
        assert (page.locator(".documents li").count(), text(page)) == (1, "a bad cab")
        page.context.set_offline(False)
        page.wait_for_selector("#away", state="hidden")
        delete()
        page.wait_for_selector("#note:has-text('was deleted')")
        assert (page.locator(".documents li").count(), text(page)) == (0, "")
        assert CLIENT.get(link).status_code == 404
        page.close()
    new_page.messages.clear()  # type: ignore[attr-defined]


def test_a_server_that_keeps_nothing_offers_no_link(new_page: NewPage) -> None:
    page = new_page()
    page.keyboard.type("a bad cab")
    accepted(page)
    page.click("#more")
    assert page.is_hidden("#share-text")
