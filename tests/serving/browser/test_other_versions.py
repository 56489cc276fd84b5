"""Versions of the server that the page does not expect: of a restored database, and of programs."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.serving.browser.writer import STORED, kept, lose_the_answer, saved, shows, text
from tests.serving.calls import CLIENT
from tests.serving.running import running

if TYPE_CHECKING:
    from pathlib import Path

    from tests.serving.browser.conftest import NewPage

pytestmark = pytest.mark.slow

ROW = "SELECT revision, content FROM ogpt_documents"


@pytest.mark.parametrize("closed", [False, True])
def test_a_restored_database(
    new_page: NewPage, small_folder: Path, tmp_path: Path, closed: bool
) -> None:
    where = str(tmp_path / "kept.sqlite3")
    with (
        running({"small": small_folder}, documents=where) as url,
        closing(sqlite3.connect(where, isolation_level=None)) as database,
    ):
        one = new_page(url)
        context = one.context
        one.keyboard.type("one")
        saved(one, "server")
        before = database.execute(ROW).fetchone()
        one.keyboard.type(" two")
        saved(one, "server")
        [found] = one.evaluate(STORED)
        if closed:
            one.close()
        else:
            context.set_offline(True)
        database.execute("UPDATE ogpt_documents SET revision = ?, content = ?", before)
        two = new_page(url, wait=False)
        two.goto(f"{url}/#{found['id']}.{found['key']}")
        shows(two, "one")
        two.click("#editor")
        two.keyboard.press("Home")
        two.keyboard.insert_text("C ")  # one save: the same revision of other words
        saved(two, "server")
        assert database.execute(ROW).fetchone()[0] == found["revision"]
        if closed:  # and the page does not know on what its text is based
            one = new_page(url, context=context)
            one.wait_for_selector("#note:has-text('separate document')")
        else:
            context.set_offline(False)
            shows(one, "C one two")
        saved(one, "server")
        assert kept(where) == (["C one", "one two"] if closed else ["C one two"])
        one.close()
        two.close()
    new_page.messages.clear()  # type: ignore[attr-defined]  # requests without a network


def test_a_program_changes_what_the_page_may_have_saved(
    new_page: NewPage, server_with_documents: str
) -> None:
    page = new_page(server_with_documents)
    page.keyboard.type("one")
    saved(page, "server")
    [known] = page.evaluate(STORED)
    page.route("**/documents/*", lose_the_answer, times=1)
    page.keyboard.type(" two")
    page.wait_for_selector("#away")
    page.context.set_offline(True)
    page.keyboard.type(" three")
    saved(page, "browser")
    address = f"{server_with_documents}/documents/{known['id']}"
    headers = {"edit-key": known["key"]}
    found = CLIENT.get(address, headers=headers).json()
    spans = [{"text": "API ", "by": "human"}, *found["spans"]]
    headers["if-match"] = json.dumps(str(found["revision"]))
    assert CLIENT.put(address, json={"spans": spans}, headers=headers).is_success
    page.context.set_offline(False)
    saved(page, "server")
    words = [span["text"] for span in CLIENT.get(address, headers=headers).json()["spans"]]
    assert ("".join(words), text(page)) == ("API one two three", "API one two three")
    new_page.messages.clear()  # type: ignore[attr-defined]
