"""The page of a shared document: what it shows, and what hostile documents cannot do."""

import json
import re
import shutil
import threading
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ogpt.errors import QueueFull
from tests.serving.calls import CLIENT, answer, post
from tests.serving.running import running, started
from tests.serving.small import save_small

PROVENANCE = {
    "model": "small",
    "model_hash": "ab" * 32,
    "prompt": "a",
    "seed": 7,
    "settings": {"temperature": 0.5, "top_p": 0.9, "top_k": 0, "max_tokens": 4},
}
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp; $title \u202e\ud83d\x00 "


class Seen(HTMLParser):
    """The elements of a page, with its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "link", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, "elements are closed in order"

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.text[tag] = self.text.get(tag, "") + data


def shared(url: str, **document: Any) -> str:
    """The path of the page of a new document."""
    made = post(url, "/documents", **document).json()
    headers = {"edit-key": made["edit_key"]}
    link = CLIENT.post(f"{url}/documents/{made['id']}/share", headers=headers).json()
    return f"{url}{link['path']}"


def looks(page: str) -> list[str]:
    """The class of each passage that is underlined."""
    return re.findall(r'<mark class="(\w+)"', page)


def machine_span(url: str, name: str) -> dict[str, Any]:
    """A span that a model of the server writes now."""
    settings = {"max_tokens": 8}
    text = answer(url, model=name, prompt="a bad", seed=7, **settings)["choices"][0]["text"]
    card = CLIENT.get(f"{url}/v1/models/{name}").json()
    source = {"model": name, "model_hash": card["model_hash"], "prompt": "a bad", "seed": 7}
    return {"text": text, "by": "machine", "provenance": {**source, "settings": settings}}


def test_the_text_with_the_words_of_models_marked(server_with_documents: str) -> None:
    spans = [
        {"text": "Once upon\n a time ", "by": "human"},
        {"text": "a bad", "by": "machine", "provenance": PROVENANCE},
        {"text": " cab", "by": "machine"},
    ]
    response = CLIENT.get(shared(server_with_documents, title=" A story ", spans=spans))
    assert (response.status_code, response.headers["content-type"]) == (
        200,
        "text/html; charset=utf-8",
    )
    seen = Seen(response.text)
    assert seen.text["title"] == seen.text["h1"] == "A story"
    assert seen.text["article"] == "Once upon\n a time a bad cab"
    assert seen.text["mark"] == "a badcab"  # no space is underlined
    titles = [value for name, value in seen.attributes if name == "title"]
    assert titles == [
        f"model “small”, hash {'ab' * 6}, temperature 0.5, top-p 0.9, seed 7",
        "model unknown",
    ]
    assert "written by a model: 43% of all." in seen.text["footer"]
    assert f"small, hash {'ab' * 32}" in seen.text["li"]
    # the same for keyboard and touch
    assert all(title in seen.text["details"] for title in titles)


def test_documents_without_a_title_or_machine_text(server_with_documents: str) -> None:
    page = shared(server_with_documents, spans=[{"text": "Mine.", "by": "human"}])
    seen = Seen(CLIENT.get(page).text)
    assert (seen.text["h1"], "mark" in seen.text) == ("Untitled", False)
    assert seen.text["footer"] == "All words were written by a human."


def test_hostile_documents_are_text(server_with_documents: str) -> None:
    wrong = {**PROVENANCE, "model": HOSTILE, "settings": {"temperature": HOSTILE}}
    spans = [
        {"text": HOSTILE, "by": "human"},
        {"text": HOSTILE + "a" * 10_000, "by": "machine", "provenance": wrong},
    ]
    response = CLIENT.get(shared(server_with_documents, title=HOSTILE, spans=spans))
    seen = Seen(response.text)
    assert not {"script", "img"} & set(seen.tags)
    assert not any(name.startswith("on") for name, _ in seen.attributes)
    assert seen.text["article"].count("<script>alert(1)</script>") == 2
    assert "$title" in seen.text["h1"]
    policy = response.headers["content-security-policy"]
    [style] = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert "unsafe" not in policy
    headers = ("referrer-policy", "cache-control", "x-robots-tag")
    assert [response.headers[name] for name in headers] == ["same-origin", "no-store", "noindex"]


def test_machine_text_is_verified_by_a_button(server_with_documents: str) -> None:
    url = server_with_documents
    settings = {"max_tokens": 8, "surface": "readable"}
    text = answer(url, prompt="a bad", seed=7, **settings)["choices"][0]["text"]
    model_hash = CLIENT.get(f"{url}/v1/models/small").json()["model_hash"]
    source = {**PROVENANCE, "prompt": "a bad", "model_hash": model_hash, "settings": settings}
    spans: list[dict[str, Any]] = [
        {"text": "Mine. ", "by": "human"},
        {"text": text, "by": "machine", "provenance": source},
        {"text": text[:4], "by": "machine", "provenance": source},
    ]
    others = [
        {"text": "A forgery.", "by": "machine", "provenance": source},
        {"text": "An unknown one.", "by": "machine"},
        {"text": text, "by": "machine", "provenance": PROVENANCE},  # another model's
        {"text": text, "by": "machine", "provenance": {**source, "settings": {"n": "two"}}},
        {"text": "a", "by": "machine", "provenance": {**source, "alternative": 2}},
    ]
    page = shared(url, title="Good", spans=spans)
    assert "button" in Seen(CLIENT.get(page).text).tags
    good = CLIENT.post(page)
    assert good.status_code == 200
    assert looks(good.text) == ["verified", "part"]
    assert "1 of 2 underlined passages verified." in Seen(good.text).text["footer"]
    bad = CLIENT.post(shared(url, title="Bad", spans=spans + others))
    assert looks(bad.text) == ["verified", "part", "differs", *["unchecked"] * 4]
    said = Seen(bad.text).text["footer"]
    for part in (
        "1 of 7 underlined passages verified.",
        "1 verified: byte for byte",
        "1 found in part (dashed line)",
        "1 different (wavy line)",
        "1 not checked (dotted line): this server does not have the model",
        "1 not checked (dotted line): picked from the model's alternatives",
        "1 not checked (dotted line): no generation record",
        "1 not checked (dotted line): the record is not a valid request",
    ):
        assert part in said
    assert "alternative 2, picked by hand" in bad.text
    assert "form-action 'self'" in bad.headers["content-security-policy"]


def test_words_are_counted_by_their_first_letter(server_with_documents: str) -> None:
    spans = [
        {"text": "(A sto", "by": "human"},
        {"text": "ry, it’s a wi\u0304de", "by": "machine"},
        {"text": "-spread", "by": "human"},
    ]
    seen = Seen(CLIENT.get(shared(server_with_documents, spans=spans)).text)
    assert "written by a model: 60% of all." in seen.text["footer"]


def test_a_server_that_cannot_verify_says_so(
    server_with_documents: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def full(*given: object) -> None:
        asked.append(given)
        raise QueueFull("8 requests wait", hint="try again")

    known = machine_span(server_with_documents, "small")
    page = shared(server_with_documents, spans=[known, known])
    monkeypatch.setattr("ogpt.serving.share_page.verification", full)
    found = CLIENT.post(page)
    assert (found.status_code, looks(found.text), len(asked)) == (200, ["unchecked"] * 2, 1)
    assert "2 not checked (dotted line): the server could not" in Seen(found.text).text["footer"]


def test_the_first_passages_are_verified(
    server_with_documents: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ogpt.serving.share_page.MAX_VERIFIED", 1)
    unknown = {"text": " A forgery.", "by": "machine"}
    known = machine_span(server_with_documents, "small")
    page = shared(server_with_documents, spans=[unknown, known, known])
    found = CLIENT.post(page)
    assert looks(found.text) == ["unchecked", "verified", "unchecked"]
    assert "1 of 3 underlined passages verified." in Seen(found.text).text["footer"]
    assert "1 not checked (dotted line): only the first" in Seen(found.text).text["footer"]


def test_models_of_which_one_is_in_memory_verify_one_page(
    small_folder: Path, tmp_path: Path
) -> None:
    """The page holds no model while it waits for the other one."""
    folders = {"one": small_folder, "two": save_small(tmp_path / "two", seed=4)}
    with running(folders, documents=str(tmp_path / "documents.sqlite3")) as url:
        page = shared(url, spans=[machine_span(url, name) for name in ("one", "two", "one")])
        found = CLIENT.post(page)
        assert found.status_code == 200, found.text
        assert "3 of 3 underlined passages verified." in Seen(found.text).text["footer"]


def test_a_document_is_parsed_once_and_not_in_the_loop(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents may have megabytes."""
    threads: list[threading.Thread] = []
    loads = json.loads

    def seen(text: Any, **options: Any) -> Any:
        if "spans" in str(text):
            threads.append(threading.current_thread())
        return loads(text, **options)

    where = str(tmp_path / "documents.sqlite3")
    with started({"small": small_folder}, documents=where) as server:
        page = shared(server.url, spans=[machine_span(server.url, "small")] * 3)
        monkeypatch.setattr(json, "loads", seen)
        calls = (
            CLIENT.post(page),
            CLIENT.get(page),
            post(server.url, f"{page.removeprefix(server.url)}/verify", span=2),
        )
        assert [each.status_code for each in calls] == [200] * 3
        assert len(threads) == 3
        assert server.thread not in threads


def test_a_page_that_cannot_be_verified_has_no_button(small_folder: Path, tmp_path: Path) -> None:
    spans = [{"text": "a", "by": "machine", "provenance": PROVENANCE}]
    where = str(tmp_path / "documents.sqlite3")
    with running({"small": small_folder}, documents=where) as url:
        page = shared(url, spans=spans).removeprefix(url)
    with running({"small": small_folder}, documents=where, api_key="secret") as url:
        found = CLIENT.get(f"{url}{page}")
        assert (found.status_code, "button" in Seen(found.text).tags) == (200, False)
        assert CLIENT.post(f"{url}{page}").status_code == 401


def test_revoked_links(server_with_documents: str) -> None:
    response = CLIENT.get(f"{server_with_documents}/share/none")
    assert response.status_code == 404
    said = Seen(response.text).text["article"]
    assert said == "There is no such shared document; its link may have been revoked."
    assert CLIENT.head(f"{server_with_documents}/share/none").status_code == 404
    assert CLIENT.post(f"{server_with_documents}/share/none").text == response.text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_in_a_browser(server_with_documents: str) -> None:
    """The form has an origin that the server allows, and the console stays clean."""
    sync_api = pytest.importorskip("playwright.sync_api")
    spans = [{"text": HOSTILE, "by": "machine", "provenance": PROVENANCE}]
    page = shared(server_with_documents, title=HOSTILE, spans=spans)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        tab = browser.new_page()
        said: list[str] = []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.goto(page)
        tab.get_by_role("button").click()
        tab.get_by_role("status").wait_for()
        assert "0 of 1 underlined passages verified." in tab.get_by_role("status").inner_text()
        assert "<script>alert(1)</script>" in tab.get_by_role("article").inner_text()
        browser.close()
    assert said == []
