"""A server that goes away, that asks for a key, and that refuses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.serving.browser.writer import accepted, announced, machine, saved, text, until
from tests.serving.running import running

if TYPE_CHECKING:
    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow


def test_a_server_that_goes_away_and_comes_back(new_page: NewPage) -> None:
    page = new_page()
    page.keyboard.type("a bad cab")
    page.context.set_offline(True)
    page.wait_for_selector("#away")
    assert "safe in this browser" in announced(page)
    page.keyboard.type(" faced")
    page.keyboard.press("Tab")
    page.wait_for_selector("#suggestions", state="hidden")
    saved(page, "browser")
    assert text(page) == "a bad cab faced"
    page.context.set_offline(False)
    page.wait_for_selector("#away", state="hidden")
    assert accepted(page).strip()
    assert len(machine(page)) == 1
    # the browser itself reports the request that failed
    new_page.messages.clear()  # type: ignore[attr-defined]


def test_a_key_is_asked_for_once(new_page: NewPage, small_folder: Path) -> None:
    with running({"small": small_folder}, api_key="secret") as url:
        page = new_page(url, wait=False)
        page.fill("#key input", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key .wrong")
        page.fill("#key input", "secret")
        page.keyboard.press("Enter")
        page.wait_for_selector("#key[open]", state="hidden")
        page.click("#editor")
        page.keyboard.type("a bad cab")
        assert accepted(page).strip()
        page.reload()
        page.wait_for_selector("#editor mark")
        page.click("#editor")
        assert accepted(page).strip()
        assert page.is_hidden("#key")
        page.close()
    refused = new_page.messages  # type: ignore[attr-defined]
    assert all("401" in each for each in refused)
    refused.clear()


def test_only_what_the_writer_wants_asks_for_a_key(
    new_page: NewPage, small_folder: Path, tmp_path: Path
) -> None:
    settings = {"api_key": "secret", "documents": str(tmp_path / "kept.sqlite3")}
    with running({"small": small_folder}, **settings) as url:
        page = new_page(url, wait=False)
        page.click("#key button[value=cancel]")
        page.click("#editor")
        with page.expect_response("**/tokenize") as response:
            page.keyboard.type("a bad")
        assert response.value.status == 401
        page.keyboard.type(" cab")
        assert (page.is_hidden("#key"), text(page)) == (True, "a bad cab")
        saved(page, "browser")
        page.keyboard.press("Tab")
        page.fill("#key input", "ключ")  # no header can hold it
        page.keyboard.press("Enter")
        page.wait_for_selector("#key .wrong")
        assert page.is_hidden("#away")
        page.fill("#key input", "secret")
        page.keyboard.press("Enter")
        page.wait_for_selector("#suggestions[aria-busy=false]")
        page.keyboard.press("Enter")
        assert len(machine(page)) == 1
        saved(page, "server")
        # what the start of the page could not have is there now
        page.click("#toggle-settings")
        until(page, "[...document.getElementById('model').options].length > 0")
        page.close()
    refused = new_page.messages  # type: ignore[attr-defined]
    assert all("401" in each for each in refused)
    refused.clear()


def test_what_the_server_refuses_is_shown(new_page: NewPage, small_folder: Path) -> None:
    with running({"small": small_folder}, max_n=2) as url:
        page = new_page(url)
        page.keyboard.type("a bad cab")
        page.keyboard.press("Tab")
        page.wait_for_selector("#note[data-kind=error]")
        assert "allowed: at most 2" in (page.locator("#note").text_content() or "")
        assert (text(page), page.is_hidden("#suggestions")) == ("a bad cab", True)
        page.close()
    new_page.messages.clear()  # type: ignore[attr-defined]
